// Package e2e_test tests the whole system, started as a user starts it.
package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"peyk/test/sandbox"
)

// contract is what sandbox.env must hold.
var contract = []string{"PEYK_SMTP", "PEYK_SUBMISSION", "PEYK_SUBMISSIONS", "PEYK_IMAP", "PEYK_IMAPS", "PEYK_POP3", "PEYK_POP3S",
	"PEYK_LMTP", "PEYK_AUTH", "PEYK_CONTROL", "PEYK_SPOOL", "PEYK_CA", "PEYK_USER1", "PEYK_PASS1", "PEYK_MAILDIR1",
	"PEYK_USER2", "PEYK_PASS2", "PEYK_MAILDIR2", "PEYK_SENDMAIL"}

func TestSandboxContract(t *testing.T) {
	s := sandbox.Start(t, "retry=1s\\n2s")
	for _, name := range contract {
		if s.Env[name] == "" {
			t.Errorf("sandbox.env lacks %s", name)
		}
	}
	if out, err := exec.Command("sh", "-c", ". "+s.Dir+"/sandbox.env && printf %s \"$PEYK_USER1\"").Output(); err != nil || string(out) != "alice@example.test" {
		t.Errorf("sh reads PEYK_USER1 as %q, %v", out, err)
	}
	if retry, err := os.ReadFile(filepath.Join(s.Env["PEYK_CONTROL"], "retry")); err != nil || string(retry) != "1s\n2s\n" {
		t.Errorf("-set wrote %q, %v", retry, err)
	}
	welcome := sandbox.Mail(s.Env["PEYK_MAILDIR1"])
	if len(welcome) != 1 {
		t.Fatalf("%d messages, want the welcome message", len(welcome))
	}
	if entries, err := os.ReadDir(filepath.Join(s.Env["PEYK_MAILDIR2"], "new")); err != nil || len(entries) != 0 {
		t.Errorf("the Maildir that has no mail yet: %v, %v", entries, err)
	}
	for _, name := range []string{"authd", "deliver", "remote", "queue-run", "smtpd", "submission", "imapd", "pop3d"} {
		if pid := s.Pid(name); pid < 2 {
			t.Errorf("%s has pid %d", name, pid)
		}
	}
	first := s.Env
	s.Restart()
	for _, name := range contract {
		if s.Env[name] != first[name] {
			t.Errorf("after a restart %s is %q, was %q", name, s.Env[name], first[name])
		}
	}
	if again := sandbox.Mail(s.Env["PEYK_MAILDIR1"]); len(again) != 1 {
		t.Errorf("%d messages after a restart", len(again))
	}
	imapLogin(t, s, 1)
	s.Stop()
	if left, _ := filepath.Glob(filepath.Join(s.Dir, "run", "*.pid")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if info, err := os.Stat(filepath.Join(s.Dir, "sandbox.env")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("sandbox.env: %v, %v", info.Mode(), err)
	}
}

// A message's way in by smtpd, submission and sendmail, with IDLE telling the
// reader, and the log telling the story.
func TestAWholeDay(t *testing.T) {
	s := sandbox.Start(t)
	reader := imapLogin(t, s, 2)
	if _, err := reader.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	smtp, err := hello(s.Env["PEYK_SMTP"])
	if err != nil {
		t.Fatal(err)
	}
	id, err := smtp.send("you@example.net", s.Env["PEYK_USER2"], []byte("Subject: one\r\n\r\nfirst\r\n"), 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", s.Env["PEYK_SENDMAIL"]+" -f alice@example.test "+s.Env["PEYK_USER2"])
	cmd.Stdin = strings.NewReader("Subject: two\n\nsecond\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sendmail: %v\n%s", err, out)
	}
	s.Eventually("both delivered", func() bool { return len(sandbox.Mail(s.Env["PEYK_MAILDIR2"])) == 2 })
	bodies := imapBodies(t, reader)
	if len(bodies) != 2 {
		t.Fatalf("IMAP shows %d messages", len(bodies))
	}
	for uid, want := range map[imap.UID]string{1: "first\r\n", 2: "second\r\n"} {
		if !bytes.HasSuffix(bodies[uid], []byte(want)) {
			t.Errorf("uid %d is %q", uid, bodies[uid])
		}
	}
	if !bytes.Contains(bodies[1], []byte(id)) {
		t.Errorf("the queue id %s is not in the Received field:\n%s", id, bodies[1])
	}
	story, err := s.Mailctl("", "log", "explain", id)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"smtpd", "queue-run", "deliver"} {
		if !strings.Contains(story, " "+program+" ") {
			t.Errorf("%s is not in the story of %s:\n%s", program, id, story)
		}
	}
	if list, err := s.Mailctl("", "queue", "list"); err != nil || list != "" {
		t.Errorf("the queue is not empty: %s %v", list, err)
	}
}

func TestStrangersCannotRelay(t *testing.T) {
	s := sandbox.Start(t)
	smtp, err := hello(s.Env["PEYK_SMTP"])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := smtp.do("MAIL FROM:<a@example.net>", "250"); err != nil {
		t.Fatal(err)
	}
	for _, rcpt := range []string{"x@elsewhere.example", "@example.test:x@elsewhere.example", "x%elsewhere.example@example.test", "elsewhere.example!x@example.test",
		"\"x@elsewhere.example\"@example.test", "x@elsewhere.example@example.test", "x@[127.0.0.1]", "nobody@example.test"} {
		if reply, err := smtp.do("RCPT TO:<"+rcpt+">", "5"); err != nil {
			t.Errorf("%s: %q %v", rcpt, reply, err)
		}
	}
	for _, rcpt := range []string{"postmaster", "alice+tag@example.test", "ALICE@Example.Test"} {
		if reply, err := smtp.do("RCPT TO:<"+rcpt+">", "250"); err != nil {
			t.Errorf("%s: %q %v", rcpt, reply, err)
		}
	}
}

// sink is another mail server: it accepts or refuses what it is told to.
type sink struct {
	net.Listener
	mail chan string // each message, envelope first
}

func newSink(t *testing.T, rcpt string) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &sink{l, make(chan string, 100)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, rcpt)
		}
	}()
	return s
}

func (s *sink) serve(conn net.Conn, rcpt string) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, "220 sink.example ESMTP\r\n")
	var message strings.Builder
	data := false
	buf := &line{Conn: conn}
	for text := range buf.lines() {
		verb := strings.ToUpper(strings.TrimRight(text, "\r\n"))
		switch {
		case data && text == ".\r\n":
			data = false
			s.mail <- message.String()
			message.Reset()
			fmt.Fprint(conn, "250 2.0.0 ok\r\n")
		case data:
			message.WriteString(strings.TrimPrefix(text, "."))
		case strings.HasPrefix(verb, "EHLO"):
			fmt.Fprint(conn, "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 99999999\r\n")
		case strings.HasPrefix(verb, "RCPT"):
			message.WriteString(text)
			fmt.Fprint(conn, rcpt+"\r\n")
		case strings.HasPrefix(verb, "MAIL"):
			message.WriteString(text)
			fmt.Fprint(conn, "250 2.1.0 ok\r\n")
		case verb == "DATA":
			data = true
			fmt.Fprint(conn, "354 go on\r\n")
		case verb == "QUIT":
			fmt.Fprint(conn, "221 bye\r\n")
			return
		default:
			fmt.Fprint(conn, "250 2.0.0 ok\r\n")
		}
	}
}

// submit sends one message of alice through submission, with STARTTLS and AUTH.
func submit(t *testing.T, s *sandbox.Sandbox, from, to, text string) error {
	t.Helper()
	curl, err := exec.LookPath("curl")
	if err == nil {
		return submitBy(curl, s, from, to, text)
	}
	cmd := exec.Command("sh", "-c", s.Env["PEYK_SENDMAIL"]+" -f "+from+" "+to)
	cmd.Stdin = strings.NewReader(text)
	return cmd.Run()
}

func submitBy(curl string, s *sandbox.Sandbox, from, to, text string) error {
	port := s.Env["PEYK_SUBMISSION"][strings.LastIndexByte(s.Env["PEYK_SUBMISSION"], ':'):]
	cmd := exec.Command(curl, "-sS", "--ssl-reqd", "--cacert", s.Env["PEYK_CA"], "--resolve", "localhost"+port+":127.0.0.1", "smtp://localhost"+port,
		"-u", s.Env["PEYK_USER1"]+":"+s.Env["PEYK_PASS1"], "--mail-from", from, "--mail-rcpt", to, "-T", "-")
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func TestForeignMailLeavesByItsRoute(t *testing.T) {
	out := newSink(t, "250 2.1.5 ok")
	s := sandbox.Start(t, "routes=* "+out.Addr().String())
	if err := submit(t, s, s.Env["PEYK_USER1"], "friend@elsewhere.example", "Subject: out\n\n.dotted\nbye\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-out.mail:
		for _, want := range []string{"MAIL FROM:<alice@example.test>", "RCPT TO:<friend@elsewhere.example>", "Received: ", "\r\n.dotted\r\nbye\r\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in %q", want, got)
			}
		}
	case <-time.After(patience):
		t.Fatalf("nothing arrived; the log:\n%s", s.Log())
	}
	s.Eventually("the queue is empty", func() bool { list, err := s.Mailctl("", "queue", "list"); return err == nil && list == "" })
}

func TestARefusalComesBackToTheSender(t *testing.T) {
	out := newSink(t, "550 5.1.1 no such person here")
	s := sandbox.Start(t, "routes=* "+out.Addr().String())
	if err := submit(t, s, s.Env["PEYK_USER1"], "nobody@elsewhere.example", "Subject: out\n\nbye\n"); err != nil {
		t.Fatal(err)
	}
	s.Eventually("the report arrives", func() bool { return len(sandbox.Mail(s.Env["PEYK_MAILDIR1"])) == 2 })
	found := false
	for _, path := range sandbox.Mail(s.Env["PEYK_MAILDIR1"]) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("message/delivery-status")) {
			found = true
			for _, want := range []string{"Return-Path: <>", "Final-Recipient: rfc822;", "Action: failed", "Status: 5.1.1", "no such person here"} {
				if !bytes.Contains(b, []byte(want)) {
					t.Errorf("%q is not in the report:\n%s", want, b)
				}
			}
		}
	}
	if !found {
		t.Error("no delivery report in the mailbox")
	}
}

func TestDeferredMailWaitsAndGoesLater(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close() // nobody is there now
	s := sandbox.Start(t, "routes=* "+addr, "retry=1h")
	if err := submit(t, s, s.Env["PEYK_USER1"], "friend@elsewhere.example", "Subject: later\n\nbye\n"); err != nil {
		t.Fatal(err)
	}
	var list string
	s.Eventually("the message waits", func() bool {
		list, err = s.Mailctl("", "queue", "list", "-json")
		return err == nil && strings.Contains(list, "delay_reason")
	})
	for _, want := range []string{`"queue_name":"deferred"`, `"address":"friend@elsewhere.example"`, `"sender":"alice@example.test"`} {
		if !strings.Contains(list, want) {
			t.Errorf("%s is not in %s", want, list)
		}
	}
	out := newSink(t, "250 2.1.5 ok")
	if err := os.WriteFile(filepath.Join(s.Env["PEYK_CONTROL"], "routes"), []byte("* "+out.Addr().String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Reload()
	if _, err := s.Mailctl("", "queue", "flush"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-out.mail:
	case <-time.After(patience):
		t.Fatalf("nothing arrived after the flush; the log:\n%s", s.Log())
	}
}

func TestQueueCommandsOnARealQueue(t *testing.T) {
	s := sandbox.Start(t, "retry=1h")
	for i := range 3 {
		if err := submit(t, s, s.Env["PEYK_USER1"], fmt.Sprintf("x%d@elsewhere.example", i), "Subject: w\n\nbody\n"); err != nil {
			t.Fatal(err)
		}
	}
	names := func() []string {
		list, err := s.Mailctl("", "queue", "list")
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, text := range strings.Split(list, "\n") {
			if f := strings.Fields(text); len(f) > 2 && text[0] != '\t' {
				all = append(all, f[0]+" "+f[1])
			}
		}
		return all
	}
	s.Eventually("three wait", func() bool { return strings.Count(strings.Join(names(), "\n"), " deferred") == 3 })
	ids := names()
	slices.Sort(ids)
	first := strings.Fields(ids[0])[0]
	for _, step := range []struct{ command, state string }{{"hold", "hold"}, {"release", "deferred"}, {"requeue", "deferred"}} {
		s.Eventually(step.command, func() bool { // busy while it is tried
			_, err := s.Mailctl(first+" and words that do not count\n", "queue", step.command, "-")
			return err == nil
		})
		s.Eventually(step.command+" done", func() bool { return slices.Contains(names(), first+" "+step.state) })
	}
	show, err := s.Mailctl("", "queue", "show", first)
	if err != nil || !strings.Contains(show, "MAIL FROM:<alice@example.test>") || !strings.Contains(show, "Subject: w") {
		t.Errorf("show: %v\n%s", err, show)
	}
	if out, err := s.Mailctl("", "queue", "remove", "-dry-run", first); err != nil || !strings.Contains(out, "would remove "+first) {
		t.Errorf("dry run: %q %v", out, err)
	}
	if _, err := s.Mailctl("", "queue", "remove", first); err != nil {
		t.Error(err)
	}
	if len(names()) != 2 {
		t.Errorf("left: %v", names())
	}
	if _, err := s.Mailctl("", "queue", "hold", "../../etc/passwd"); err == nil {
		t.Error("a path was taken for a queue id")
	}
}

// lines yields what the peer sends, line by line.
func (l *line) lines() func(func(string) bool) {
	return func(yield func(string) bool) {
		var pending []byte
		buf := make([]byte, 4096)
		for {
			if i := bytes.IndexByte(pending, '\n'); i >= 0 {
				text := string(pending[:i+1])
				pending = pending[i+1:]
				if !yield(text) {
					return
				}
				continue
			}
			n, err := l.Read(buf)
			pending = append(pending, buf[:n]...)
			if err != nil && (err != io.EOF || n == 0) {
				return
			}
		}
	}
}
