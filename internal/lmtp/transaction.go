package lmtp

import (
	"context"
	"strconv"
	"strings"
	"time"

	"peyk/internal/envelope"
	"peyk/internal/status"
)

const (
	chunk        = 64 << 10 // octets of the message per write
	maxPipelined = 500      // commands without their replies: more could fill both sides' buffers
)

// Deliver hands one message over. There is one result per recipient, in
// order, whatever happens; a recipient about whom nothing was heard has a
// temporary error. A non-nil error means that the connection cannot be used
// again; the results hold all the same.
func (c *Client) Deliver(ctx context.Context, t *Transaction) ([]Result, error) {
	d := &delivery{c: c, t: t, ctx: ctx, results: make([]Result, len(t.Recipients))}
	defer c.watch(ctx)()
	if c.broken {
		err := status.New(451, "4.4.2", "connection to the delivery service was lost")
		d.settle(err, "")
		return d.results, err
	}
	if refusal := d.unsupported(); refusal != nil {
		d.settle(refusal, "")
		return d.results, nil
	}
	err := d.run()
	if err != nil {
		c.broken = true
		d.settle(status.Of(err), "")
		return d.results, err
	}
	d.settle(status.New(451, "4.5.0", "delivery service gave no answer"), "")
	return d.results, nil
}

// delivery is one Deliver under way.
type delivery struct {
	c       *Client
	t       *Transaction
	ctx     context.Context
	results []Result
	settled []bool // lazily: recipients that have their result
	sent    int    // commands of the envelope
	heard   int    // replies to them
	prefix  int    // commands before MAIL
	refused bool   // MAIL was
	open    []int  // recipients that were accepted and wait for the final reply
}

// settle gives a result to every recipient that has none.
func (d *delivery) settle(err *status.Error, text string) {
	for i := range d.results {
		d.result(i, err, text)
	}
}

// result gives recipient i its result, unless it has one.
func (d *delivery) result(i int, err *status.Error, text string) {
	if d.settled == nil {
		d.settled = make([]bool, len(d.results))
	}
	if !d.settled[i] {
		d.settled[i] = true
		d.results[i] = Result{Err: err, Reply: text}
	}
}

// unsupported returns why this server cannot take this message at all.
func (d *delivery) unsupported() *status.Error {
	t, ext := d.t, d.c.ext
	switch {
	case t.Body == "BINARYMIME" && !(ext.binary && ext.chunking): // RFC 3030 §3
		return status.New(554, "5.6.3", "cannot pass on binary content: the next server does not take it")
	case t.SMTPUTF8 && !ext.utf8 && !asciiOnly(t): // RFC 6531 §3.2
		return status.New(553, "5.6.7", "cannot pass on an internationalized address: the next server does not take it")
	case t.RequireTLS && !ext.requireTLS && d.c.conn.RemoteAddr().Network() != "unix": // RFC 8689 §4.2.1; a Unix socket does not leave the host
		return status.New(554, "5.7.30", "cannot pass on a message that requires TLS: the next server does not promise it")
	}
	return nil
}

func asciiOnly(t *Transaction) bool {
	for i := range t.Recipients {
		if !ascii(t.Recipients[i].Address) {
			return false
		}
	}
	return ascii(t.Sender)
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func (d *delivery) run() error {
	c := d.c
	c.out = c.out[:0]
	if err := d.envelope(); err != nil {
		return err
	}
	c.reset = true
	switch {
	case !c.ext.chunking:
		return d.data()
	case d.t.Size > 0:
		return d.bdat()
	}
	return d.bdatUnsized()
}

// envelope queues the commands up to the last RCPT.
func (d *delivery) envelope() error {
	c := d.c
	if c.reset {
		c.out = append(c.out, "RSET\r\n"...)
		d.prefix++
		if err := d.queued(); err != nil {
			return err
		}
	}
	if d.t.QueueID != "" && c.ext.xforward {
		c.out = append(c.out, "XFORWARD IDENT="...)
		c.out = append(c.out, envelope.EncodeXtext(d.t.QueueID)...)
		c.out = append(c.out, "\r\n"...)
		d.prefix++
		if err := d.queued(); err != nil {
			return err
		}
	}
	c.out = d.appendMail(c.out)
	if err := d.queued(); err != nil {
		return err
	}
	for i := range d.t.Recipients {
		c.out = d.appendRcpt(c.out, &d.t.Recipients[i])
		if err := d.queued(); err != nil {
			return err
		}
	}
	return nil
}

func (d *delivery) appendMail(dst []byte) []byte {
	t, ext := d.t, d.c.ext
	dst = append(dst, "MAIL FROM:<"...)
	dst = append(dst, t.Sender...)
	dst = append(dst, '>')
	if ext.size && t.Size > 0 { // RFC 1870
		dst = append(dst, " SIZE="...)
		dst = strconv.AppendInt(dst, t.Size, 10)
	}
	if t.Body != "" && ext.eightBit { // RFC 6152
		dst = append(dst, " BODY="...)
		dst = append(dst, t.Body...)
	}
	if t.SMTPUTF8 && ext.utf8 {
		dst = append(dst, " SMTPUTF8"...)
	}
	if t.RequireTLS && ext.requireTLS {
		dst = append(dst, " REQUIRETLS"...)
	}
	if t.Again && ext.again {
		dst = append(dst, " XAGAIN"...)
	}
	if t.Ret != "" && ext.dsn { // RFC 3461 §4.3
		dst = append(dst, " RET="...)
		dst = append(dst, t.Ret...)
	}
	if t.EnvID != "" && ext.dsn { // RFC 3461 §4.4
		dst = append(dst, " ENVID="...)
		dst = append(dst, envelope.EncodeXtext(t.EnvID)...)
	}
	return append(dst, "\r\n"...)
}

func (d *delivery) appendRcpt(dst []byte, r *envelope.Recipient) []byte {
	dst = append(dst, "RCPT TO:<"...)
	dst = append(dst, r.Address...)
	dst = append(dst, '>')
	if len(r.Notify) > 0 && d.c.ext.dsn { // RFC 3461 §4.1
		dst = append(dst, " NOTIFY="...)
		dst = append(dst, strings.Join(r.Notify, ",")...)
	}
	if kind, addr, ok := strings.Cut(r.ORcpt, ";"); ok && d.c.ext.dsn { // RFC 3461 §4.2
		dst = append(dst, " ORCPT="...)
		dst = append(dst, kind...)
		dst = append(dst, ';')
		dst = append(dst, envelope.EncodeXtext(addr)...)
	}
	return append(dst, "\r\n"...)
}

// queued counts a command, and waits for replies where the server wants to be
// asked one by one.
func (d *delivery) queued() error {
	d.sent++
	if d.c.ext.pipelining && d.sent-d.heard < maxPipelined {
		return nil
	}
	return d.hearEnvelope()
}

// hearEnvelope reads all replies to the envelope that are due.
func (d *delivery) hearEnvelope() error {
	if err := d.c.flush(d.ctx); err != nil {
		return err
	}
	for d.heard < d.sent {
		r, err := d.hear(d.c.timeouts.Command)
		if err != nil {
			return err
		}
		d.envelopeReply(d.heard-d.prefix, r)
		d.heard++
	}
	return nil
}

// envelopeReply takes the reply to MAIL (n = 0) or to recipient n-1. What
// comes before them changes nothing: an id that is not taken is just missing
// in a log.
func (d *delivery) envelopeReply(n int, r reply) {
	switch {
	case n < 0 || d.refused:
	case n == 0 && !r.ok():
		d.refused = true
		d.settle(r.err(), r.String())
	case n == 0:
	case r.ok():
		d.open = append(d.open, n-1)
	default:
		d.result(n-1, r.err(), r.String())
	}
}

// hear reads a reply. 421 means that no other will come (RFC 5321 §3.8).
func (d *delivery) hear(timeout time.Duration) (reply, error) {
	r, err := d.c.hear(d.ctx, timeout)
	if err != nil {
		return r, err
	}
	if r.code == 421 {
		d.settle(r.err(), r.String())
		return r, r.err()
	}
	return r, nil
}

// final reads one reply for each accepted recipient (RFC 2033 §4.2).
func (d *delivery) final() error {
	for _, i := range d.open {
		r, err := d.hear(d.c.timeouts.Final)
		if err != nil {
			return err
		}
		if r.code/10 == 50 { // the command itself was not taken: no other reply will follow
			d.c.broken = true
			d.settle(r.err(), r.String())
			return nil
		}
		d.result(i, r.err(), r.String())
	}
	d.c.reset = false
	return nil
}
