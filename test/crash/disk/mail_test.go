package disk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/test/crash/tmpfs"
	"peyk/test/imapwire"
	"peyk/test/sandbox"
)

var fills = map[string]func(*tmpfs.Disk){
	"octets": func(d *tmpfs.Disk) { d.FillOctets(0) },
	"inodes": func(d *tmpfs.Disk) { d.FillNodes(0) },
}

// The disk of the mailboxes is full: mail waits in the queue, people read, what
// cannot be stored is refused at once, and nothing of it stays. When there is
// room again all comes, without anybody being started again.
func TestMailDiskFull(t *testing.T) {
	for name, fill := range fills {
		t.Run(name, func(t *testing.T) {
			l, s, d := system(t, "mail", "size=16m,nr_inodes=2000")
			c, to := smtp(t, s), s.Env["PEYK_USER2"]
			for i := range 3 {
				if got := try(l, c, fmt.Sprint("before-", i), to, 0); got != 0 {
					t.Fatal(got)
				}
			}
			settle(t, l, s)
			reader, err := l.DialIMAP(2)
			if err != nil {
				t.Fatal(err)
			}
			defer reader.Close()
			wants(t, reader, "CREATE Other", "OK")
			wants(t, reader, "SELECT INBOX", "OK")
			fill(d)
			if got := try(l, c, "waits", to, 0); got != 0 {
				t.Errorf("the queue has room: %d", got)
			}
			s.Eventually("it is deferred", func() bool { return strings.Contains(s.Log(), "event=filing-deferred") })
			t.Log("full, and mail waits")
			within(t, time.Second, "APPEND to a full disk", func() {
				wants(t, reader, "APPEND Other "+imapwire.Lit("Subject: no room\r\n\r\n"+strings.Repeat("x", 60_000)), "NO [OVERQUOTA]", "NO [LIMIT]", "NO [UNAVAILABLE]", "NO [SERVERBUG]")
			})
			within(t, time.Second, "reading by IMAP", func() {
				if n := readIMAP(t, l); n != 3 {
					t.Errorf("IMAP shows %d messages", n)
				}
			})
			within(t, time.Second, "reading by POP3", func() {
				if n := readPOP3(t, l, s); n != 3 {
					t.Errorf("POP3 shows %d messages", n)
				}
			})
			d.MakeRoom()
			wants(t, reader, "APPEND Other "+imapwire.Lit("Subject: room\r\n\r\n"), "OK")
			wants(t, reader, "COPY 1:3 Other", "OK")
			wants(t, reader, "STORE 1:* +FLAGS (\\Seen kw)", "OK")
			if n := status(t, reader, "Other"); n != 4 {
				t.Errorf("the other folder has %d messages, want 4", n)
			}
			wants(t, reader, "SELECT Other", "OK")
			wants(t, reader, "STORE 1:* +FLAGS (\\Deleted)", "OK") // copies are no loss, but the ledger counts them
			wants(t, reader, "EXPUNGE", "OK")
			settle(t, l, s)
		})
	}
}

func status(t *testing.T, c *imapwire.Client, box string) (n int) {
	t.Helper()
	for _, r := range wants(t, c, "STATUS "+box+" (MESSAGES)", "OK").Data {
		if _, after, ok := strings.Cut(string(r.Raw), "(MESSAGES "); ok && r.Kind == "STATUS" {
			fmt.Sscan(strings.TrimRight(after, ")\r\n"), &n)
		}
	}
	return n
}

// New mail lies in the folder, and the disk has no room for its UIDs, nor for
// any cache: what has a UID can be read, by imapd started anew too, and the
// rest shows when there is room. A folder that was never opened cannot be.
func TestReadingWithoutRoomForUIDs(t *testing.T) {
	for name, fill := range fills {
		t.Run(name, func(t *testing.T) {
			l, s, d := system(t, "mail", "size=16m,nr_inodes=2000")
			put(t, s.Env["PEYK_MAILDIR2"]+"/cur", 0, 200)
			open, err := l.DialIMAP(2)
			if err != nil {
				t.Fatal(err)
			}
			defer open.Close()
			wants(t, open, "SELECT INBOX", "OK")
			put(t, s.Env["PEYK_MAILDIR2"]+"/cur", 200, 210)
			put(t, s.Env["PEYK_MAILDIR2"]+"/new", 210, 220)
			other := s.Env["PEYK_MAILDIR2"] + "/.Other"
			for _, sub := range []string{"cur", "new", "tmp"} {
				if err := os.MkdirAll(other+"/"+sub, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			put(t, other+"/cur", 300, 301)
			fill(d)
			wants(t, open, "NOOP", "OK")
			wants(t, open, "FETCH 1:200 (FLAGS BODY.PEEK[])", "OK")
			for range 2 {
				if n := readIMAP(t, l); n < 200 || name == "inodes" && n != 200 { // a few octets may fit into a page
					t.Errorf("IMAP shows %d messages", n)
				}
				if n := readPOP3(t, l, s); n < 200 {
					t.Errorf("POP3 shows %d messages", n)
				}
				s.Kill("imapd")
			}
			again, err := l.DialIMAP(2)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			wants(t, again, "SELECT Other", "NO [UNAVAILABLE]")
			wants(t, again, "SELECT INBOX", "OK")
			d.MakeRoom()
			wants(t, again, "NOOP", "OK")
			wants(t, again, "FETCH 220 BODY.PEEK[]", "OK")
			wants(t, again, "SELECT Other", "OK")
			if n := readIMAP(t, l); n != 220 {
				t.Errorf("IMAP shows %d messages with room", n)
			}
			if n := len(sandbox.Mail(s.Env["PEYK_MAILDIR2"])); n != 220 {
				t.Errorf("%d files", n)
			}
		})
	}
}

// put makes messages from up to to, as somebody's delivery would.
func put(t *testing.T, dir string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		name := fmt.Sprintf("%d.M%dP1.h", 1_700_000_000+i, i)
		if strings.HasSuffix(dir, "cur") {
			name += ":2,S"
		}
		if err := os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "Subject: before %d\n\nb\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
