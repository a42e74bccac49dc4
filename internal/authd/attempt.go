package authd

import (
	"context"
	"errors"
	"net/netip"

	"peyk/internal/address"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/passhash"
	"peyk/internal/table"
)

// attempt is one login under way: who asks, and what is known of it so far.
type attempt struct {
	server  *Server
	set     *settings
	log     *eventlog.Log
	service string
	ip      netip.Addr   // of the client; not valid when unknown
	net     netip.Prefix // whose failures count; not valid when exempt or unknown

	obeys bool   // whoever asks obeys the rights in our answer
	asks  bool   // and can ask its user for the code of a second factor
	code  string // which this is; "" = none was given

	user     address.Address    // the account that is asked for, once it is known
	stored   string             // its hash, once it is known
	app      *table.AppPassword // that was the password; nil = the main one, or none
	strong   bool               // proved by other means than a password of ours
	admitted bool               // admit has said yes
	rule     string             // the line of a table that refuses, for the log
	text     string             // and what it says
}

func (s *Server) begin(service string, ip netip.Addr, log *eventlog.Log) *attempt {
	set := s.settings.Load()
	a := &attempt{server: s, set: set, log: log, service: service, ip: ip, net: network(ip)}
	if set.isExempt(ip) {
		a.net = netip.Prefix{}
	}
	return a
}

// run holds the dialogue of the mechanism that the client chose. The error is
// a refusal, or says why nobody can tell now.
func (a *attempt) run(ctx context.Context, r *dovecotauth.Request) error {
	a.obeys, a.asks, a.code = r.Obeys, r.Asks, r.Code
	if r.Mech == dovecotauth.PasswdMechanism {
		return a.passwd(ctx, r)
	}
	for _, m := range mechanisms() {
		if m.Name == r.Mech && a.set.allows(m.Name) {
			if err := m.run(ctx, a, r); err != nil {
				return err
			}
			return a.admit(ctx)
		}
	}
	return noMechanism
}

// punish counts a refusal against its network.
func (a *attempt) punish(err error) {
	var no refusal
	if a.net.IsValid() && errors.As(err, &no) {
		a.server.penalties.add(a.net)
	}
}

// claim notes the account that a client says it is.
func (a *attempt) claim(authcid, authzid string) error {
	user, err := normalise(authcid, a.set.defaultDomain)
	if err != nil {
		return malformed
	}
	a.user = user
	if authzid == "" {
		return nil
	}
	as, err := normalise(authzid, a.set.defaultDomain)
	if err != nil || as != user { // CVE-2023-27582: never log in as somebody else
		return otherAuthzid
	}
	return nil
}

// password decides about a login by name and password.
func (a *attempt) password(ctx context.Context, c credentials) error {
	if err := a.claim(c.authcid, c.authzid); err != nil {
		return err
	}
	if passhash.CheckPassword(c.password) != nil { // RFC 4513 §5.1.2: an empty password is no password
		return malformed
	}
	account, found, err := a.server.accounts.account(ctx, a.user)
	if err != nil {
		return err
	}
	ok, err := a.byAppPassword(c.password)
	if err == nil && !ok {
		ok, err = a.proves(ctx, account, found, c.password)
	}
	if err != nil {
		return err
	}
	if err := a.judge(account, found, ok); err != nil {
		return err
	}
	a.renew(ctx, account, c.password)
	return nil
}

// proves reports whether the password is the account's. It takes as long for
// an account that does not exist.
func (a *attempt) proves(ctx context.Context, account table.User, found bool, password string) (bool, error) {
	s := a.server
	key := s.outcomes.keyOf(a.user.Key(), account.Password, password)
	if ok, known := s.outcomes.known(key); !known || !ok {
		if err := a.wait(ctx); err != nil {
			return false, err
		}
	}
	return s.outcomes.get(ctx, key, func() (bool, error) {
		if err := s.turnstile.enter(ctx, a.net.String()); err != nil {
			return false, err
		}
		defer s.turnstile.leave()
		if !found {
			return false, s.accounts.pretend(ctx, a.user, password)
		}
		return s.accounts.verify(ctx, account, password)
	})
}

// wait holds a network up that has failed too often.
func (a *attempt) wait(ctx context.Context) error {
	if !a.net.IsValid() {
		return nil
	}
	failures := a.server.penalties.failures(a.net)
	d := delay(a.set.delay, failures)
	if d == 0 {
		return nil
	}
	a.log.Event(eventlog.AuthDelayed, "failures", failures, "delay", d)
	return a.server.options.Sleep(ctx, d)
}
