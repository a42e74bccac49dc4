package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// mailboxSize is how many messages the IMAP rows read.
const mailboxSize = 10000

// fill makes a Maildir of 4 KB messages with sizes in their names.
func fill(dir string, uid int) error {
	body := strings.Repeat("0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\n", 60)
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	for i := range mailboxSize {
		text := fmt.Sprintf("From: Sender %d <s%d@bench.example>\nTo: reader@bench.example\nSubject: message number %d\nDate: Sun, 22 Nov 2026 10:00:00 +0000\nMessage-ID: <%d@bench.example>\n\n%s", i, i, i, i, body)
		wire := len(text) + strings.Count(text, "\n")
		name := fmt.Sprintf("%d.M%dP1.bench,S=%d,W=%d:2,S", 1700000000+i, i, len(text), wire)
		if err := os.WriteFile(filepath.Join(dir, "cur", name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return chownAll(dir, uid)
}

func chownAll(dir string, uid int) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || uid == 0 {
			return err
		}
		return os.Chown(path, uid, uid)
	})
}

// imapRows are the commands that are timed, after LOGIN.
var imapRows = []struct{ name, command string }{
	{"SELECT", "SELECT INBOX"},
	{"FETCH uid flags size", "FETCH 1:* (UID FLAGS RFC822.SIZE)"},
	{"FETCH envelope", "FETCH 1:* (UID ENVELOPE)"},
	{"FETCH envelope again", "FETCH 1:* (UID ENVELOPE)"},
	{"FETCH bodystructure", "FETCH 1:* (UID BODYSTRUCTURE)"},
	{"FETCH header field", "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (X-NONE SUBJECT)])"},
	{"FETCH whole bodies", "FETCH 1:* (BODY.PEEK[])"},
	{"SEARCH subject", "SEARCH SUBJECT 9999"},
}

// runIMAP times each row once, in milliseconds.
func runIMAP(p *peer) ([]float64, error) {
	conn, err := net.Dial("tcp", p.imap)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReaderSize(conn, 256<<10)
	if _, err := r.ReadString('\n'); err != nil {
		return nil, err
	}
	var w io.Writer = conn
	if p.startTLS {
		if err := command(w, r, "STARTTLS"); err != nil {
			return nil, err
		}
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		w, r = secure, bufio.NewReaderSize(secure, 256<<10)
	}
	if err := command(w, r, "LOGIN "+p.login+" "+p.password); err != nil {
		return nil, err
	}
	var times []float64
	for _, row := range imapRows {
		begun := time.Now()
		if err := command(w, r, row.command); err != nil {
			return nil, fmt.Errorf("%s: %w", row.name, err)
		}
		times = append(times, milliseconds(time.Since(begun)))
	}
	return times, nil
}

// command sends a command and reads until its tagged reply. Literals are
// skipped by their count, so that no body is taken for a reply.
func command(w io.Writer, r *bufio.Reader, text string) error {
	if _, err := io.WriteString(w, "x "+text+"\r\n"); err != nil {
		return err
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
		if len(line) > 4 && line[0] == 'x' && line[1] == ' ' {
			if string(line[2:4]) != "OK" {
				return fmt.Errorf("%s", line)
			}
			return nil
		}
		if n := literal(line); n > 0 {
			if _, err := r.Discard(n); err != nil {
				return err
			}
		}
	}
}

// literal returns the count of a line that ends with {n}.
func literal(line []byte) int {
	n := len(line)
	if n < 5 || line[n-3] != '}' {
		return 0
	}
	count, power := 0, 1
	for i := n - 4; i >= 0 && line[i] != '{'; i-- {
		if line[i] < '0' || line[i] > '9' {
			return 0
		}
		count += int(line[i]-'0') * power
		power *= 10
	}
	return count
}
