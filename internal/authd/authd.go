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
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/passhash"
	"peyk/internal/table"
)

// errUnfinished is a computation that ended without a result.
var errUnfinished = errors.New("the computation did not end")

// Options are what a Server gets from outside. Log may be nil.
type Options struct {
	Log   *eventlog.Log
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error // nil = a timer
}

// Server decides about logins and knows who exists.
type Server struct {
	options   Options
	tables    *table.Domains
	turnstile *turnstile
	outcomes  *outcomes
	penalties *penalties
	settings  atomic.Pointer[settings]
}

// settings are what a reload may change.
type settings struct {
	defaultDomain string
	mailRoot      string
	quota         int64
	delay         time.Duration
	exempt        []netip.Prefix
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
	s := &Server{
		options:   o,
		tables:    table.OpenDomains(c.Dir()),
		turnstile: newTurnstile(parallel),
		outcomes:  newOutcomes(o.Now, c.Duration(control.AuthCache)),
		penalties: &penalties{now: o.Now},
	}
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
	})
	s.outcomes.forget(c.Duration(control.AuthCache))
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

// Mechanisms returns what logins may use.
func (s *Server) Mechanisms() []dovecotauth.Mechanism {
	return []dovecotauth.Mechanism{{Name: "PLAIN", Flags: []string{"plaintext"}}, {Name: "LOGIN", Flags: []string{"plaintext"}}}
}

// Authenticate decides about a login.
func (s *Server) Authenticate(ctx context.Context, r *dovecotauth.Request) dovecotauth.Verdict {
	log := s.options.Log.With("service", r.Service, "client", ipText(r.RemoteIP), "session", r.Session)
	c, err := readCredentials(ctx, r)
	if errors.Is(err, dovecotauth.ErrCancelled) {
		return dovecotauth.Verdict{Temp: true}
	}
	user, err := s.login(ctx, c, err, r.RemoteIP, log)
	return s.verdict(user, err, log)
}

func ipText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

// A refusal is a login that is not good. Its text is the reason in the log.
type refusal string

func (r refusal) Error() string { return string(r) }

// The reasons for a refusal.
const (
	badPassword  refusal = "password"
	unknownUser  refusal = "unknown-user"
	disabled     refusal = "disabled"
	otherNetwork refusal = "network"
	oddField     refusal = "field"
	otherAuthzid refusal = "authzid"
	malformed    refusal = "malformed"
	mechanism    refusal = "mechanism"
)

// verdict says and logs what became of a login. The client learns no more
// than yes, no or not now.
func (s *Server) verdict(user address.Address, err error, log *eventlog.Log) dovecotauth.Verdict {
	name := user.String()
	var no refusal
	switch {
	case err == nil:
		log.Event(eventlog.AuthOK, "user", name)
		return dovecotauth.Verdict{OK: true, User: name}
	case errors.As(err, &no):
		log.Event(eventlog.AuthFailed, "user", name, "reason", string(no))
		v := dovecotauth.Verdict{User: name}
		if no == otherAuthzid {
			v.Code = "authz_fail"
		}
		return v
	}
	log.Event(eventlog.AuthTrouble, "user", name, "error", err)
	return dovecotauth.Verdict{User: name, Temp: true, Reason: "cannot check logins now"}
}

// login checks credentials, which reading gave with readErr. The address is
// that of the account that was asked for, as far as it is known.
func (s *Server) login(ctx context.Context, c credentials, readErr error, ip netip.Addr, log *eventlog.Log) (address.Address, error) {
	set := s.settings.Load()
	net := network(ip)
	if set.isExempt(ip) {
		net = netip.Prefix{}
	}
	user, err := s.claim(c, readErr, set)
	if err != nil {
		s.punish(net, err)
		return user, err
	}
	err = s.check(ctx, user, c.password, ip, net, log)
	s.punish(net, err)
	return user, err
}

// punish counts a refusal against its network.
func (s *Server) punish(net netip.Prefix, err error) {
	var no refusal
	if net.IsValid() && errors.As(err, &no) {
		s.penalties.add(net)
	}
}

func (set *settings) isExempt(ip netip.Addr) bool {
	for _, p := range set.exempt {
		if ip.IsValid() && p.Contains(ip) {
			return true
		}
	}
	return false
}

// claim returns the account that credentials are about, if they are of a kind
// that may be right.
func (s *Server) claim(c credentials, readErr error, set *settings) (address.Address, error) {
	switch {
	case errors.Is(readErr, errMechanism):
		return address.Address{}, mechanism
	case readErr != nil:
		return address.Address{}, malformed
	}
	user, err := normalise(c.authcid, set.defaultDomain)
	if err != nil {
		return address.Address{}, malformed
	}
	if c.authzid != "" { // CVE-2023-27582: never log in as somebody else
		as, err := normalise(c.authzid, set.defaultDomain)
		if err != nil || as != user {
			return user, otherAuthzid
		}
	}
	if passhash.CheckPassword(c.password) != nil { // RFC 4513 §5.1.2: an empty password is no password
		return user, malformed
	}
	return user, nil
}

// check compares the password with the account's.
func (s *Server) check(ctx context.Context, user address.Address, password string, ip netip.Addr, net netip.Prefix, log *eventlog.Log) error {
	account, found, err := s.tables.User(user)
	if err != nil {
		return err
	}
	hash := ""
	if found {
		hash = account.Password
	}
	key := s.outcomes.keyOf(user.Key(), hash, password)
	ok, known := s.outcomes.known(key)
	if !known || !ok {
		if err := s.wait(ctx, net, log); err != nil {
			return err
		}
	}
	ok, err = s.outcomes.get(ctx, key, func() (bool, error) { return s.verify(ctx, hash, password, net) })
	if err != nil {
		return err
	}
	return judge(account, found, ok, ip)
}

// wait holds a network up that has failed too often.
func (s *Server) wait(ctx context.Context, net netip.Prefix, log *eventlog.Log) error {
	if !net.IsValid() {
		return nil
	}
	failures := s.penalties.failures(net)
	d := delay(s.settings.Load().delay, failures)
	if d == 0 {
		return nil
	}
	log.Event(eventlog.AuthDelayed, "failures", failures, "delay", d)
	return s.options.Sleep(ctx, d)
}

// verify computes one hash when it is its turn. Without a hash it does the
// same work for nothing.
func (s *Server) verify(ctx context.Context, hash, password string, net netip.Prefix) (bool, error) {
	if err := s.turnstile.enter(ctx, net.String()); err != nil {
		return false, err
	}
	defer s.turnstile.leave()
	if hash == "" {
		passhash.Dummy(password)
		return false, nil
	}
	ok, err := passhash.Verify(hash, password)
	if err != nil {
		return false, fmt.Errorf("the hash in the users file: %w", err)
	}
	return ok, nil
}

// judge decides from all that is known, after the work was done.
func judge(account table.User, found, ok bool, ip netip.Addr) error {
	switch {
	case !found:
		return unknownUser
	case !ok:
		return badPassword
	}
	return restrictions(account.Fields, ip)
}

// restrictions applies the fields that limit a login. One that limits in a way
// that we do not know refuses it: nobody may get in by our ignorance.
func restrictions(fields map[string]string, ip netip.Addr) error {
	for name, value := range fields {
		switch name {
		case "nologin":
			return disabled
		case "allow_nets":
			if !allowed(value, ip) {
				return otherNetwork
			}
		case "allow_real_nets", "proxy", "proxy_maybe", "nopassword", "delay_until", "user", "login_user":
			return oddField
		}
	}
	return nil
}

// allowed reports whether an address is in a list of networks.
func allowed(list string, ip netip.Addr) bool {
	for item := range strings.SplitSeq(list, ",") {
		p, err := control.ParseNetwork(strings.TrimSpace(item))
		if err == nil && ip.IsValid() && p.Contains(ip) {
			return true
		}
	}
	return false
}
