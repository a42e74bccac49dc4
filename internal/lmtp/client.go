package lmtp

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"peyk/internal/status"
)

// Timeouts of a client. A zero one means its default.
type Timeouts struct {
	Connect time.Duration // connection, greeting, LHLO; 30 s
	Command time.Duration // a reply to a command; 5 min (RFC 5321 §4.5.3.2)
	Write   time.Duration // one write of at most 64 KiB; 3 min
	Final   time.Duration // a reply to the message; 10 min
}

func (t Timeouts) orDefault() Timeouts {
	t.Connect = cmp.Or(t.Connect, 30*time.Second)
	t.Command = cmp.Or(t.Command, 5*time.Minute)
	t.Write = cmp.Or(t.Write, 3*time.Minute)
	t.Final = cmp.Or(t.Final, 10*time.Minute)
	return t
}

// Client is a connection to an LMTP server. It is not safe for concurrent use.
type Client struct {
	conn     net.Conn
	in       *bufio.Reader
	out      []byte // commands, and the beginning of the message, that wait for flush
	timeouts Timeouts
	ext      extensions
	broken   bool
	reset    bool // the last transaction did not end by itself: RSET before the next
}

// extensions is what the server offered.
type extensions struct {
	pipelining, chunking, eightBit, binary, utf8, dsn, size, requireTLS, xforward, again bool
}

// Dial connects and says LHLO with the name hello. Errors are *status.Error.
func Dial(ctx context.Context, network, addr, hello string, t Timeouts) (*Client, error) {
	t = t.orDefault()
	d := net.Dialer{Timeout: t.Connect}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, status.New(451, "4.4.1", "cannot reach the delivery service").Because("connect", err)
	}
	return NewClient(ctx, conn, hello, t)
}

// NewClient is Dial on a connection that is there already. It closes the
// connection when it fails.
func NewClient(ctx context.Context, conn net.Conn, hello string, t Timeouts) (*Client, error) {
	c := &Client{conn: conn, in: bufio.NewReaderSize(conn, maxReplyLine), timeouts: t.orDefault()}
	defer c.watch(ctx)()
	if err := c.greet(ctx, hello); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) greet(ctx context.Context, hello string) error {
	greeting, err := c.hear(ctx, c.timeouts.Connect)
	if err != nil {
		return err
	}
	if !greeting.ok() {
		return greetingError(greeting)
	}
	c.out = append(c.out[:0], "LHLO "...)
	c.out = append(c.out, hello...)
	c.out = append(c.out, "\r\n"...)
	if err := c.flush(ctx); err != nil {
		return err
	}
	hi, err := c.hear(ctx, c.timeouts.Connect)
	if err != nil {
		return err
	}
	if !hi.ok() {
		return greetingError(hi)
	}
	c.ext = parseExtensions(hi.lines)
	return nil
}

// greetingError is temporary whatever the server says: that it does not want
// to talk at all says nothing about the message.
func greetingError(r reply) error {
	return status.New(451, "4.3.2", "delivery service refuses the connection: "+r.String())
}

func parseExtensions(lines []string) (e extensions) {
	for _, line := range lines[min(1, len(lines)):] {
		words := strings.Fields(strings.ToUpper(line))
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "PIPELINING":
			e.pipelining = true
		case "CHUNKING":
			e.chunking = true
		case "8BITMIME":
			e.eightBit = true
		case "BINARYMIME":
			e.binary = true
		case "SMTPUTF8":
			e.utf8 = true
		case "DSN":
			e.dsn = true
		case "SIZE":
			e.size = true
		case "REQUIRETLS":
			e.requireTLS = true
		case "XAGAIN":
			e.again = true
		case "XFORWARD":
			e.xforward = strings.Contains(line+" ", " IDENT ")
		}
	}
	return e
}

// Reset sends RSET: it tells whether an idle connection still works.
func (c *Client) Reset(ctx context.Context) error {
	defer c.watch(ctx)()
	c.out = append(c.out[:0], "RSET\r\n"...)
	if err := c.flush(ctx); err != nil {
		return err
	}
	r, err := c.hear(ctx, c.timeouts.Command)
	if err != nil {
		return err
	}
	if !r.ok() {
		c.broken = true
		return r.err()
	}
	c.reset = false
	return nil
}

// Close says QUIT, without waiting for the answer, and closes.
func (c *Client) Close() error {
	if !c.broken {
		c.conn.SetWriteDeadline(time.Now().Add(time.Second))
		io.WriteString(c.conn, "QUIT\r\n") // a courtesy: the result changes nothing
	}
	return c.conn.Close()
}

// Broken reports whether the connection must not be used again.
func (c *Client) Broken() bool { return c.broken }

// watch makes the end of ctx end all reading and writing, until the returned
// function is called.
func (c *Client) watch(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
}

// arm gives the next read or write its deadline. The order matters: if ctx
// ends in between, one of the two sees it.
func (c *Client) arm(ctx context.Context, d time.Duration) {
	c.conn.SetDeadline(time.Now().Add(d))
	if ctx.Err() != nil {
		c.conn.SetDeadline(time.Unix(1, 0))
	}
}

// flush sends what waits.
func (c *Client) flush(ctx context.Context) error {
	if len(c.out) == 0 {
		return nil
	}
	c.arm(ctx, c.timeouts.Write)
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return c.failed("send", err)
}

// hear reads one reply.
func (c *Client) hear(ctx context.Context, d time.Duration) (reply, error) {
	if c.in.Buffered() == 0 {
		c.arm(ctx, d)
	}
	r, err := readReply(c.in)
	return r, c.failed("read reply", err)
}

// failed turns an error of the connection into a status, after which the
// connection is not used again.
func (c *Client) failed(op string, err error) error {
	if err == nil {
		return nil
	}
	c.broken = true
	if errors.Is(err, errReplySyntax) || errors.Is(err, errReplyLong) {
		return status.New(451, "4.5.0", "delivery service does not speak LMTP").Because(op, err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return status.New(451, "4.4.2", "delivery service did not answer in time").Because(op, err)
	}
	return status.New(451, "4.4.2", "connection to the delivery service was lost").Because(op, err)
}
