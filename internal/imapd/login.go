package imapd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"slices"
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
	return s.enter("LOGIN", "PLAIN", []byte("\x00"+user+"\x00"+password), nil)
}

// needPrivacy refuses passwords in the clear (RFC 3501 §11.1).
func (s *session) needPrivacy() error {
	if s.secured() {
		return nil
	}
	return no(imap.ResponseCodePrivacyRequired, "cannot take a password without TLS")
}

// client is what is known about who logs in.
func (s *session) client() Client {
	return Client{Session: s.id, Secured: s.secured(), Remote: addrOf(s.conn.RemoteAddr()), Local: addrOf(s.conn.LocalAddr()),
		TLS: s.conn.TLSState(), Config: s.o.TLS}
}

// mechanisms are those that this client may use. No login of any kind crosses
// the network without TLS, unless the control imap-plaintext-login trusts it:
// the mail would follow in the clear.
func (s *session) mechanisms() []string {
	if !s.secured() {
		return nil
	}
	return s.o.Users.Mechanisms(s.ctx, s.client())
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
	if err := s.needPrivacy(); err != nil {
		return reply{}, err
	}
	if !slices.Contains(s.mechanisms(), mechanism) {
		return reply{}, no(imap.ResponseCodeCannot, "cannot use this mechanism; CAPABILITY lists those that there are")
	}
	var response []byte
	switch {
	case string(initial) == "=": // RFC 4959 §3: an empty response
		response = []byte{}
	case given:
		response, err = decode(initial)
	case mechanism == "PLAIN":
		response, err = s.challenge(p, nil)
	}
	if err != nil {
		return reply{}, err
	}
	return s.enter(mechanism, mechanism, response, func(challenge []byte) ([]byte, error) { return s.challenge(p, challenge) })
}

// challenge sends a challenge and reads the response.
func (s *session) challenge(p *parser, text []byte) ([]byte, error) {
	s.text("+ ", base64.StdEncoding.EncodeToString(text), "\r\n")
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
	return decode(line)
}

// decode decodes a response; * gives the login up (RFC 3501 §6.2.2).
func decode(encoded []byte) ([]byte, error) {
	if string(encoded) == "*" {
		return nil, bad("as you wish: the login is cancelled")
	}
	response, err := base64.StdEncoding.Strict().DecodeString(string(encoded))
	if err != nil {
		return nil, bad("the response is not valid base64")
	}
	return response, nil
}

// enter tries a login. how is what the log calls it.
func (s *session) enter(how, mechanism string, response []byte, next func([]byte) ([]byte, error)) (reply, error) {
	var name string
	if mechanism == "PLAIN" {
		name = nameIn(response)
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.limits.LoginTime)
	defer cancel()
	d := dialogue{next: next}
	user, err := s.admit(ctx, mechanism, response, d.answer)
	if d.broken != nil {
		return reply{}, d.broken
	}
	if err != nil {
		return reply{}, s.refused(name, how, err)
	}
	s.user, s.groups = user, s.groupsOf(user)
	s.log = s.log.With("user", user)
	s.log.Event(eventlog.Login, "mechanism", how, "tls", s.conn.TLSState() != nil, "client", s.conn.RemoteAddr())
	return reply{code: "CAPABILITY " + s.capabilities(), text: "logged in"}, nil
}

// dialogue tells an end that the client brought about from a refusal.
type dialogue struct {
	next   func([]byte) ([]byte, error)
	broken error
}

var errTalkative = errors.New("the server asked for more than the mechanism has")

func (d *dialogue) answer(challenge []byte) ([]byte, error) {
	if d.next == nil {
		return nil, status.New(535, "5.7.8", "cannot log in").Because("log in", errTalkative)
	}
	response, err := d.next(challenge)
	d.broken = err
	return response, err
}

func (s *session) admit(ctx context.Context, mechanism string, response []byte, next func([]byte) ([]byte, error)) (user string, err error) {
	before := s.o.Sessions.Now()
	login, err := s.o.Users.Login(ctx, mechanism, response, s.client(), next)
	if err == nil {
		err = knownRights(login.Rights())
	}
	if err != nil {
		return "", err
	}
	user = login.User
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
	s.rights = login.Rights()
	s.unlist = s.o.Sessions.Enter(before, login, addrOf(s.conn.RemoteAddr()), s.ender(user))
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
