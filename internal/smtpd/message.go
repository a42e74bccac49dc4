package smtpd

import (
	"crypto/tls"
	"fmt"

	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/header"
	"peyk/internal/status"
)

var errLoop = status.New(554, "5.4.6", "cannot deliver: too many Received fields, this is a loop") // RFC 5321 §6.3

// A message is on its way into the queue. After the first reason to refuse it,
// what still comes is read and dropped.
type message struct {
	c        *conn
	envelope envelope.Envelope
	queue    Writer // nil once refused
	decoder  decoder
	fields   fields
	size     int64 // octets that came
	err      error // the first reason to refuse
}

// newMessage begins the message of the transaction; what goes wrong shows in
// finish.
func (c *conn) newMessage() *message {
	m := &message{c: c, envelope: c.tx.envelope}
	m.decoder = decoder{normalize: c.policy.Normalize, sink: m.take}
	m.open()
	c.tx.message = m
	return m
}

func (m *message) open() {
	c, o := m.c, &m.c.server.o
	m.envelope.ID, m.err = o.Queue.NewID()
	if m.err != nil {
		return
	}
	m.envelope.Client = envelope.Client{Addr: c.addrText(), Helo: c.helo, Proto: c.protocol(), Login: c.login}
	m.queue, m.err = o.Queue.Create(&m.envelope)
	if m.err != nil {
		m.queue = nil
		return
	}
	m.put(m.trace())
}

// trace returns the Received field (RFC 5321 §4.4). The recipient is named
// only where it is the only one: others must not learn of it.
func (m *message) trace() []byte {
	c, o := m.c, &m.c.server.o
	r := header.Received{Helo: c.helo, Addr: c.addrText(), TLS: tlsText(c.TLSState()), By: o.Hostname,
		With: c.protocol(), ID: m.envelope.ID, Date: o.Now()}
	r.Name = "unknown" // names are not looked up
	if c.service == Submit {
		r.Name = "localhost"
	}
	if len(m.envelope.Recipients) == 1 {
		r.For = m.envelope.Recipients[0].Address
	}
	return r.Append(make([]byte, 0, 512))
}

func tlsText(s *tls.ConnectionState) string {
	if s == nil {
		return ""
	}
	return tls.VersionName(s.Version) + " " + tls.CipherSuiteName(s.CipherSuite)
}

func (c *conn) addrText() string {
	if c.addr.IsValid() {
		return c.addr.String()
	}
	return ""
}

// protocol is the session's "with" word (RFC 3848, RFC 6531 §4.3).
func (c *conn) protocol() string {
	word := "SMTP"
	if c.extended {
		word = "ESMTP"
	}
	if c.tx.envelope.SMTPUTF8 {
		word = "UTF8SMTP"
	}
	if !c.extended {
		return word
	}
	if c.secure() {
		word += "S"
	}
	if c.login != "" {
		word += "A"
	}
	return word
}

// take is the decoder's sink.
func (m *message) take(p []byte) {
	m.size += int64(len(p))
	if m.size > m.c.policy.MessageSize {
		m.refuse(errMessageTooBig)
	}
	if m.queue == nil {
		return
	}
	if m.fields.done {
		m.put(p)
		return
	}
	m.takeHeader(p)
}

func (m *message) takeHeader(p []byte) {
	p, over, broken := m.fields.pass(p)
	if m.fields.size > m.c.policy.HeaderSize {
		m.refuse(errHeaderTooBig)
	}
	if over {
		m.complete()
		if broken && m.c.service != MX {
			m.put(crlf) // what follows is text: keep it apart from our fields
		}
	}
	m.put(p)
}

// complete adds the fields that a submission must have (RFC 6409 §8.2, §8.3).
func (m *message) complete() {
	if m.c.service == MX {
		return
	}
	o := &m.c.server.o
	if !m.fields.date {
		m.put([]byte("Date: " + o.Now().Format("Mon, 02 Jan 2006 15:04:05 -0700") + "\r\n"))
	}
	if !m.fields.id {
		m.put(fmt.Appendf(nil, "Message-ID: <%s@%s>\r\n", m.envelope.ID, o.Hostname))
	}
}

func (m *message) put(p []byte) {
	if m.queue == nil || len(p) == 0 {
		return
	}
	if _, err := m.queue.Write(p); err != nil {
		m.refuse(err)
	}
}

// refuse gives the message up. The first reason counts.
func (m *message) refuse(err error) {
	if m.err == nil {
		m.err = err
	}
	m.abort()
}

func (m *message) abort() {
	if m.queue != nil {
		m.queue.Abort()
		m.queue = nil
	}
}

// finish queues the message. When it returns nil the message is ours.
func (m *message) finish() error {
	m.endHeader()
	m.judge()
	if m.err == nil {
		m.err = m.queue.Commit()
		m.queue = nil
	}
	c := m.c
	if m.err != nil {
		c.log.Event(eventlog.MessageRefused, "queue", m.envelope.ID, "client", c.client(), "login", c.login,
			"from", m.envelope.Sender, "size", m.size, "error", m.err)
		return m.err
	}
	c.log.Event(eventlog.Accepted, "queue", m.envelope.ID, "client", c.client(), "helo", c.helo, "proto", c.protocol(),
		"login", c.login, "from", m.envelope.Sender, "to", m.envelope.Recipients[0].Address, "recipients", len(m.envelope.Recipients), "size", m.size)
	return nil
}

// endHeader deals with a message that ended within its header.
func (m *message) endHeader() {
	m.decoder.finish()
	if m.fields.done {
		return
	}
	m.put(m.fields.held)
	m.complete()
}

// judge refuses what only the whole message shows.
func (m *message) judge() {
	if f := m.decoder.fault; f != "" {
		m.refuse(status.Newf(550, "5.6.11", "cannot take a message that contains %s", string(f)))
	}
	if m.fields.hops > m.c.policy.Hops {
		m.refuse(errLoop)
	}
}
