package smtpclient

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"peyk/internal/envelope"
	"peyk/internal/status"
)

// maxBatch is how many octets of commands are sent before their replies are
// read: less than any socket's buffer holds, so that neither side waits for
// the other to read (RFC 2920 §3.1).
const maxBatch = 4096

// Mail is one transaction, in the words of an envelope.
type Mail struct {
	Sender     string // wire form without brackets, "" = null
	Body       string // "", "7BIT", "8BITMIME"
	SMTPUTF8   bool
	RequireTLS bool
	Ret, EnvID string
	Size       int64 // octets, 0 = unknown
	Recipients []envelope.Recipient
}

// Refusals of what the next hop cannot carry, in the words of RFC 3463.
var (
	errSize   = status.New(552, "5.3.4", "message is larger than the next host takes")
	errEight  = status.New(554, "5.6.3", "message needs 8BITMIME, which the next host does not offer")
	errUTF8   = status.New(550, "5.6.7", "message needs SMTPUTF8, which the next host does not offer")
	errTLS    = status.New(550, "5.7.30", "message needs REQUIRETLS, which the next host does not offer")
	errBinary = status.New(554, "5.6.3", "binary message cannot be sent to another host")
	errBare   = status.New(554, "5.6.11", "cannot send a message with a bare CR or LF or a NUL in it")
)

// Check reports, without sending anything, whether the server can take m: a
// *status.Error, 5.3.4, 5.6.3, 5.6.7 or 5.7.30. What only the message itself
// can tell is found out by Body.
func (c *Client) Check(m *Mail) error {
	if limit := c.SizeLimit(); limit > 0 && m.Size > limit {
		return errSize // RFC 1870 §6.1
	}
	if m.Body == "BINARYMIME" {
		return errBinary
	}
	if !c.has("SMTPUTF8") && !asciiAddresses(m) {
		return errUTF8 // RFC 6531 §3.5
	}
	if m.RequireTLS && (c.secure == nil || !c.has("REQUIRETLS")) {
		return errTLS // RFC 8689 §4.2.1
	}
	return nil
}

func asciiAddresses(m *Mail) bool {
	if !isASCII(m.Sender) {
		return false
	}
	for _, r := range m.Recipients {
		if !isASCII(r.Address) {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func (c *Client) has(keyword string) bool {
	_, ok := c.ext[keyword]
	return ok
}

// ErrNoRecipients means that Begin ended without a recipient that was
// accepted: the refusals say why, and no message may follow.
var ErrNoRecipients = errors.New("no recipient was accepted")

// Begin sends MAIL, RCPT for each recipient, and DATA, in as few round trips
// as the server allows. The result has one element per recipient, nil where it
// was accepted. With a nil error the message must follow by Body. Otherwise
// the error holds for every recipient whose element is nil, and the session is
// ready for the next Begin unless Broken.
func (c *Client) Begin(m *Mail) ([]error, error) {
	results := make([]error, len(m.Recipients))
	b := &batch{c: c, m: m, results: results}
	if err := c.Check(m); err != nil {
		return results, err
	}
	return results, b.run()
}

// A batch is the commands of one transaction on their way.
type batch struct {
	c        *Client
	m        *Mail
	results  []error
	pending  []func() error // read the replies to what is queued, in order
	mailErr  error          // refusal of MAIL
	accepted int
}

func (b *batch) run() error {
	c := b.c
	if err := b.send(c.mailLine(b.m), b.mailReply); err != nil {
		return err
	}
	for i := range b.m.Recipients {
		if !c.has("PIPELINING") && b.mailErr != nil {
			break
		}
		if err := b.send(c.rcptLine(&b.m.Recipients[i]), func() error { return b.rcptReply(i) }); err != nil {
			return err
		}
	}
	if c.has("PIPELINING") {
		return b.lastBatch()
	}
	return b.data(false)
}

// lastBatch sends DATA along with the commands that are waiting to be sent.
func (b *batch) lastBatch() error {
	if err := b.c.queue("DATA"); err != nil {
		return err
	}
	if err := b.exchange(); err != nil {
		return err
	}
	return b.data(true)
}

// send queues a command, and exchanges what is queued when it is enough, or at
// once where the server does not know PIPELINING.
func (b *batch) send(line string, reply func() error) error {
	c := b.c
	if c.has("PIPELINING") && len(c.out) > 0 && len(c.out)+len(line) > maxBatch {
		if err := b.exchange(); err != nil {
			return err
		}
	}
	if err := c.queue(line); err != nil {
		return err
	}
	b.pending = append(b.pending, reply)
	if c.has("PIPELINING") {
		return nil
	}
	return b.exchange()
}

func (b *batch) exchange() error {
	if err := b.c.flush(b.c.o.Timeouts.Mail); err != nil {
		return err
	}
	for _, read := range b.pending {
		if err := read(); err != nil {
			return err
		}
	}
	b.pending = b.pending[:0]
	return nil
}

func (b *batch) mailReply() error {
	r, err := b.c.read(b.c.o.Timeouts.Mail, "MAIL FROM")
	if err == nil && r.Code/100 != 2 {
		b.mailErr = b.c.refused("MAIL FROM", r)
	}
	if err == nil {
		err = b.c.broken
	}
	return err
}

func (b *batch) rcptReply(i int) error {
	r, err := b.c.read(b.c.o.Timeouts.Rcpt, "RCPT TO")
	if err != nil {
		return err
	}
	if r.Code/100 == 2 {
		b.accepted++
		return nil
	}
	b.results[i] = b.c.refused("RCPT TO", r)
	return b.c.broken
}

// data finishes the envelope; sent says that DATA is on its way already.
func (b *batch) data(sent bool) error {
	c := b.c
	useless := b.mailErr != nil || b.accepted == 0
	if useless && !sent {
		return b.reset()
	}
	if !sent {
		if err := c.queue("DATA"); err != nil {
			return err
		}
		if err := c.flush(c.o.Timeouts.Data); err != nil {
			return err
		}
	}
	r, err := c.read(c.o.Timeouts.Data, "DATA")
	if err != nil {
		return err
	}
	if r.Code == 354 && useless {
		// RFC 2920 §3.1: the client must end the message it did not want to begin.
		return b.emptyMessage()
	}
	if r.Code == 354 {
		return nil
	}
	if useless {
		return b.reset()
	}
	err = c.refused("DATA", r)
	if !c.Broken() {
		b.reset() //nolint:errcheck // the refusal is the answer
	}
	return err
}

func (b *batch) emptyMessage() error {
	c := b.c
	c.out = append(c.out, ".\r\n"...)
	if err := c.flush(c.o.Timeouts.Data); err != nil {
		return err
	}
	if _, err := c.read(c.o.Timeouts.End, "end of data"); err != nil {
		return err
	}
	return b.reset()
}

// reset makes the session fit for another transaction and returns why this
// one failed.
func (b *batch) reset() error {
	if b.mailErr != nil {
		clear(b.results) // "503 need MAIL" and its like explain nothing
		return b.mailErr
	}
	r, err := b.c.command(b.c.o.Timeouts.Command, "RSET")
	if err == nil && r.Code/100 != 2 {
		b.c.fatal(b.c.refused("RSET", r)) //nolint:errcheck // the recipients have their results
	}
	return ErrNoRecipients
}

func (c *Client) mailLine(m *Mail) string {
	var b strings.Builder
	b.WriteString("MAIL FROM:<" + m.Sender + ">")
	if c.has("SIZE") && m.Size > 0 {
		b.WriteString(" SIZE=" + strconv.FormatInt(m.Size, 10))
	}
	if c.has("8BITMIME") && m.Body != "7BIT" {
		b.WriteString(" BODY=8BITMIME")
	}
	if c.has("SMTPUTF8") && m.SMTPUTF8 {
		b.WriteString(" SMTPUTF8")
	}
	if m.RequireTLS {
		b.WriteString(" REQUIRETLS")
	}
	if c.has("DSN") { // RFC 3461 §4.3, §4.4
		if m.Ret != "" {
			b.WriteString(" RET=" + m.Ret)
		}
		if m.EnvID != "" {
			b.WriteString(" ENVID=" + envelope.EncodeXtext(m.EnvID))
		}
	}
	return b.String()
}

func (c *Client) rcptLine(r *envelope.Recipient) string {
	line := "RCPT TO:<" + r.Address + ">"
	if !c.has("DSN") {
		return line
	}
	if len(r.Notify) > 0 {
		line += " NOTIFY=" + strings.Join(r.Notify, ",")
	}
	if kind, addr, ok := strings.Cut(r.ORcpt, ";"); ok {
		line += " ORCPT=" + kind + ";" + envelope.EncodeXtext(addr)
	}
	return line
}

// Body sends the message, in wire form without stuffed dots, and returns the
// server's reply to it. Errors:
//
//   - *ReplyError: the server refused the message, or answered out of turn;
//   - *status.Error 5.6.11, 5.6.3, 5.6.7: the message may not be sent, and was
//     not: the connection was closed before its end;
//   - *SourceError: r failed; the message was not sent;
//   - anything else: the connection broke. Whether the server has the message
//     is not known, so it must be tried again.
func (c *Client) Body(m *Mail, r io.Reader) (Reply, error) {
	w := &bodyWriter{c: c, guard: guard{
		eight: !c.has("8BITMIME"),
		utf8:  m.SMTPUTF8 && !c.has("SMTPUTF8"),
		head:  true,
		empty: true,
		last:  '\n',
	}}
	if err := w.copy(r, m.Size); err != nil {
		// Never a final dot after half a message: the server drops it.
		return Reply{}, c.fatal(err)
	}
	if err := w.end(); err != nil {
		return Reply{}, c.fatal(err)
	}
	reply, err := c.read(c.o.Timeouts.End, "end of data")
	if err == nil && reply.Code/100 != 2 {
		err = c.refused("end of data", reply)
	}
	return reply, err
}
