package imapd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/eventlog"
	"peyk/internal/status"
)

// login: RFC 3501 §6.2.3.
func (s *session) login(p *parser) (reply, error) {
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	user, err := p.astring()
	if err != nil {
		return reply{}, err
	}
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	password, err := p.astring()
	if err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	if err := s.needPrivacy(); err != nil {
		return reply{}, err
	}
	return s.enter("LOGIN", []byte("\x00"+user+"\x00"+password))
}

// needPrivacy refuses passwords in the clear (RFC 3501 §11.1).
func (s *session) needPrivacy() error {
	if s.secured() {
		return nil
	}
	return no(imap.ResponseCodePrivacyRequired, "cannot take a password without TLS")
}

// authenticate: RFC 3501 §6.2.2, with an initial response (RFC 4959).
func (s *session) authenticate(p *parser) (reply, error) {
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	mechanism, err := p.word()
	if err != nil {
		return reply{}, err
	}
	var initial []byte
	given := p.eat(' ')
	if given {
		initial = bytes.Clone(p.run(func(c byte) bool { return c > ' ' && c < 0x7f }))
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	if mechanism != "PLAIN" {
		return reply{}, no(imap.ResponseCodeCannot, "cannot use this mechanism: PLAIN is what there is")
	}
	if err := s.needPrivacy(); err != nil {
		return reply{}, err
	}
	if !given {
		initial, err = s.challenge(p)
	}
	if err != nil {
		return reply{}, err
	}
	return s.plain(initial)
}

// challenge asks for the response with an empty challenge.
func (s *session) challenge(p *parser) ([]byte, error) {
	s.text("+ \r\n")
	if err := s.flush(); err != nil {
		return nil, err
	}
	p.before = 0
	if err := p.readLine(); err != nil {
		return nil, err
	}
	line := bytes.Clone(p.line)
	p.pos = len(p.line)
	if p.long {
		return nil, bad("the response is too long")
	}
	return line, nil
}

func (s *session) plain(encoded []byte) (reply, error) {
	switch {
	case string(encoded) == "*":
		return reply{}, bad("as you wish: the login is cancelled") // RFC 3501 §6.2.2
	case string(encoded) == "=":
		encoded = nil // RFC 4959 §3: an empty response
	}
	response, err := base64.StdEncoding.Strict().DecodeString(string(encoded))
	if err != nil {
		return reply{}, bad("the response is not valid base64")
	}
	return s.enter("PLAIN", response)
}

// enter tries a login.
func (s *session) enter(mechanism string, response []byte) (reply, error) {
	name := nameIn(response)
	ctx, cancel := context.WithTimeout(s.ctx, s.limits.LoginTime)
	defer cancel()
	user, err := s.admit(ctx, response)
	if err != nil {
		return reply{}, s.refused(name, mechanism, err)
	}
	s.user, s.groups = user, s.groupsOf(user)
	s.log = s.log.With("user", user)
	s.log.Event(eventlog.Login, "mechanism", mechanism, "tls", s.conn.TLSState() != nil, "client", s.conn.RemoteAddr())
	return reply{code: "CAPABILITY " + s.capabilities(), text: "logged in"}, nil
}

func (s *session) admit(ctx context.Context, response []byte) (user string, err error) {
	user, err = s.o.Users.Login(ctx, response, Client{
		Session: s.id, Secured: s.secured(), Remote: addrOf(s.conn.RemoteAddr()), Local: addrOf(s.conn.LocalAddr())})
	if err != nil {
		return "", err
	}
	root, quota, err := s.o.Users.Mailbox(ctx, user)
	if err != nil {
		return "", err
	}
	if err := s.sit(user); err != nil {
		return user, err
	}
	if err := s.open(root, quota); err != nil {
		s.stand()
		return user, err
	}
	return user, nil
}

// groupsOf asks for the groups of a user. Who cannot be asked has none.
func (s *session) groupsOf(user string) []string {
	d := s.directory()
	if d == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.limits.LoginTime)
	defer cancel()
	account, _, err := d.Find(ctx, user)
	if err != nil {
		s.log.Event(eventlog.Trouble, "reason", "cannot find the groups of the user", "error", err)
	}
	return account.Groups
}

// refused logs a failed login and makes its answer (RFC 5530).
func (s *session) refused(name, mechanism string, err error) error {
	if err == errSeats {
		s.log.Event(eventlog.LoginFailed, "user", name, "mechanism", mechanism, "client", s.conn.RemoteAddr(), "reason", "too many connections")
		return err
	}
	st := status.Of(err)
	s.log.Event(eventlog.LoginFailed, "user", name, "mechanism", mechanism, "client", s.conn.RemoteAddr(), "reason", st.Text, "error", st.Err)
	if st.Temporary() {
		return no(imap.ResponseCodeUnavailable, "cannot check the login now, try again later")
	}
	s.failures++
	if s.failures >= s.limits.Logins {
		s.state = imap.ConnStateLogout
		s.untagged("BYE too many failed logins")
	}
	return no(imap.ResponseCodeAuthenticationFailed, "cannot log in: wrong name or password")
}

// nameIn returns the user's name of a PLAIN response, for the log.
func nameIn(response []byte) string {
	parts := strings.SplitN(string(response), "\x00", 3)
	if len(parts) < 2 {
		return ""
	}
	return parts[1]
}

// startTLS: RFC 3501 §6.2.1. What came in plaintext after the command is
// discarded, here and in guardconn; a failed handshake closes.
func (s *session) startTLS(p *parser) (reply, error) {
	if err := p.end(); err != nil {
		return reply{}, err
	}
	if s.startTLSCap() == "" {
		return reply{}, bad("TLS is not to be had here, or in use already")
	}
	s.text(p.tag, " OK begin TLS now\r\n")
	if err := s.flush(); err != nil {
		return reply{}, err
	}
	s.in = bufio.NewReaderSize(s.conn, 4<<10)
	ctx, cancel := context.WithTimeout(s.ctx, s.limits.Handshake)
	defer cancel()
	if err := s.conn.UpgradeTLS(ctx, s.o.TLS); err != nil {
		s.log.Event(eventlog.TLSFailed, "client", s.conn.RemoteAddr(), "error", err)
		return reply{}, errLogout
	}
	return reply{}, errAnswered
}

// errAnswered says that the tagged answer has been sent.
var errAnswered = errors.New("answered")
