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

// fill makes a Maildir of messages of about 4 KB with sizes in their names:
// plain ones and multipart ones in turn, in threads of ten, a few words of
// their own in each.
func fill(dir string, uid, messages int) error {
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range messages {
		at := begin.Add(time.Duration(i) * 320 * 24 * time.Hour / time.Duration(messages))
		text := letter(i, at)
		wire := len(text) + strings.Count(text, "\n")
		file := filepath.Join(dir, "cur", fmt.Sprintf("%d.M%dP1.bench,S=%d,W=%d:2,S", 1700000000+i, i, len(text), wire))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		if err := os.Chtimes(file, at, at); err != nil {
			return err
		}
	}
	return chownAll(dir, uid)
}

// letter is message i of a mailbox.
func letter(i int, at time.Time) string {
	var b strings.Builder
	first := i - i%10
	fmt.Fprintf(&b, "Return-Path: <s%[1]d@bench.example>\nReceived: from mx.bench.example (mx.bench.example [192.0.2.7])\n\tby mail.bench.example with ESMTP id %[1]d\n\tfor <reader@bench.example>; %[2]s\n", i, at.Format(time.RFC1123Z))
	fmt.Fprintf(&b, "From: \"Sender %[1]d\" <s%[2]d@bench.example>\nTo: reader@bench.example, Second Reader <second%[3]d@bench.example>\nCc: list@bench.example\n", i, i%500, i%50)
	subject := fmt.Sprintf("%s about %s number %d", words[first/10%len(words)], words[first/7%len(words)], first)
	if i > first {
		subject = "Re: " + subject
		fmt.Fprintf(&b, "In-Reply-To: <%d@bench.example>\nReferences: <%d@bench.example>\n", i-1, first)
	}
	fmt.Fprintf(&b, "Subject: %s\nDate: %s\nMessage-ID: <%d@bench.example>\nX-Bench-Id: b-%d\nMIME-Version: 1.0\n", subject, at.Format(time.RFC1123Z), i, i)
	if i%2 == 0 {
		b.WriteString("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 7bit\n\n" + prose(i, 3300))
		return b.String()
	}
	fmt.Fprintf(&b, "Content-Type: multipart/alternative; boundary=\"=_%[1]d\"\n\n--=_%[1]d\nContent-Type: text/plain; charset=utf-8\n\n%[2]s\n--=_%[1]d\nContent-Type: text/html; charset=utf-8\n\n<html><body><p>%[3]s</p></body></html>\n--=_%[1]d--\n", i, prose(i, 1100), prose(i+1, 2000))
	return b.String()
}

var words = strings.Fields(`time person year way day thing world life hand part place week case point company number
group problem mail queue server delivery invoice meeting report draft agenda budget review patch merge release
schedule travel receipt order shipment contract`)

// prose is text that is not the same in any two messages.
func prose(seed, size int) string {
	var b strings.Builder
	for n := uint32(seed)*2654435761 + 1; b.Len() < size; n = n*1664525 + 1013904223 {
		b.WriteString(words[int(n>>16)%len(words)])
		if n>>28 == 0 {
			b.WriteByte('\n')
		} else {
			b.WriteByte(' ')
		}
	}
	b.WriteByte('\n')
	return b.String()
}

func chownAll(dir string, uid int) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || uid == 0 {
			return err
		}
		return os.Chown(path, uid, uid)
	})
}

// imapConn is one connection of a client that waits for each reply.
type imapConn struct {
	*peer
	quick  bool
	octets int64   // received by reply
	spent  float64 // milliseconds of CPU of what was timed last; 0: unknown
	conn   net.Conn
	r      *bufio.Reader
}

// dialIMAP connects without logging in. A small buffer is for connections of
// which there are many.
func dialIMAP(p *peer, buffer int) (*imapConn, error) {
	return dialAt(p, p.imap, false, buffer)
}

func dialAt(p *peer, addr string, secure bool, buffer int) (*imapConn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // memory is measured here, not trust
	}
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c := &imapConn{peer: p, conn: conn, r: bufio.NewReaderSize(conn, buffer)}
	if _, err := c.r.ReadString('\n'); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// openIMAP logs a user in and selects the INBOX.
func openIMAP(p *peer, user string, buffer int) (*imapConn, error) {
	c, err := dialIMAP(p, buffer)
	if err != nil {
		return nil, err
	}
	return c.enter(user)
}

// enter logs in and selects the INBOX.
func (c *imapConn) enter(user string) (*imapConn, error) {
	for _, command := range []string{c.loginAs(user), "SELECT INBOX"} {
		if err := c.do(command); err != nil {
			c.conn.Close()
			return nil, fmt.Errorf("%s: %w", command, err)
		}
	}
	return c, nil
}

func (c *imapConn) loginAs(user string) string {
	return "LOGIN " + user + " " + c.password
}

// do sends commands and reads until each has its tagged reply.
func (c *imapConn) do(commands ...string) error {
	for _, command := range commands {
		if _, err := io.WriteString(c.conn, "x "+command+"\r\n"); err != nil {
			return err
		}
		if err := c.reply(); err != nil {
			return err
		}
	}
	return nil
}

// reply reads until a tagged reply. Literals are skipped by their count, so
// that no body is taken for a reply.
func (c *imapConn) reply() error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
		c.octets += int64(len(line))
		if len(line) > 4 && line[0] == 'x' && line[1] == ' ' {
			if string(line[2:4]) != "OK" {
				return fmt.Errorf("%s", line)
			}
			return nil
		}
		if n := literal(line); n > 0 {
			c.octets += int64(n)
			if _, err := c.r.Discard(n); err != nil {
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

// until reads lines until one begins with a prefix and ends with a suffix.
func (c *imapConn) until(prefix, suffix string) error {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.HasPrefix(line, prefix) && strings.HasSuffix(line, suffix+"\r\n") {
			return nil
		}
	}
}

// idle enters IDLE.
func (c *imapConn) idle() error {
	if _, err := io.WriteString(c.conn, "x IDLE\r\n"); err != nil {
		return err
	}
	return c.until("+", "")
}
