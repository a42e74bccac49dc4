// Package dovecotauth speaks the Dovecot authentication protocol, version 1.2,
// from both ends: the client side, on which a mail server asks whether a login
// is good, and the master side, on which it asks who exists and where the mail
// lives. Dovecot's auth and Peyk's authd understand the same requests.
//
// Lines are words separated by tabs; \001 escapes what may not stand in a
// word. Whatever cannot be understood is a temporary failure, never a yes.
package dovecotauth

import (
	"context"
	"io"
	"net/netip"
	"time"
)

// Options tune a client. The zero value is good for production.
type Options struct {
	Timeout  time.Duration    // for one request, connecting included; 0 = 30 s
	Positive time.Duration    // how long UserDB remembers that a user exists; 0 = not at all
	Negative time.Duration    // how long it remembers that none does; 0 = not at all
	Now      func() time.Time // clock; nil = time.Now
	Rand     io.Reader        // for the client's identity; nil = crypto/rand
}

// AuthInfo is what the server may know about the session that logs in.
type AuthInfo struct {
	Secured  bool // the client's connection is encrypted, or needs no encryption
	RemoteIP netip.Addr
	LocalIP  netip.Addr
	Session  string // id of the session, for the log
}

// Login is a login that succeeded.
type Login struct {
	User   string            // canonical name
	Fields map[string]string // everything that the answer carried; a flag has the value ""
}

// Auth is a connection, made when needed and shared by any number of
// sessions, to a server's client socket.
type Auth struct{ socket string }

// NewAuth returns a client of the socket. It connects on the first request,
// and again after a failure.
func NewAuth(socket string, o Options) *Auth { return &Auth{socket: socket} }

// DialAuth is NewAuth with default options, connected already.
func DialAuth(ctx context.Context, socket string) (*Auth, error) { panic("not written yet") }

// Mechanisms returns the SASL mechanisms that the server offers, by name.
func (a *Auth) Mechanisms(ctx context.Context) ([]string, error) { panic("not written yet") }

// Authenticate tries one login with a mechanism that needs a single response,
// such as PLAIN; response is not encoded. service is smtp, imap or pop3. The
// error is a *status.Error: 535 5.7.8 when the login is refused, 454 4.7.0
// when nobody can tell now.
func (a *Auth) Authenticate(ctx context.Context, service, mech string, response []byte, info AuthInfo) (Login, error) {
	panic("not written yet")
}

// Exchange tries one login with a mechanism of any length: next is called with
// each challenge and returns the response; its error ends the login and is
// returned. initial may be nil.
func (a *Auth) Exchange(ctx context.Context, service, mech string, initial []byte, info AuthInfo, next func(challenge []byte) ([]byte, error)) (Login, error) {
	panic("not written yet")
}

// Close ends the connection; requests under way fail.
func (a *Auth) Close() error { panic("not written yet") }

// User is what a server knows about an account.
type User struct {
	Name     string            // canonical name
	UID, GID int               // -1 = not said
	Home     string            // "" = not said
	Mail     string            // mail location such as maildir:/var/mail/x; "" = not said
	Quota    string            // quota rule such as *:bytes=1073741824; "" = none
	Fields   map[string]string // everything that the answer carried
}

// UserDB is a connection, made when needed and shared, to a server's master
// socket.
type UserDB struct{ socket string }

// NewUserDB returns a client of the socket.
func NewUserDB(socket string, o Options) *UserDB { return &UserDB{socket: socket} }

// Lookup asks for one account. An error is a *status.Error, 451 4.3.0: nobody
// can tell now.
func (u *UserDB) Lookup(ctx context.Context, service, user string) (account User, found bool, err error) {
	panic("not written yet")
}

// List returns the names of all accounts.
func (u *UserDB) List(ctx context.Context, service string) ([]string, error) {
	panic("not written yet")
}

// Forget empties the cache.
func (u *UserDB) Forget() { panic("not written yet") }

// Close ends the connection; requests under way fail.
func (u *UserDB) Close() error { panic("not written yet") }
