package smtpd

import (
	"peyk/internal/address"
	"peyk/internal/envelope"
)

// A recipient is what a RCPT command names.
type recipient struct {
	addr     address.Address // without domain for <postmaster>
	envelope envelope.Recipient
}

// rcptTo checks a RCPT command; whether mail for the recipient is accepted is
// for the session.
func (c *conn) rcptTo(arg string) {
	switch {
	case c.tx == nil:
		c.refuse("503 5.5.1 send MAIL first")
		return
	case c.tx.message != nil || c.tx.broken:
		c.refuse("503 5.5.1 the message has begun")
		return
	case len(c.tx.envelope.Recipients) >= c.policy.Recipients:
		c.excess++
		c.reply("452 4.5.3 too many recipients") // RFC 5321 §4.5.3.1.10
		c.checkPatience()
		return
	}
	r, err := c.tx.readRcpt(arg)
	if err != nil {
		c.refuse(statusLine(err))
		return
	}
	c.rcpt = r
	c.hand(rcpt, "RCPT TO:<"+forLibrary(r.addr).String()+">")
}

// forLibrary stands in for the addresses that go-smtp refuses, <postmaster>
// and an empty local part; the session sees the true one.
func forLibrary(a address.Address) address.Address {
	if a.Domain == "" || a.Local == "" {
		return address.Address{Local: "stand-in", Domain: "localhost"}
	}
	return a
}

// readRcpt reads the argument of RCPT (RFC 5321 §4.1.1.3). The source route,
// if any, is gone when it returns.
func (tx *transaction) readRcpt(arg string) (recipient, error) {
	var r recipient
	path, params, err := splitPath(arg, "TO:")
	if err != nil {
		return r, err
	}
	r.addr, err = address.ParsePath(path, tx.envelope.SMTPUTF8)
	if err != nil {
		return r, err
	}
	if r.addr.IsZero() {
		return r, errNullRecipient
	}
	err = eachParam(params, func(keyword, value string, given bool) error {
		return tx.rcptParam(&r, keyword, value, given)
	})
	return r, err
}
