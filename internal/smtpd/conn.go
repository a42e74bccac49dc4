package smtpd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
)

// rateWindow is the time over which the rate of a transfer is measured: a
// block of data may take three minutes (RFC 5321 §4.5.3.2.5).
const rateWindow = 3 * time.Minute

// A conn is one session, as go-smtp sees it a net.Conn: Read yields clean
// command lines, Write takes go-smtp's replies and puts them into our words.
type conn struct {
	*guardconn.Conn
	server  *Server
	service Service
	policy  *Policy
	log     *eventlog.Log
	addr    netip.Addr // of the client; invalid on a Unix socket

	in      input
	forward []byte // what go-smtp reads next
	buffer  []byte // of hand
	verb    verb   // the command that go-smtp is answering
	ended   bool   // nothing is read or said any more
	closed  bool   // Close was called
	lost    bool   // out of step with the client, see lose

	helo     string             // what the client called itself; "" before HELO and EHLO
	extended bool               // EHLO
	login    string             // who logged in
	unlist   func()             // takes the session off the list of those that may be ended
	asked    dovecotauth.Moment // before the login was looked at
	tx       *transaction
	next     *transaction // what MAIL asks for, until the session has agreed
	rcpt     recipient    // what RCPT asks for
	errors   int
	rejected int // recipients named in vain
	excess   int // recipients beyond the limit
	failures int // of AUTH
	messages int // accepted
}

func newConn(s *Server, c *guardconn.Conn, service Service) *conn {
	n := &conn{Conn: c, server: s, service: service, policy: s.policy.Load(), verb: greeting, unlist: func() {}}
	n.addr = remoteIP(c.RemoteAddr())
	n.log = s.o.Log.With("session", sessionID(s.o.Rand), "service", string(service))
	n.log.Event(eventlog.Connected, "client", n.client(), "tls", n.secure())
	return n
}

func sessionID(rand io.Reader) string {
	var b [5]byte
	io.ReadFull(rand, b[:]) // an id that repeats does no harm
	return fmt.Sprintf("%x", b)
}

func remoteIP(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// client names the client for the log.
func (c *conn) client() string {
	if c.addr.IsValid() {
		return c.addr.String()
	}
	return "local"
}

func (c *conn) secure() bool { return c.TLSState() != nil }

// trusted reports whether the client may send to any domain without login.
func (c *conn) trusted() bool {
	return c.service == Submit || c.service == MX && contains(c.policy.Relay, c.addr)
}

// exempt reports whether the control limits-exempt names the client.
func (c *conn) exempt() bool { return contains(c.policy.Exempt, c.addr) }

// Read gives go-smtp the next command that is fit for it. All others are
// answered here.
func (c *conn) Read(p []byte) (n int, err error) {
	defer c.survive(&err)
	for len(c.forward) == 0 {
		if c.ended {
			return 0, io.EOF
		}
		line, err := c.readLine(c.policy.CommandLine)
		if err != nil {
			c.broken(err)
			continue
		}
		c.command(line)
	}
	n = copy(p, c.forward)
	c.forward = c.forward[n:]
	return n, nil
}

// survive ends the session, and only it, when we have a defect.
func (c *conn) survive(err *error) {
	r := recover()
	if r == nil {
		return
	}
	c.log.Event(eventlog.Panic, "error", fmt.Sprint(r), "stack", string(debug.Stack()))
	c.end("421 4.3.0 internal error, closing the connection")
	*err = io.EOF
}

// hand gives go-smtp a command, of which v is the verb.
func (c *conn) hand(v verb, line string) {
	c.verb = v
	c.buffer = append(append(c.buffer[:0], line...), "\r\n"...)
	c.forward = c.buffer
}

// Close ends the session. go-smtp calls it more than once.
func (c *conn) Close() error {
	if c.closed {
		return nil
	}
	c.ended, c.closed = true, true
	c.unlist()
	err := c.Conn.Close()
	c.in.release()
	c.log.Event(eventlog.Closed, "client", c.client(), "helo", c.helo, "messages", c.messages,
		"rejected", c.rejected, "errors", c.errors)
	return err
}

// end says a last line, if there is one to say, and ends the session.
func (c *conn) end(reply string) {
	if c.ended {
		return
	}
	if reply != "" {
		c.reply(reply)
	}
	c.Flush()
	c.ended = true
	c.forward = nil
}

// broken ends the session after an error of reading.
func (c *conn) broken(err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.end("421 4.4.2 " + c.server.o.Hostname + " timeout, closing the connection")
	case errors.Is(err, errLongLine):
		c.errors++
		c.end("500 5.5.2 line too long, closing the connection") // RFC 5321 §4.5.3.1.9
	case errors.Is(err, guardconn.ErrShutdown):
		c.end("") // guardconn has said the farewell
	default:
		c.end("")
	}
}

// readLine waits for a whole command line, without its line end. What a
// client had sent of a line when it fell silent or went away is not a command.
func (c *conn) readLine(limit int) ([]byte, error) {
	if line, ok, err := c.in.line(limit); ok || err != nil {
		return line, err
	}
	c.SetPhase(guardconn.Phase{Idle: c.policy.CommandTimeout, Whole: c.policy.CommandTimeout, Command: true})
	for {
		if err := c.in.fill(c.Conn); err != nil {
			return nil, err
		}
		if line, ok, err := c.in.line(limit); ok || err != nil {
			return line, err
		}
	}
}

// dataPhase begins the deadlines of a message.
func (c *conn) dataPhase() {
	c.SetPhase(guardconn.Phase{Idle: rateWindow, Whole: c.policy.DataTimeout, Rate: c.policy.DataRate, Window: rateWindow})
}
