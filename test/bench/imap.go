package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// fill makes a Maildir of 4 KB messages with sizes in their names.
func fill(dir string, uid, messages int) error {
	body := strings.Repeat("0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\n", 60)
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	for i := range messages {
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

// imapConn is one connection of a client that waits for each reply.
type imapConn struct {
	*peer
	quick bool
	conn  net.Conn
	r     *bufio.Reader
}

// dialIMAP connects without logging in. A small buffer is for connections of
// which there are many.
func dialIMAP(p *peer, buffer int) (*imapConn, error) {
	conn, err := net.Dial("tcp", p.imap)
	if err != nil {
		return nil, err
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
		if len(line) > 4 && line[0] == 'x' && line[1] == ' ' {
			if string(line[2:4]) != "OK" {
				return fmt.Errorf("%s", line)
			}
			return nil
		}
		if n := literal(line); n > 0 {
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
