package disk_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"peyk/test/crash/tmpfs"
	"peyk/test/crash/traffic"
	"peyk/test/sandbox"
)

// try sends one message and notes it if it was acknowledged.
func try(l *traffic.Load, c *traffic.Conn, id, to string, size int) int {
	text := l.Make(rand.New(rand.NewPCG(1, uint64(size))), id, 2000)
	if size > 0 {
		text = l.MakeLarge(id, size)
	}
	err := c.Send("load@client.example", text, to)
	if err == nil {
		l.Promise(id)
	}
	return code(err)
}

func smtp(t *testing.T, s *sandbox.Sandbox) *traffic.Conn {
	t.Helper()
	c, err := traffic.DialSMTP(s.Env["PEYK_SMTP"], nil, "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// The queue's disk is full, of octets or of inodes: 452 at once, in the same
// session as before and after, while people go on reading. Nothing is started
// again.
func TestQueueDiskFull(t *testing.T) {
	for name, fill := range map[string]func(*tmpfs.Disk){
		"octets": func(d *tmpfs.Disk) { d.FillOctets(0) },
		"inodes": func(d *tmpfs.Disk) { d.FillNodes(0) },
	} {
		t.Run(name, func(t *testing.T) {
			l, s, d := system(t, "spool", "size=64m,nr_inodes=2000")
			c := smtp(t, s)
			to := s.Env["PEYK_USER2"]
			if got := try(l, c, "before", to, 0); got != 0 {
				t.Fatal(got)
			}
			settle(t, l, s)
			fill(d)
			n := 0
			within(t, time.Second, "a refusal", func() {
				n++
				if got := try(l, c, fmt.Sprint("full-", n), to, 0); got != 452 {
					t.Errorf("MAIL on a full disk: %d, want 452", got)
				}
			})
			within(t, time.Second, "reading by IMAP", func() { readIMAP(t, l) })
			within(t, time.Second, "reading by POP3", func() { readPOP3(t, l, s) })
			d.MakeRoom()
			if got := try(l, c, "after", to, 0); got != 0 {
				t.Errorf("there is room again: %d", got)
			}
			settle(t, l, s)
		})
	}
}

// The disk is full only when most of a message has come: it is refused for
// now, nothing of it stays, and the session goes on.
func TestQueueDiskFullInTheMidst(t *testing.T) {
	l, s, d := system(t, "spool", "size=64m,nr_inodes=2000", "message-size-limit=100M")
	c := smtp(t, s)
	to := s.Env["PEYK_USER2"]
	d.FillOctets(24 << 20)
	if got := try(l, c, "large", to, 40<<20); got != 452 && got != 451 {
		t.Errorf("40 MB on 24: %d, want 452 or 451", got)
	}
	if files := d.Files("drop/tmp", "drop/new", "queue"); len(files) > 0 {
		t.Errorf("left behind: %q", files)
	}
	if got := try(l, c, "small", to, 0); got != 0 {
		t.Errorf("a small message after it: %d", got)
	}
	d.MakeRoom()
	if got := try(l, c, "large-again", to, 40<<20); got != 0 {
		t.Errorf("with room: %d", got)
	}
	settle(t, l, s)
}

// The queue has no room to write down what became of an attempt. It keeps that
// in mind, and writes it down once it can: nothing comes twice.
func TestQueueDiskFullForTheJournal(t *testing.T) {
	l, s, d := system(t, "spool", "size=64m,nr_inodes=2000")
	c := smtp(t, s)
	open := block(t, s.Env["PEYK_MAILDIR1"])
	stopped := s.Pid("deliver")
	syscall.Kill(stopped, syscall.SIGSTOP)
	text := l.Make(rand.New(rand.NewPCG(2, 2)), "both", 2000)
	if err := c.Send("load@client.example", text, s.Env["PEYK_USER1"], s.Env["PEYK_USER2"]); err != nil {
		t.Fatal(err)
	}
	l.Promise("both")
	d.FillOctets(0)
	syscall.Kill(stopped, syscall.SIGCONT)
	s.Eventually("queue-run says so", func() bool { return strings.Contains(s.Log(), "cannot write") })
	d.MakeRoom()
	open()
	s.Eventually("the other has it", func() bool { return len(sandbox.Mail(s.Env["PEYK_MAILDIR1"])) == 2 })
	if n := len(sandbox.Mail(s.Env["PEYK_MAILDIR2"])); n != 1 {
		t.Errorf("the first has %d copies", n)
	}
}

// block puts a file in the way of all delivery to a Maildir, until the
// returned function is called.
func block(t *testing.T, maildir string) (open func()) {
	t.Helper()
	if err := os.Rename(maildir+"/new", maildir+"/aside"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(maildir+"/new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		os.Remove(maildir + "/new")
		if err := os.Rename(maildir+"/aside", maildir+"/new"); err != nil {
			t.Fatal(err)
		}
	}
}

// readIMAP reads everything of the second user.
func readIMAP(t *testing.T, l *traffic.Load) (messages int) {
	t.Helper()
	c, err := l.DialIMAP(2)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wants(t, c, "SELECT INBOX", "OK")
	for _, r := range wants(t, c, "FETCH 1:* (UID FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[])", "OK").Data {
		if _, ok := r.Item("BODY[]"); ok {
			messages++
		}
	}
	wants(t, c, "SEARCH SUBJECT before", "OK")
	return messages
}

// readPOP3 reads everything of the second user.
func readPOP3(t *testing.T, l *traffic.Load, s *sandbox.Sandbox) (messages int) {
	t.Helper()
	c, err := traffic.DialPOP3(s.Env["PEYK_POP3S"], l.TLS(), s.Env["PEYK_USER2"], s.Env["PEYK_PASS2"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stat, err := c.Ask("STAT")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Sscan(stat, &messages)
	for i := range messages {
		if _, err := c.Retrieve(i + 1); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Ask("QUIT"); err != nil {
		t.Error(err)
	}
	return messages
}
