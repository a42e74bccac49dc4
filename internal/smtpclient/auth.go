package smtpclient

import (
	"encoding/base64"
	"errors"
	"net"
	"slices"
	"strings"
)

// ErrClearText refuses to send a password where somebody may listen.
var ErrClearText = errors.New("no password is sent without verified TLS")

// ErrNoMechanism means that the server offers neither PLAIN nor LOGIN.
var ErrNoMechanism = errors.New("the server offers neither AUTH PLAIN nor AUTH LOGIN")

// Auth logs in (RFC 4954) with PLAIN (RFC 4616), or LOGIN where that is all
// there is. The caller must have verified the server's certificate; without
// TLS only a server on this machine gets the password.
func (c *Client) Auth(user, password string) error {
	if c.secure == nil && !c.onLoopback() {
		return ErrClearText
	}
	offered := strings.Fields(strings.ToUpper(c.ext["AUTH"]))
	switch {
	case slices.Contains(offered, "PLAIN"):
		return c.authStep("AUTH PLAIN "+encode("\x00"+user+"\x00"+password), 235)
	case slices.Contains(offered, "LOGIN"):
		if err := c.authStep("AUTH LOGIN", 334); err != nil {
			return err
		}
		if err := c.authStep(encode(user), 334); err != nil {
			return err
		}
		return c.authStep(encode(password), 235)
	}
	return ErrNoMechanism
}

// authStep sends one line. Errors name AUTH, never what was sent.
func (c *Client) authStep(line string, want int) error {
	if err := c.queue(line); err != nil {
		return err
	}
	if err := c.flush(c.o.Timeouts.Command); err != nil {
		return err
	}
	r, err := c.read(c.o.Timeouts.Command, "AUTH")
	if err == nil && r.Code != want {
		err = c.refused("AUTH", r)
	}
	return err
}

func (c *Client) onLoopback() bool {
	switch addr := c.conn.RemoteAddr().(type) {
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
