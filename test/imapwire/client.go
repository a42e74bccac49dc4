package imapwire

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"
)

// A Client is a connection that a test holds.
type Client struct {
	net.Conn
	*Reader
	Greeting *Response
	// Each sees every response, before the command that it belongs to is told.
	Each func(*Response)
	n    int
}

// An Answer is what a command was answered with.
type Answer struct {
	Data      []*Response // untagged, in order
	*Response             // the completion
}

// Dial connects to an address, over TLS unless config is nil, and reads the
// greeting. Every exchange fails after patience.
func Dial(addr string, config *tls.Config, patience time.Duration) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	return New(conn, patience)
}

// New speaks IMAP over a connection.
func New(conn net.Conn, patience time.Duration) (*Client, error) {
	c := &Client{Conn: conn, Reader: NewReader(conn)}
	c.SetDeadline(time.Now().Add(patience))
	greeting, err := c.Reader.Read()
	if err != nil {
		conn.Close()
		return nil, err
	}
	if k := greeting.Kind; greeting.Tag != "*" || k != "OK" && k != "PREAUTH" && k != "BYE" {
		conn.Close()
		return nil, fmt.Errorf("greeting %q", greeting.Raw)
	}
	c.Greeting = greeting
	return c, nil
}

// Lit is a literal inside a command, sent without waiting (RFC 7888).
func Lit(octets string) string { return fmt.Sprintf("{%d+}\r\n%s", len(octets), octets) }

// Quote writes a string as a quoted string if it can be one, else as a
// literal.
func Quote(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return Lit(s)
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Send sends a command and returns its tag.
func (c *Client) Send(command string) (tag string, err error) {
	c.n++
	tag = fmt.Sprintf("T%d", c.n)
	_, err = c.Conn.Write([]byte(tag + " " + command + "\r\n"))
	return tag, err
}

// Next reads one response.
func (c *Client) Next() (*Response, error) {
	r, err := c.Reader.Read()
	if err == nil && c.Each != nil {
		c.Each(r)
	}
	return r, err
}

// Do sends a command and reads all of its answer. A completion other than OK
// is no error.
func (c *Client) Do(command string) (*Answer, error) {
	tag, err := c.Send(command)
	if err != nil {
		return nil, err
	}
	a, err := c.Finish(tag)
	if err != nil {
		return a, fmt.Errorf("%.200q: %w", command, err)
	}
	return a, nil
}

// Finish reads until a tag is answered. A continuation request is an error.
func (c *Client) Finish(tag string) (*Answer, error) {
	a := &Answer{}
	for {
		r, err := c.Next()
		switch {
		case err != nil:
			return a, err
		case r.Tag == tag:
			a.Response = r
			return a, nil
		case r.Tag != "*":
			return a, fmt.Errorf("unexpected %q", r.Raw)
		}
		a.Data = append(a.Data, r)
	}
}

// Read is the connection's, for what takes a net.Conn.
func (c *Client) Read(p []byte) (int, error) { return c.Conn.Read(p) }
