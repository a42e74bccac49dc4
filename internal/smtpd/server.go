// Package smtpd receives mail: from other servers (RFC 5321) and from users
// (RFC 6409). It ends with a message in the drop; what happens then is up to
// queue-run.
//
// Two layers share the protocol. A session of our own, conn, stands between
// the client and go-smtp: it reads the command lines, answers what is wrong or
// none of a library's business (grammar, order, limits, login, TLS), reads the
// message itself, and hands on clean lines only. go-smtp keeps the
// conversation: greeting, transaction, replies, and what to do about a panic.
package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"peyk/internal/address"
	"peyk/internal/dovecotauth"
	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
)

// A Service is what a listener is for.
type Service string

// The services; the names are those of the systemd sockets.
const (
	MX          Service = "smtp"        // mail from other servers
	Submission  Service = "submission"  // mail from users, STARTTLS
	Submissions Service = "submissions" // mail from users, TLS from the first byte
	Submit      Service = "submit"      // mail from programs of this host, no login
)

// A Directory knows who is here. Its errors are temporary failures, but for
// that of Exists about an account that takes no mail.
type Directory interface {
	// Local reports whether a domain is ours.
	Local(domain string) (bool, error)
	// Exists reports whether mail for an address of a local domain is
	// accepted: a user, an alias, a catch-all, with or without detail.
	Exists(ctx context.Context, a address.Address) (bool, error)
	// Owns reports whether login may send as an address.
	Owns(ctx context.Context, login string, a address.Address) (bool, error)
	// Postmaster returns the address for <postmaster> (RFC 5321 §4.5.1).
	Postmaster(ctx context.Context) (a address.Address, found bool, err error)
}

// An Authenticator checks logins; *dovecotauth.Auth is one.
type Authenticator interface {
	Offer(ctx context.Context, info dovecotauth.AuthInfo) []string
	Authenticate(ctx context.Context, service, mech string, response []byte, info dovecotauth.AuthInfo) (dovecotauth.Login, error)
	Exchange(ctx context.Context, service, mech string, initial []byte, info dovecotauth.AuthInfo, next func(challenge []byte) ([]byte, error)) (dovecotauth.Login, error)
}

// A Queue takes messages. Errors are *status.Error where a client should know
// more than that it may try again.
type Queue interface {
	NewID() (string, error)
	Room(size int64) error
	Create(e *envelope.Envelope) (Writer, error)
}

// A Writer takes one message, lines ending in CRLF. A message is accepted when
// Commit returned nil.
type Writer interface {
	io.Writer
	Commit() error
	Abort()
}

// Options are what a Server needs. All fields but TLS and
// Sessions are required.
type Options struct {
	Hostname  string
	Directory Directory
	Auth      Authenticator
	Sessions  *dovecotauth.Sessions // ends those whose login is not good any more; nil ends none
	Queue     Queue
	TLS       *tls.Config // nil: no STARTTLS, and so no login
	Log       *eventlog.Log
	Now       func() time.Time
	Rand      io.Reader
}

// A Server answers SMTP on any number of listeners.
type Server struct {
	o      Options
	public *tls.Config // that asks nobody for a certificate
	policy atomic.Pointer[Policy]
}

// New returns a server.
func New(o Options, p *Policy) *Server {
	s := &Server{o: o}
	if o.TLS != nil {
		s.public = o.TLS.Clone()
		s.public.ClientAuth = tls.NoClientCert
	}
	s.policy.Store(p)
	return s
}

// SetPolicy changes the limits; sessions that have begun keep theirs.
func (s *Server) SetPolicy(p *Policy) { s.policy.Store(p) }

// Serve answers the connections of l, which must be *guardconn.Conn as a
// guardconn.Listener makes them, until l is closed; then it waits for the
// sessions to end.
func (s *Server) Serve(l net.Listener, service Service) error {
	library := smtp.NewServer(smtp.BackendFunc(newSession))
	library.Domain = s.o.Hostname
	library.MaxLineLength = 0        // conn has limited the lines already
	library.AllowInsecureAuth = true // conn answers AUTH and knows about TLS
	library.ErrorLog = panicLog{s.o.Log}
	err := library.Serve(&listener{Listener: l, server: s, service: service})
	library.Shutdown(context.Background())
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// listener makes a conn of each connection.
type listener struct {
	net.Listener
	server  *Server
	service Service
}

// Accept returns the next connection as go-smtp shall see it.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(l.server, c.(*guardconn.Conn), l.service), nil
}

// panicLog turns the lines of go-smtp, which are about defects, into events.
type panicLog struct{ log *eventlog.Log }

func (p panicLog) Printf(format string, v ...any) {
	p.log.Event(eventlog.Panic, "error", fmt.Sprintf(format, v...))
}

func (p panicLog) Println(v ...any) {
	p.log.Event(eventlog.Panic, "error", strings.TrimSpace(fmt.Sprintln(v...)))
}

// Farewell is the last line, without CRLF, for a client that a shutdown
// interrupts (RFC 5321 §3.8); guardconn says it.
func Farewell(hostname string) string { return "421 4.3.2 " + hostname + " is shutting down" }

// Refusal is the line, without CRLF, for a client over a limit.
func Refusal(hostname string) func(guardconn.Reason) string {
	return func(guardconn.Reason) string {
		return "421 4.7.0 " + hostname + " has too many connections, try again later"
	}
}
