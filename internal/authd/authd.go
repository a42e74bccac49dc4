// Package authd answers who may log in and who exists, from the users files
// below the control directory, in the Dovecot authentication protocol. It is
// the only program that reads password hashes.
//
// Whoever asks learns yes, no or not now, and nothing from how long it took:
// a login of an account that does not exist does the same work as one with a
// wrong password, and one with a wrong password is remembered like one with
// the right one. No password, hash or response reaches a log or an error.
package authd

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"peyk/internal/authstate"
	"peyk/internal/commit"
	"peyk/internal/control"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/table"
)

// Options are what a Server gets from outside. Log may be nil, and so may
// Disk, without which nothing is remembered over a restart.
type Options struct {
	Log   *eventlog.Log
	Disk  *commit.Disk
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error // nil = a timer
}

// Server decides about logins and knows who exists.
type Server struct {
	options   Options
	tables    *table.Domains
	editor    *table.Editor
	state     *authstate.State
	countries *countries
	accounts  backend // which is the server itself, by way of backends
	backends  atomic.Pointer[backends]
	remote    *dovecotauth.Auth // auth-remote, which knows tokens
	turnstile *turnstile
	outcomes  *outcomes
	penalties *penalties

	wrongCodes wrongCodes
	changes    changes
	renewed    renewed
	settings   atomic.Pointer[settings]
	secret     []byte // makes up the salts of accounts that do not exist
}

// settings are what a reload may change.
type settings struct {
	defaultDomain string
	mailRoot      string
	quota         int64
	delay         time.Duration
	exempt        []netip.Prefix

	countryCommand string
	sendOnlyText   string
	passwordChange bool
	rehash         bool // hashes of older schemes are written anew
	scramKeys      bool // and keys for SCRAM with them

	mechanisms   []string // that are allowed; nil = those that work
	certificates bool     // clients are asked for theirs
	tokens       bool     // somebody knows whose a token is
}

// New returns a server of a configuration.
func New(c *control.Config, o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	parallel := c.Int(control.AuthHashParallel)
	if parallel == 0 {
		parallel = runtime.GOMAXPROCS(0)
	}
	tables := table.OpenDomains(c.Dir())
	disk := o.Disk
	if disk == nil {
		disk = new(commit.Disk)
	}
	s := &Server{
		options:   o,
		tables:    tables,
		editor:    table.NewEditor(c.Dir(), disk),
		state:     authstate.New(c.Text(control.AuthState), disk),
		countries: newCountries(o.Now),
		remote:    dovecotauth.NewAuth(c.Text(control.AuthRemoteSocket), dovecotauth.Options{Now: o.Now}),
		turnstile: newTurnstile(parallel),
		outcomes:  newOutcomes(o.Now, c.Duration(control.AuthCache)),
		penalties: &penalties{now: o.Now},
		secret:    secret(c.Text(control.AuthState), o),
	}
	s.accounts = s
	s.Reload(c)
	return s
}

// Reload takes a new configuration over and forgets the outcomes of logins.
func (s *Server) Reload(c *control.Config) {
	s.settings.Store(&settings{
		defaultDomain: c.Text(control.DefaultDomain),
		mailRoot:      c.Text(control.MailRoot),
		quota:         c.Size(control.Quota),
		delay:         c.Duration(control.AuthFailureDelay),
		exempt:        c.Networks(control.LimitsExempt),

		countryCommand: c.Text(control.CountryCommand),
		sendOnlyText:   c.Text(control.SendOnlyText),
		passwordChange: c.Bool(control.PasswordChange),
		rehash:         c.Bool(control.AuthRehash),
		scramKeys:      c.Bool(control.SCRAMKeys),

		mechanisms:   chosen(c),
		certificates: c.Text(control.TLSClientCertificates) == "request",
		tokens:       c.Text(control.OAuthIntrospection) != "" || c.Text(control.OAuthKeys) != "",
	})
	if old := s.backends.Swap(openBackends(c, files{s.tables}, s.options)); old != nil {
		old.close()
	}
	s.outcomes.forget(c.Duration(control.AuthCache))
	s.changes.tell("")
}

// Close closes the files of the state and the connections to others.
func (s *Server) Close() {
	s.state.Close()
	s.remote.Close()
	s.backends.Load().close()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Authenticate decides about a login.
func (s *Server) Authenticate(ctx context.Context, r *dovecotauth.Request) dovecotauth.Verdict {
	switch r.Mech {
	case dovecotauth.FollowMechanism:
		return s.follow(ctx, r)
	case dovecotauth.CheckMechanism:
		return s.check(ctx, r)
	}
	a := s.begin(r.Service, r.RemoteIP, s.options.Log.With("service", r.Service, "client", ipText(r.RemoteIP), "session", r.Session))
	err := a.run(ctx, r)
	if errors.Is(err, dovecotauth.ErrCancelled) {
		return dovecotauth.Verdict{Temp: true}
	}
	a.punish(err)
	return a.verdict(err)
}

func ipText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

func (set *settings) isExempt(ip netip.Addr) bool {
	for _, p := range set.exempt {
		if ip.IsValid() && p.Contains(ip) {
			return true
		}
	}
	return false
}
