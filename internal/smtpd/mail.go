package smtpd

import (
	"peyk/internal/address"
	"peyk/internal/envelope"
)

// A transaction is a mail transaction (RFC 5321 §3.3), from MAIL on.
type transaction struct {
	sender   address.Address
	envelope envelope.Envelope
	size     int64    // as declared; 0 = not
	message  *message // that BDAT has begun; nil before
	broken   bool     // a chunk was refused: nothing but RSET helps
}

// mail checks a MAIL command; whether the sender may send is for the session.
func (c *conn) mail(arg string) {
	if fault := c.mayBegin(); fault != "" {
		c.refuse(fault)
		return
	}
	tx, err := c.readMail(arg)
	if err != nil {
		c.refuse(statusLine(err))
		return
	}
	if tx.size > c.policy.MessageSize {
		c.reply(statusLine(errMessageTooBig)) // RFC 1870 §6.1
		return
	}
	c.next = tx
	path := "<>"
	if !tx.sender.IsZero() {
		path = "<" + forLibrary(tx.sender).String() + ">"
	}
	c.hand(mail, "MAIL FROM:"+path)
}

// mayBegin returns the refusal of a MAIL command that comes at a wrong time.
func (c *conn) mayBegin() string {
	switch {
	case c.helo == "":
		return "503 5.5.1 send EHLO first"
	case c.tx != nil: // RFC 5321 §4.1.4
		return "503 5.5.1 a mail transaction is under way"
	case c.offersLogin() && !c.secure():
		return "530 5.7.0 send STARTTLS first" // RFC 3207 §4
	case c.offersLogin() && c.login == "":
		return "530 5.7.0 log in first" // RFC 6409 §6.1
	}
	return ""
}

// offersLogin reports whether this is a service for users.
func (c *conn) offersLogin() bool { return c.service == Submission || c.service == Submissions }

// readMail reads the argument of MAIL (RFC 5321 §4.1.1.2).
func (c *conn) readMail(arg string) (*transaction, error) {
	path, params, err := splitPath(arg, "FROM:")
	if err != nil {
		return nil, err
	}
	tx := &transaction{}
	err = eachParam(params, func(keyword, value string, given bool) error {
		return c.mailParam(tx, keyword, value, given)
	})
	if err != nil {
		return nil, err
	}
	tx.sender, err = address.ParsePath(path, tx.envelope.SMTPUTF8)
	if err != nil {
		return nil, err
	}
	if tx.sender.Domain == "" && !tx.sender.IsZero() {
		return nil, errSenderDomain
	}
	tx.envelope.Sender = tx.sender.String()
	return tx, nil
}
