package main

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// smtpConn is one connection of a client that waits for each reply.
type smtpConn struct {
	conn net.Conn
	w    io.Writer
	r    *bufio.Reader
	buf  []byte
}

// dialSMTP connects and says hello: EHLO, or LHLO to an LMTP server.
func dialSMTP(addr, hello string) (*smtpConn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c := &smtpConn{conn: conn, w: conn, r: bufio.NewReader(conn)}
	err = c.expect("220")
	if err == nil {
		err = c.say(hello+" bench.example\r\n", "250")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// login does STARTTLS with a full handshake, and AUTH PLAIN.
func (c *smtpConn) login(user, password string) error {
	if err := c.say("STARTTLS\r\n", "220"); err != nil {
		return err
	}
	secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
	c.w, c.r = secure, bufio.NewReader(secure)
	if err := c.say("EHLO bench.example\r\n", "250"); err != nil {
		return err
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	return c.say("AUTH PLAIN "+plain+"\r\n", "235")
}

// send sends one message and returns the time from its final dot to the reply.
func (c *smtpConn) send(sender string, recipients []string, head string, body []byte) (time.Duration, error) {
	if err := c.say("MAIL FROM:<"+sender+">\r\n", "250"); err != nil {
		return 0, err
	}
	for _, to := range recipients {
		if err := c.say("RCPT TO:<"+to+">\r\n", "250"); err != nil {
			return 0, err
		}
	}
	if err := c.say("DATA\r\n", "354"); err != nil {
		return 0, err
	}
	c.buf = append(append(append(c.buf[:0], head...), body...), ".\r\n"...)
	begun := time.Now()
	if _, err := c.w.Write(c.buf); err != nil {
		return 0, err
	}
	err := c.expect("250")
	return time.Since(begun), err
}

func (c *smtpConn) quit() error {
	defer c.conn.Close()
	return c.say("QUIT\r\n", "221")
}

func (c *smtpConn) say(command, want string) error {
	if _, err := io.WriteString(c.w, command); err != nil {
		return err
	}
	return c.expect(want)
}

func (c *smtpConn) expect(want string) error {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, want) {
			return fmt.Errorf("got %q, want %s", line, want)
		}
		if len(line) > 3 && line[3] == ' ' {
			return nil
		}
	}
}
