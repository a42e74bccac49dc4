// Package smtpclient is the sending side of SMTP (RFC 5321) over a connection
// that somebody else opened: pipelined (RFC 2920), with every wait and every
// buffer bounded, and distrustful of what the server says.
//
// A Client is for one goroutine and goes through one session:
//
//	Hello, [StartTLS, Hello], [Auth], Begin, Body, Begin, …, Quit
package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"peyk/internal/status"
)

// Timeouts bound each wait. The zero value of each is what RFC 5321 §4.5.3.2
// asks for at least.
type Timeouts struct {
	Greeting time.Duration // for the greeting, 5 m
	Command  time.Duration // for EHLO, STARTTLS and AUTH, 5 m
	TLS      time.Duration // for the handshake, 1 m
	Mail     time.Duration // for the reply to MAIL, 5 m
	Rcpt     time.Duration // for the reply to RCPT, 5 m
	Data     time.Duration // for the reply to DATA, 2 m
	Block    time.Duration // for the server to take each piece of the message, 3 m
	End      time.Duration // for the reply to the message, 10 m
}

func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct {
		value *time.Duration
		least time.Duration
	}{
		{&t.Greeting, 5 * time.Minute}, {&t.Command, 5 * time.Minute}, {&t.TLS, time.Minute}, {&t.Mail, 5 * time.Minute},
		{&t.Rcpt, 5 * time.Minute}, {&t.Data, 2 * time.Minute}, {&t.Block, 3 * time.Minute}, {&t.End, 10 * time.Minute},
	} {
		if *d.value == 0 {
			*d.value = d.least
		}
	}
	return t
}

// Options of a Client.
type Options struct {
	Hello    string // our name for EHLO (RFC 5321 §4.1.1.1)
	Timeouts Timeouts
	Deadline time.Time // end of everything, whatever the timeouts say; zero = none
	Now      func() time.Time
}

// Client is one session.
type Client struct {
	conn    net.Conn
	r       *bufio.Reader
	out     []byte // commands not yet sent
	o       Options
	name    string            // that the server gives itself
	ext     map[string]string // EHLO keyword, upper case → parameters
	broken  error             // the session is of no use any more
	release func() bool
	secure  *tls.ConnectionState
}

// New begins a session on conn; nothing is read or sent yet. The end of ctx
// breaks the session.
func New(ctx context.Context, conn net.Conn, o Options) *Client {
	o.Timeouts = o.Timeouts.withDefaults()
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Client{conn: conn, r: bufio.NewReader(conn), o: o}
	c.release = context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // there is nobody to tell
	return c
}

// Close ends the session at once. It is idempotent.
func (c *Client) Close() error {
	c.release()
	if c.broken == nil {
		c.broken = net.ErrClosed
	}
	return c.conn.Close()
}

// Extension reports whether the server's EHLO reply had a keyword, and its
// parameters.
func (c *Client) Extension(keyword string) (params string, ok bool) {
	params, ok = c.ext[keyword]
	return params, ok
}

// Name returns what the server called itself in its EHLO reply.
func (c *Client) Name() string { return c.name }

// TLS returns the state of TLS, nil in clear text.
func (c *Client) TLS() *tls.ConnectionState { return c.secure }

// Hello reads the greeting and says EHLO, or HELO where the server knows no
// EHLO (RFC 5321 §3.2). After StartTLS it says EHLO only. Refusals are
// *ReplyError; any other error breaks the session.
func (c *Client) Hello() error {
	if c.secure == nil {
		if err := c.greeting(); err != nil {
			return err
		}
	}
	r, err := c.command(c.o.Timeouts.Command, "EHLO "+c.o.Hello)
	if err != nil {
		return err
	}
	if r.Code/100 == 2 {
		c.keywords(r)
		return nil
	}
	if r.Code/100 != 5 || c.secure != nil {
		return c.refused("EHLO", r)
	}
	r, err = c.command(c.o.Timeouts.Command, "HELO "+c.o.Hello)
	if err == nil && r.Code/100 != 2 {
		err = c.refused("HELO", r)
	}
	return err
}

func (c *Client) greeting() error {
	r, err := c.read(c.o.Timeouts.Greeting, "greeting")
	if err == nil && r.Code != 220 {
		err = c.refused("greeting", r)
	}
	return err
}

func (c *Client) keywords(r Reply) {
	c.name, _, _ = strings.Cut(strings.TrimSpace(r.Lines[0]), " ")
	c.ext = make(map[string]string)
	for _, line := range r.Lines[1:] {
		keyword, params, _ := strings.Cut(strings.TrimSpace(line), " ")
		c.ext[strings.ToUpper(keyword)] = params
	}
}

// StartTLS asks for TLS and does the handshake (RFC 3207). A *ReplyError says
// that the server does not want to; the session can then go on in clear text.
// After any other error it cannot. What was learned from EHLO is forgotten.
func (c *Client) StartTLS(ctx context.Context, config *tls.Config) error {
	r, err := c.command(c.o.Timeouts.Command, "STARTTLS")
	if err != nil {
		return err
	}
	if r.Code != 220 {
		return c.refused("STARTTLS", r)
	}
	if c.r.Buffered() > 0 {
		return c.fatal(ErrInjection)
	}
	conn := tls.Client(c.conn, config)
	c.deadline(c.o.Timeouts.TLS)
	if err := conn.HandshakeContext(ctx); err != nil {
		return c.fatal(&HandshakeError{err})
	}
	state := conn.ConnectionState()
	c.conn, c.secure, c.ext = conn, &state, nil
	c.r.Reset(conn)
	return nil
}

// Quit ends the session politely, without waiting long.
func (c *Client) Quit() {
	if c.broken == nil {
		// The message is already the server's: its answer to QUIT changes nothing.
		_, _ = c.command(min(c.o.Timeouts.Command, 5*time.Second), "QUIT")
	}
	c.Close()
}

// command sends what is queued and line, and returns the reply to line.
func (c *Client) command(timeout time.Duration, line string) (Reply, error) {
	if err := c.queue(line); err != nil {
		return Reply{}, err
	}
	if err := c.flush(timeout); err != nil {
		return Reply{}, err
	}
	verb, _, _ := strings.Cut(line, " ")
	return c.read(timeout, verb)
}

// queue adds a command to what will be sent. A line end inside would be
// another command.
func (c *Client) queue(line string) error {
	if strings.ContainsAny(line, "\r\n\x00") {
		return c.fatal(status.New(501, "5.5.4", "cannot send a command with a line end in it"))
	}
	c.out = append(append(c.out, line...), '\r', '\n')
	return nil
}

// flush sends the queued commands. Bytes that came before they were sent
// answer nothing: the server is out of step, and its replies would be
// attributed to the wrong commands.
func (c *Client) flush(timeout time.Duration) error {
	if c.broken != nil {
		return c.broken
	}
	if c.r.Buffered() > 0 {
		return c.unsolicited()
	}
	c.deadline(timeout)
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	if err != nil {
		return c.fatal(&ConnError{Doing: "sending commands", Err: err})
	}
	return nil
}

// unsolicited explains early bytes: a 421 is a server that ends the session.
func (c *Client) unsolicited() error {
	r, err := ReadReply(c.r)
	if err == nil && r.Code == 421 {
		return c.refused("nothing", r)
	}
	return c.fatal(&ConnError{Doing: "sending commands", Err: fmt.Errorf("%w: it answers no command", ErrReply)})
}

// read returns the next reply. 421 closes the session whatever it answers
// (RFC 5321 §3.8).
func (c *Client) read(timeout time.Duration, command string) (Reply, error) {
	if c.broken != nil {
		return Reply{}, c.broken
	}
	c.deadline(timeout)
	r, err := ReadReply(c.r)
	if err != nil {
		return Reply{}, c.fatal(&ConnError{Doing: "waiting for the reply to " + command, Err: err})
	}
	if r.Code == 421 {
		return Reply{}, c.refused(command, r)
	}
	return r, nil
}

// refused makes the error for a reply. 421 breaks the session, and so does a
// positive reply that does not belong here: who knows what the server waits
// for then.
func (c *Client) refused(command string, r Reply) error {
	err := &ReplyError{Command: command, Reply: r}
	if r.Code == 421 || r.Positive() {
		return c.fatal(err)
	}
	return err
}

// fatal ends the session: later calls return the same error.
func (c *Client) fatal(err error) error {
	if c.broken == nil {
		c.broken = err
		c.release()
		c.conn.Close()
	}
	return err
}

// Until replaces Options.Deadline.
func (c *Client) Until(t time.Time) { c.o.Deadline = t }

// Broken reports whether the session can do no more.
func (c *Client) Broken() bool { return c.broken != nil }

func (c *Client) deadline(timeout time.Duration) {
	at := c.o.Now().Add(timeout)
	if !c.o.Deadline.IsZero() && c.o.Deadline.Before(at) {
		at = c.o.Deadline
	}
	c.conn.SetDeadline(at) //nolint:errcheck // a closed conn fails at the next read
}

// SizeLimit returns the largest message the server says it takes (RFC 1870
// §4), 0 where it does not say.
func (c *Client) SizeLimit() int64 {
	params, ok := c.ext["SIZE"]
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(params), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}
