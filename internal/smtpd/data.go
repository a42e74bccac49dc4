package smtpd

import (
	"errors"
	"os"
	"strings"

	"peyk/internal/eventlog"
)

// maxDrain is the largest chunk that is read only to be dropped.
const maxDrain = 1 << 30

// data checks a DATA command.
func (c *conn) data(arg string) {
	if fault := c.mayData(arg); fault != "" {
		// A client must wait for the answer to DATA (RFC 2920 §3.1). One that
		// did not sends a message now, and no line of it is a command.
		c.lost = len(c.in.waiting()) > 0
		c.refuse(fault)
		return
	}
	c.hand(data, "DATA")
}

func (c *conn) mayData(arg string) string {
	switch {
	case arg != "":
		return "501 5.5.4 DATA takes no argument"
	case c.tx == nil:
		return "503 5.5.1 send MAIL first"
	case c.tx.message != nil || c.tx.broken: // RFC 3030 §2
		return "503 5.5.1 DATA cannot follow BDAT"
	case len(c.tx.envelope.Recipients) == 0: // RFC 5321 §3.3
		return "503 5.5.1 no valid recipients"
	}
	return ""
}

// readData reads up to the end of data.
func (c *conn) readData(m *message) {
	m.decoder.dots = true
	c.dataPhase()
	c.in.beginBulk()
	defer c.in.endBulk()
	for {
		n, end := m.decoder.feed(c.in.waiting())
		c.in.use(n)
		if end {
			return
		}
		if err := c.in.fill(c.Conn); err != nil {
			c.cut(err)
			return
		}
	}
}

// cut ends a session in whose message the client fell silent, went away or was
// too slow. The rest of the message is never read as commands.
func (c *conn) cut(err error) {
	if c.tx != nil {
		c.log.Event(eventlog.MessageRefused, "client", c.client(), "login", c.login, "from", c.tx.envelope.Sender, "error", err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.end("421 4.4.2 " + c.server.o.Hostname + " timeout, closing the connection")
		return
	}
	c.end("")
}

// bdat obeys BDAT (RFC 3030 §2). Without a size nobody knows where the chunk
// ends, so a wrong one ends the session.
func (c *conn) bdat(arg string) {
	size, last, ok := parseChunk(arg)
	if !ok {
		c.end("501 5.5.4 cannot tell where the chunk ends, closing the connection")
		return
	}
	if fault := c.mayChunk(); fault != "" {
		c.drain(size, fault)
		return
	}
	m := c.tx.message
	if m == nil {
		m = c.newMessage()
	}
	if m.err == nil && m.size+size > c.policy.MessageSize {
		m.refuse(errMessageTooBig)
	}
	c.readChunk(m, size)
	switch {
	case c.ended:
	case last: // go-smtp and the session finish it as they do after DATA
		c.hand(bdat, "DATA")
	case m.err != nil:
		c.tx.broken = true
		c.reply(statusLine(m.err))
	default:
		c.reply("250 2.0.0 chunk received")
	}
}

// parseChunk reads "size" or "size LAST".
func parseChunk(arg string) (size int64, last, ok bool) {
	digits, rest, more := strings.Cut(arg, " ")
	if more && upper(strings.Trim(rest, " \t")) != "LAST" {
		return 0, false, false
	}
	size, ok = parseCount(digits)
	return size, more, ok && size <= maxDrain
}

func (c *conn) mayChunk() string {
	switch {
	case c.tx == nil:
		return "503 5.5.1 send MAIL first"
	case c.tx.broken:
		return "503 5.5.1 the message was refused already, send RSET"
	case len(c.tx.envelope.Recipients) == 0:
		return "503 5.5.1 no valid recipients"
	}
	return ""
}

// readChunk reads one chunk into the message.
func (c *conn) readChunk(m *message, size int64) {
	c.eachOctet(size, func(p []byte) {
		m.decoder.feed(p)
	})
}

// drain reads a chunk that nobody wants, and then says why.
func (c *conn) drain(size int64, fault string) {
	c.eachOctet(size, func([]byte) {})
	c.refuse(fault)
}

// eachOctet reads exactly size octets.
func (c *conn) eachOctet(size int64, use func([]byte)) {
	c.dataPhase()
	c.in.beginBulk()
	defer c.in.endBulk()
	for size > 0 {
		p := c.in.waiting()
		if len(p) == 0 {
			if err := c.in.fill(c.Conn); err != nil {
				c.cut(err)
				return
			}
			continue
		}
		p = p[:min(int64(len(p)), size)]
		use(p)
		c.in.use(len(p))
		size -= int64(len(p))
	}
}
