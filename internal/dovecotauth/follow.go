package dovecotauth

import (
	"context"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"time"

	"peyk/internal/status"
)

// Requests of our own. They are made like logins, with mechanisms that no
// server offers, so that a server which does not know them refuses them like
// any wrong login and is not disturbed.
const (
	// FollowMechanism asks to hear of changes: each challenge is the name of a
	// domain whose accounts may have changed, empty for all domains.
	FollowMechanism = "PEYK-FOLLOW"
	// CheckMechanism asks whether a login is still good; the response is the
	// user, a NUL and the ticket that came with the login.
	CheckMechanism = "PEYK-CHECK"
	// PasswdMechanism changes a password; the response is a NUL, the user, a
	// NUL, the old password, a NUL and the new one.
	PasswdMechanism = "PEYK-PASSWD"
)

// Fields and words of our own in requests and answers.
const (
	WordObeys    = "peyk_obeys"    // a flag of a request: the caller obeys FieldRights and follows changes
	WordCode     = "peyk_code"     // of a request: the code of a second factor; "" where the user gave none
	FieldRights  = "peyk_rights"   // of OK: what the login may do, when that is not everything
	FieldApp     = "peyk_app"      // of OK: the id of the app password
	FieldTicket  = "peyk_ticket"   // of OK: by which CheckMechanism asks
	FieldMail    = "peyk_mail"     // of a userdb answer: the reply to mail for the account, when it takes none
	CodeEnded    = "peyk_ended"    // of FAIL to CheckMechanism: the login is not good any more
	CodeNeedCode = "second_factor" // of FAIL: the password is right, and a code is needed
)

// Rights are what a login may do.
type Rights string

// The rights that FieldRights knows; "" is everything.
const (
	ReadOnly   Rights = "read-only"
	AppendOnly Rights = "append-only"
	SendOnly   Rights = "send-only"
)

// Rights returns what the login may do.
func (l Login) Rights() Rights { return Rights(l.Fields[FieldRights]) }

// Ticket returns by what the login can be checked again, "" for a server that
// gives none.
func (l Login) Ticket() string { return l.Fields[FieldTicket] }

// MailRefusal returns the reply to mail for an account that takes none, nil
// for all others.
func (u User) MailRefusal() error {
	line := u.Fields[FieldMail]
	if line == "" {
		return nil
	}
	code, rest, _ := strings.Cut(line, " ")
	enhanced, text, _ := strings.Cut(rest, " ")
	if code == "550" {
		return status.New(550, enhanced, text)
	}
	return status.New(450, "4.2.1", text)
}

// ErrNeedCode is what a refusal wraps when the password was right and the code
// of a second factor is wanted.
var ErrNeedCode = errors.New("the code of a second factor is needed")

// ChangePassword changes the password of a user who knows the old one; code is
// that of a second factor, "" where there is none. Errors are those of
// Authenticate.
func (a *Auth) ChangePassword(ctx context.Context, user, old, password, code string) error {
	response := strings.Join([]string{"", user, old, password}, "\x00")
	_, err := a.Authenticate(ctx, "passwd", PasswdMechanism, []byte(response), AuthInfo{Secured: true, Asks: true, Code: code})
	return err
}

// Pauses between two attempts to follow a server that cannot be reached.
const (
	firstFollow   = 50 * time.Millisecond
	longestFollow = time.Second
)

// Follow calls changed with each domain that changes, "" for all of them,
// until ctx ends: first of all, and again whenever the connection had to be
// made anew, with "", because nobody knows what happened meanwhile.
func (a *Auth) Follow(ctx context.Context, service string, changed func(domain string)) {
	pause := firstFollow
	for ctx.Err() == nil {
		if a.followOnce(ctx, service, changed) {
			pause = firstFollow
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longestFollow)
	}
}

// followOnce follows on one connection, and returns when that is lost. heard
// is true if it heard anything.
func (a *Auth) followOnce(ctx context.Context, service string, changed func(string)) (heard bool) {
	c, err := a.mux.call(ctx, func(id uint32) []byte {
		return authLine(id, service, FollowMechanism, []byte{}, AuthInfo{Secured: true})
	})
	if c != nil {
		defer c.finish()
	}
	for err == nil {
		var m message
		if m, err = c.reply(ctx); err != nil {
			return heard
		}
		if m.command != "CONT" {
			c.untilDown(ctx) // a server of another kind
			return heard
		}
		domain, bad := base64.StdEncoding.DecodeString(m.word(1))
		if bad != nil {
			return heard
		}
		heard = true
		changed(string(domain))
		err = c.link.send(newLine("CONT", c.id).word("").end(), a.mux.options.timeout())
	}
	return heard
}

// untilDown waits for the end of the connection.
func (c *call) untilDown(ctx context.Context) {
	select {
	case <-c.link.down:
	case <-ctx.Done():
	}
}

// Check asks whether a login is still good. Its reason is for the log.
func (a *Auth) Check(ctx context.Context, service, user, ticket string, ip netip.Addr) (good bool, reason string, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.mux.options.timeout())
	defer cancel()
	c, err := a.mux.call(ctx, func(id uint32) []byte {
		return authLine(id, service, CheckMechanism, []byte(user+"\x00"+ticket), AuthInfo{Secured: true, RemoteIP: ip})
	})
	if c != nil {
		defer c.finish()
	}
	if err != nil {
		return false, "", err
	}
	m, err := c.reply(ctx)
	if err != nil {
		return false, "", err
	}
	f := m.fields(1)
	if m.command == "FAIL" && f["code"] == CodeEnded {
		return false, f["reason"], nil
	}
	if m.command != "OK" {
		return false, "", noAnswer(garbage("neither OK nor the end of a login"))
	}
	return true, "", nil
}
