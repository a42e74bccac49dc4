package traffic

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// patience bounds each connection's exchanges: a server that hangs longer has
// failed, and the sender tries another.
const patience = time.Minute

// A Conn speaks a protocol of lines.
type Conn struct {
	*textproto.Conn
	net net.Conn
}

func dial(addr string, config *tls.Config) (*Conn, error) {
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	if config != nil {
		c = tls.Client(c, config)
	}
	c.SetDeadline(time.Now().Add(patience))
	return &Conn{textproto.NewConn(c), c}, nil
}

// do sends a command and reads its reply, which must have a code.
func (c *Conn) do(code int, format string, args ...any) (string, error) {
	c.net.SetDeadline(time.Now().Add(patience))
	if format != "" {
		if err := c.PrintfLine(format, args...); err != nil {
			return "", err
		}
	}
	_, text, err := c.ReadResponse(code)
	return text, err
}

// DialSMTP opens a session and says EHLO. A user name means: log in.
func DialSMTP(addr string, config *tls.Config, user, password string) (*Conn, error) {
	c, err := dial(addr, config)
	if err != nil {
		return nil, err
	}
	_, err = c.do(220, "")
	if err == nil {
		_, err = c.do(250, "EHLO client.example")
	}
	if err == nil && user != "" {
		_, err = c.do(235, "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)))
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Send sends a message in wire form. The error of a refusal is a
// *textproto.Error.
func (c *Conn) Send(from string, text []byte, to ...string) error {
	if _, err := c.do(250, "MAIL FROM:<%s> BODY=8BITMIME", from); err != nil {
		return err
	}
	for _, one := range to {
		if _, err := c.do(250, "RCPT TO:<%s>", one); err != nil {
			return err
		}
	}
	if _, err := c.do(354, "DATA"); err != nil {
		return err
	}
	stuffed := bytes.ReplaceAll(text, []byte("\r\n."), []byte("\r\n.."))
	if _, err := c.W.Write(stuffed); err != nil { // our messages begin with a letter
		return err
	}
	_, err := c.do(250, ".")
	return err
}

// DialPOP3 logs in by POP3.
func DialPOP3(addr string, config *tls.Config, user, password string) (*Conn, error) {
	c, err := dial(addr, config)
	if err != nil {
		return nil, err
	}
	for _, command := range []string{"", "USER " + user, "PASS " + password} {
		if _, err := c.Ask(command); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Ask sends a POP3 command, "" for none, and returns the rest of +OK.
func (c *Conn) Ask(command string) (string, error) {
	c.net.SetDeadline(time.Now().Add(patience))
	if command != "" {
		if err := c.PrintfLine("%s", command); err != nil {
			return "", err
		}
	}
	line, err := c.ReadLine()
	if err != nil {
		return "", err
	}
	rest, ok := strings.CutPrefix(line, "+OK")
	if !ok {
		return "", fmt.Errorf("%s: %q", strings.Fields(command + " x")[0], line)
	}
	return strings.TrimSpace(rest), nil
}

// Retrieve returns a message as it is, with CRLF.
func (c *Conn) Retrieve(n int) ([]byte, error) {
	if _, err := c.Ask(fmt.Sprint("RETR ", n)); err != nil {
		return nil, err
	}
	var text []byte
	for {
		line, err := c.R.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if string(line) == ".\r\n" {
			return text, nil
		}
		text = append(text, bytes.TrimPrefix(line, []byte("."))...)
	}
}
