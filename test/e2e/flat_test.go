package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/test/sandbox"
)

// size is what make test can afford, or what the catalogue asks for.
func size(quick, full int) int {
	if os.Getenv("PEYK_CRASH") != "" {
		return full
	}
	return quick
}

// repeat writes a text so often, until the other side hangs up.
func repeat(w io.Writer, text string, times int) {
	piece := strings.Repeat(text, max(1, (64<<10)/len(text)))
	per := len(piece) / len(text)
	for ; times > 0; times -= per {
		if _, err := io.WriteString(w, piece[:min(times, per)*len(text)]); err != nil {
			return
		}
	}
}

// Whatever an SMTP client sends without end, smtpd stays below 64 MiB, in a
// memory cgroup of 128 where one can be had, is the same process afterwards,
// and says what it refuses.
func TestSMTPStaysSmall(t *testing.T) {
	s := sandbox.Start(t, "message-size-limit=50M", "auth-failure-delay=0s")
	t.Logf("in 128 MiB: %v", confine(t, s, "smtpd"))
	pid := s.Pid("smtpd")
	to := "RCPT TO:<" + s.Env["PEYK_USER2"] + ">\r\n"
	begin := "EHLO x\r\nMAIL FROM:<a@b.example>\r\n" + to + "DATA\r\n"
	for _, attack := range []struct {
		name  string
		send  func(io.Writer)
		final string // replies of which the last one must be among
	}{
		{"29 a command line of 4 MiB", func(w io.Writer) { repeat(w, "x", 4<<20) }, "500"},
		{"30 a line of data without end", func(w io.Writer) {
			io.WriteString(w, begin+"Subject: x\r\n\r\n")
			repeat(w, "x", size(8<<20, 1<<30))
			io.WriteString(w, "\r\n.\r\nQUIT\r\n")
		}, "221 552 554 421"},
		{"31 100,000 fields", func(w io.Writer) {
			io.WriteString(w, begin)
			repeat(w, "To: somebody@somewhere.example\r\n", 100_000)
			io.WriteString(w, "\r\nx\r\n.\r\nQUIT\r\n")
		}, "221"},
		{"31 more fields than fit", func(w io.Writer) {
			io.WriteString(w, begin)
			repeat(w, "To: somebody@somewhere.example\r\n", size(150_000, 500_000))
			io.WriteString(w, "\r\nx\r\n.\r\nQUIT\r\n")
		}, "221"},
		{"32 a field folded over 100 MB", func(w io.Writer) {
			io.WriteString(w, begin+"Subject: x\r\n")
			repeat(w, " folded and folded and folded\r\n", size(10<<20, 100<<20)/31)
			io.WriteString(w, "\r\nx\r\n.\r\nQUIT\r\n")
		}, "221"},
		{"34 recipients without end", func(w io.Writer) {
			io.WriteString(w, "EHLO x\r\nMAIL FROM:<a@b.example>\r\n")
			repeat(w, "RCPT TO:<nobody@example.test>\r\n", size(20_000, 1_000_000))
		}, "421 452"},
	} {
		conn, err := net.Dial("tcp", s.Env["PEYK_SMTP"])
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		go func() {
			attack.send(conn)
			conn.(*net.TCPConn).CloseWrite()
		}()
		last, refused := "", 0
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			if last = lines.Text(); strings.HasPrefix(last, "5") || strings.HasPrefix(last, "4") {
				refused++
			}
		}
		conn.Close()
		if len(last) < 3 || !strings.Contains(attack.final, last[:3]) {
			t.Errorf("%s: ends with %q, want %s", attack.name, last, attack.final)
		}
		if strings.HasPrefix(attack.name, "32") && refused == 0 {
			t.Errorf("%s: nothing was refused", attack.name)
		}
	}
	a := &arena{T: t, s: s}
	if peak := a.peak("smtpd"); peak > 64<<10 {
		t.Errorf("smtpd took %d KB", peak)
	} else {
		t.Logf("smtpd took %d KB at most", peak)
	}
	if s.Pid("smtpd") != pid {
		t.Error("smtpd is another process")
	}
}

// Connections that are reset in each state of a session leave no descriptor,
// no file and no goroutine that holds one.
func TestResetsLeaveNothing(t *testing.T) {
	s := sandbox.Start(t)
	states := []string{"", "EHLO x\r\n", "EHLO x\r\nMAIL FROM:<a@b.example>\r\n", "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<" + s.Env["PEYK_USER2"] + ">\r\n"}
	data := states[3] + "DATA\r\n"
	states = append(states, data, data+"Subject: x\r\n", data+"Subject: x\r\n\r\n"+strings.Repeat("x\r\n", 50_000), states[3]+"BDAT 100\r\nhalf", "STARTTLS\r\n\x16\x03\x01", "EHLO x\r\nAUTH LOGIN\r\n")
	readers := []string{"", "a LOGIN ", "a LOGIN {10}\r\n", "a STARTTLS\r\n\x16", "a NOOP\r\n"}
	before := openFiles(t, s, "smtpd") + openFiles(t, s, "imapd") + openFiles(t, s, "pop3d")
	for range size(10, 1000) {
		for _, text := range states {
			reset(t, s.Env["PEYK_SMTP"], text)
		}
		for _, text := range readers {
			reset(t, s.Env["PEYK_IMAP"], text)
			reset(t, s.Env["PEYK_POP3"], strings.TrimPrefix(text, "a "))
		}
	}
	s.Eventually("what was reset is closed", func() bool {
		return openFiles(t, s, "smtpd")+openFiles(t, s, "imapd")+openFiles(t, s, "pop3d") <= before+10 // connections to authd, which stay
	})
	for _, place := range []string{"drop/tmp", "drop/new", "queue"} {
		if left, _ := filepath.Glob(filepath.Join(s.Env["PEYK_SPOOL"], place, "*")); len(left) > 0 {
			t.Errorf("%s holds %q", place, left)
		}
	}
}

func openFiles(t *testing.T, s *sandbox.Sandbox, daemon string) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Pid(daemon)))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// reset says something once it was greeted, and resets the connection.
func reset(t *testing.T, addr, text string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	conn.Read(make([]byte, 512))
	io.WriteString(conn, text)
	if strings.Contains(text, "\n") {
		conn.Read(make([]byte, 512)) // one answer at least: it is in that state
	}
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}
