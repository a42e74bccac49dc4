package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/mx"
	"peyk/internal/smtpclient"
	"peyk/internal/status"
)

// session is a session with one mail host, ready for MAIL.
type session struct {
	*smtpclient.Client
	target mx.Target
	tls    string // none, unverified or verified
}

// opener looks for a host of one destination that works.
type opener struct {
	o        *Options
	log      *eventlog.Log
	to       destination
	demands  []mx.Policy
	search   *mx.Search
	until    time.Time     // of the search
	sessions time.Time     // until when a session may last
	failure  *status.Error // of the hosts so far
}

// next opens a session with the next host that works. The error is the one to
// answer with: the reason why the last host could not be used, but a temporary
// one rather than a permanent one.
func (p *opener) next(ctx context.Context) (*session, error) {
	if p.search == nil {
		if err := p.begin(ctx); err != nil {
			return nil, err
		}
	}
	for {
		t, err := p.target(ctx)
		if err != nil {
			return nil, p.hopeless(err)
		}
		s, err := p.try(ctx, t)
		if err == nil {
			return s, nil
		}
		p.failed(t, err)
		if errors.Is(err, errLoop) {
			return nil, status.Of(err) // hosts that are tried after ourselves would send it back
		}
	}
}

func (p *opener) begin(ctx context.Context) (err error) {
	ctx, cancel := context.WithDeadline(ctx, p.until)
	defer cancel()
	p.search, err = p.o.search(ctx, p.to)
	return err
}

func (p *opener) target(ctx context.Context) (mx.Target, error) {
	ctx, cancel := context.WithDeadline(ctx, p.until)
	defer cancel()
	return p.search.Next(ctx)
}

func (p *opener) hopeless(err error) error {
	if p.failure != nil && errors.Is(err, io.EOF) {
		return p.failure
	}
	if errors.Is(err, io.EOF) {
		return status.Newf(451, "4.4.1", "no mail host of %s is left to try", p.to)
	}
	return err
}

// failed notes why a host could not be used. A reason that may go away wins.
func (p *opener) failed(t mx.Target, err error) {
	e := status.Of(err)
	p.log.Event(eventlog.HostFailed, "destination", p.to.String(), "host", t.String(), "error", e)
	if p.failure == nil || e.Temporary() || !p.failure.Temporary() {
		p.failure = e
	}
}

// try opens a session with one address, in clear text if TLS fails and
// nothing demands it.
func (p *opener) try(ctx context.Context, t mx.Target) (*session, error) {
	level, err := mx.Require(ctx, p.to.String(), t, p.demands)
	if err != nil {
		return nil, refusedByPolicy(err)
	}
	login, mustLogin := p.o.Credentials.of(p.to)
	if mustLogin && !t.Addr.IsLoopback() {
		level = mx.Verified
	}
	a := &attempt{p: p, t: t, level: level}
	s, err := a.start(ctx, true)
	var handshake *smtpclient.HandshakeError
	if errors.As(err, &handshake) && level == mx.Opportunistic {
		p.log.Event(eventlog.TLSGivenUp, "host", t.String(), "error", handshake)
		s, err = a.start(ctx, false)
	}
	if err == nil && mustLogin {
		err = a.login(s, login)
	}
	if err != nil {
		return nil, a.explain(err)
	}
	s.Until(p.sessions)
	return s, nil
}

func refusedByPolicy(err error) error {
	var e *status.Error
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, errUntrusted) {
		return status.New(550, "5.7.30", err.Error())
	}
	return status.New(451, "4.7.5", err.Error())
}

// attempt is the work for one address.
type attempt struct {
	p     *opener
	t     mx.Target
	level mx.TLS
}

// start connects, greets, and starts TLS where it is offered and wanted.
func (a *attempt) start(ctx context.Context, wantTLS bool) (*session, error) {
	o := a.p.o
	conn, err := a.dial(ctx)
	if err != nil {
		return nil, err
	}
	c := smtpclient.New(ctx, conn, smtpclient.Options{Hello: hello(o.Hostname, conn), Timeouts: o.Timeouts, Deadline: a.p.until, Now: o.Now})
	s := &session{Client: c, target: a.t, tls: "none"}
	err = c.Hello()
	if err == nil {
		err = a.notOurselves(s, conn)
	}
	if err == nil && wantTLS {
		err = a.secure(ctx, s)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

// errLoop marks a connection that ended at ourselves.
var errLoop = errors.New("the other end is this host")

// notOurselves refuses a host that turns out to be this one: an address is
// ours if a connection to it comes from it, and the name in its EHLO reply
// tells where addresses are translated on the way. A route may lead here.
func (a *attempt) notOurselves(s *session, conn net.Conn) error {
	if a.p.to.host != "" {
		return nil
	}
	local, err1 := netip.ParseAddrPort(conn.LocalAddr().String())
	other, err2 := netip.ParseAddrPort(conn.RemoteAddr().String())
	same := err1 == nil && err2 == nil && local.Addr().Unmap() == other.Addr().Unmap()
	if same || strings.EqualFold(s.Name(), a.p.o.Hostname) {
		return status.Newf(550, "5.4.6", "mail for %s loops back to this host", a.p.to).Because("connect to "+a.t.String(), errLoop)
	}
	return nil
}

func (a *attempt) dial(ctx context.Context) (net.Conn, error) {
	o := a.p.o
	deadline := o.Now().Add(o.Connect)
	if a.p.until.Before(deadline) {
		deadline = a.p.until
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := o.Dial(ctx, netip.AddrPortFrom(a.t.Addr, a.p.to.port))
	if err != nil {
		return nil, status.Newf(451, "4.4.1", "host %s: cannot connect", a.t).Because("connect", err)
	}
	return conn, nil
}

// hello returns what to call ourselves: a name without a dot is no fully
// qualified domain, so the address has to do (RFC 5321 §4.1.3).
func hello(name string, conn net.Conn) string {
	if strings.Contains(name, ".") {
		return name
	}
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return name
	}
	addr := local.Addr().Unmap().WithZone("")
	if addr.Is6() {
		return "[IPv6:" + addr.String() + "]"
	}
	return "[" + addr.String() + "]"
}

var errNoTLS = errors.New("TLS is required, but not offered")

// secure starts TLS. A server that offers it and then refuses stays in clear
// text if nothing demands more.
func (a *attempt) secure(ctx context.Context, s *session) error {
	if _, offered := s.Extension("STARTTLS"); !offered {
		if a.level == mx.Opportunistic {
			return nil
		}
		return errNoTLS
	}
	err := s.StartTLS(ctx, a.config())
	var refusal *smtpclient.ReplyError
	if errors.As(err, &refusal) && !s.Broken() && a.level == mx.Opportunistic {
		return nil
	}
	if err != nil {
		return err
	}
	s.tls = "unverified"
	if a.verify(*s.TLS()) == nil {
		s.tls = "verified"
	}
	return s.Hello()
}

// config verifies the certificate only where somebody demands it: elsewhere
// any TLS is better than none (RFC 7435).
func (a *attempt) config() *tls.Config {
	config := &tls.Config{
		ServerName:         a.name(),
		InsecureSkipVerify: true, // VerifyConnection does it, with our name rules
		MinVersion:         tls.VersionTLS12,
		Time:               a.p.o.Now,
	}
	if a.level == mx.Verified {
		config.VerifyConnection = a.verify
	}
	return config
}

// name is what the certificate must be for.
func (a *attempt) name() string {
	if name := strings.Trim(a.t.Name, "[]"); name != "" {
		return name
	}
	return a.t.Addr.String()
}

func (a *attempt) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("no certificate")
	}
	options := x509.VerifyOptions{
		Roots:         a.p.o.Roots,
		DNSName:       a.name(),
		CurrentTime:   a.p.o.Now(),
		Intermediates: x509.NewCertPool(),
	}
	for _, cert := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	_, err := state.PeerCertificates[0].Verify(options)
	return err
}

// login sends the password, which TLS or this machine protects by now. A
// refusal is for the admin to mend, so mail waits.
func (a *attempt) login(s *session, l Login) error {
	err := s.Auth(l.User, l.Password)
	if err == nil {
		return nil
	}
	s.Close()
	e := smtpclient.Status(err, a.t.String())
	if !e.Temporary() {
		e = status.New(454, "4.7.0", e.Text)
	}
	return e.Because("AUTH", err)
}

// explain turns a failure to open a session into an answer.
func (a *attempt) explain(err error) error {
	if errors.Is(err, errNoTLS) {
		return status.Newf(454, "4.7.5", "host %s: %v", a.t, err)
	}
	var e *status.Error
	if errors.As(err, &e) && e.Op != "" {
		return e // ours already
	}
	return smtpclient.Status(err, a.t.String())
}
