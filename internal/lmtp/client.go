package lmtp

import (
	"context"
	"net"
	"time"
)

// Timeouts of a client. A zero one means its default.
type Timeouts struct {
	Connect time.Duration // connection, greeting, LHLO; 30 s
	Command time.Duration // a reply to a command; 5 min (RFC 5321 §4.5.3.2)
	Write   time.Duration // one write of at most 64 KiB; 3 min
	Final   time.Duration // a reply to the message; 10 min
}

// Client is a connection to an LMTP server. It is not safe for concurrent use.
type Client struct {
	conn net.Conn
}

// Dial connects and says LHLO with the name hello. Errors are *status.Error.
func Dial(ctx context.Context, network, addr, hello string, t Timeouts) (*Client, error) {
	panic("not written yet")
}

// Deliver hands one message over. There is one result per recipient, in
// order, whatever happens; a recipient about whom nothing was heard has a
// temporary error. A non-nil error means that the connection cannot be used
// again; the results hold all the same.
func (c *Client) Deliver(ctx context.Context, t *Transaction) ([]Result, error) {
	panic("not written yet")
}

// Reset sends RSET: it tells whether an idle connection still works.
func (c *Client) Reset(ctx context.Context) error { panic("not written yet") }

// Close says QUIT, without waiting for the answer, and closes.
func (c *Client) Close() error { return c.conn.Close() }

// Broken reports whether the connection must not be used again.
func (c *Client) Broken() bool { return false }
