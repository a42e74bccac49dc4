package smtpd

import (
	"context"
	"errors"
	"io"

	"github.com/emersion/go-smtp"

	"peyk/internal/address"
	"peyk/internal/eventlog"
	"peyk/internal/status"
)

var errConnectionGone = errors.New("the connection is gone")

// Refusals by policy.
var (
	errSenderDomain  = status.New(501, "5.1.7", "cannot use a sender without a domain")
	errNullRecipient = status.New(501, "5.1.3", "cannot deliver to the null address")
	errNotYours      = status.New(553, "5.7.1", "cannot send as this sender: it does not belong to the login")
	errRelay         = status.New(550, "5.7.1", "cannot relay: the domain is not ours, and you have not logged in")
	errNoUser        = status.New(550, "5.1.1", "cannot deliver: no such user here")
	errLiteral       = status.New(550, "5.1.2", "cannot deliver to an address literal")
	errMessages      = status.New(421, "4.7.0", "cannot take more messages on this connection")
)

// A session is what go-smtp calls when a command has passed the conn: it
// decides who may send what to whom.
type session struct{ c *conn }

func newSession(sc *smtp.Conn) (smtp.Session, error) {
	c, ok := sc.Conn().(*conn)
	if !ok {
		return nil, errors.New("a connection that is not ours")
	}
	return &session{c}, nil
}

// Mail begins a transaction. The arguments are those that conn has read
// already, and better.
func (s *session) Mail(string, *smtp.MailOptions) error {
	c, tx := s.c, s.c.next
	c.next = nil
	if err := s.allowSender(tx); err != nil {
		c.log.Event(eventlog.SenderRefused, "client", c.client(), "from", tx.envelope.Sender, "login", c.login, "error", err)
		return toReply(err)
	}
	c.tx = tx
	return nil
}

func (s *session) allowSender(tx *transaction) error {
	c := s.c
	if c.policy.Messages > 0 && c.messages >= c.policy.Messages {
		return errMessages
	}
	if err := c.server.o.Queue.Room(tx.size); err != nil {
		return err
	}
	if c.login == "" || tx.sender.IsZero() {
		return nil
	}
	owns, err := c.server.o.Directory.Owns(context.Background(), c.login, tx.sender)
	if err == nil && !owns {
		err = errNotYours // RFC 6409 §6.1
	}
	return err
}

// Rcpt adds a recipient.
func (s *session) Rcpt(string, *smtp.RcptOptions) error {
	c, r := s.c, s.c.rcpt
	addr, err := s.allowRecipient(r.addr)
	if err != nil {
		c.rejected++
		c.log.Event(eventlog.RecipientRefused, "client", c.client(), "from", c.tx.envelope.Sender, "to", r.addr, "helo", c.helo, "login", c.login, "error", err)
		return toReply(err)
	}
	r.envelope.Address = addr.String()
	c.tx.envelope.Recipients = append(c.tx.envelope.Recipients, r.envelope)
	return nil
}

// allowRecipient returns the address to which mail is accepted, which is the
// one named but for <postmaster>.
func (s *session) allowRecipient(a address.Address) (address.Address, error) {
	ctx, dir := context.Background(), s.c.server.o.Directory
	if a.Domain == "" {
		a, found, err := dir.Postmaster(ctx)
		return a, orNoUser(found, err)
	}
	if a.IsLiteral() {
		return a, errLiteral
	}
	local, err := dir.Local(a.Domain)
	if err != nil {
		return a, err
	}
	if local {
		found, err := dir.Exists(ctx, a)
		return a, orNoUser(found, err)
	}
	if s.c.login == "" && !s.c.trusted() {
		return a, errRelay // RFC 5321 §3.6.2
	}
	return a, nil
}

func orNoUser(found bool, err error) error {
	if err == nil && !found {
		return errNoUser
	}
	return err
}

// Data receives the message. go-smtp's reader is not used: conn reads the
// octets itself, in bulk, and then lets go-smtp see the end of an empty one.
func (s *session) Data(io.Reader) error {
	c := s.c
	m := c.tx.message
	if m == nil {
		m = c.newMessage()
		c.readData(m)
	}
	c.forward = []byte(".\r\n")
	if c.ended {
		m.abort()
		return toReply(errConnectionGone)
	}
	if err := m.finish(); err != nil {
		return toReply(err)
	}
	c.messages++
	return queued(m.envelope.ID)
}

// Reset ends a transaction (RSET, EHLO, or the end of DATA).
func (s *session) Reset() {
	if tx := s.c.tx; tx != nil && tx.message != nil {
		tx.message.abort()
	}
	s.c.tx, s.c.next = nil, nil
}

// Logout ends the session.
func (s *session) Logout() error {
	s.Reset()
	return nil
}
