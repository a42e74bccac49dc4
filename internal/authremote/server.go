// Package authremote asks others who may log in: LDAP, SQL databases,
// checkpassword programs, and an OAuth identity provider. It answers authd in
// Dovecot's authentication protocol, so that authd, which reads our own
// password hashes, needs no network, runs no foreign program and links none of
// the libraries.
package authremote

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/oauth"
	"peyk/internal/passhash"
)

// Server answers authd.
type Server struct {
	log     *eventlog.Log
	sources atomic.Pointer[sources]
}

// sources are who is asked, by domain, as one configuration says.
type sources struct {
	byDomain map[string]source // "*" = every other domain
	bearer   *oauth.Verifier   // nil = nobody knows tokens
}

// New returns a server of a configuration.
func New(c *control.Config, log *eventlog.Log) (*Server, error) {
	s := &Server{log: log}
	all, err := open(c)
	if err != nil {
		return nil, err
	}
	s.sources.Store(all)
	return s, nil
}

// Reload takes a new configuration over; a broken one changes nothing.
func (s *Server) Reload(c *control.Config) {
	all, err := open(c)
	if err != nil {
		s.log.Event(eventlog.BadConfig, "error", err)
		return
	}
	s.sources.Swap(all).close()
}

func open(c *control.Config) (*sources, error) {
	all := &sources{byDomain: make(map[string]source)}
	for _, b := range c.Backends() {
		source, err := openSource(c, b)
		if err != nil {
			all.close()
			return nil, err
		}
		if all.byDomain[b.Domain] == nil && source != nil {
			all.byDomain[b.Domain] = source
		}
	}
	var err error
	all.bearer, err = openBearer(c)
	return all, err
}

func (s *sources) close() {
	for _, source := range s.byDomain {
		source.close()
	}
}

func (s *sources) of(domain string) source {
	if source := s.byDomain[domain]; source != nil {
		return source
	}
	return s.byDomain["*"]
}

// Mechanisms returns what authd may ask for.
func (s *Server) Mechanisms() []dovecotauth.Mechanism {
	plain := []string{dovecotauth.FlagPlaintext}
	offer := []dovecotauth.Mechanism{{Name: "PLAIN", Flags: plain}}
	if s.sources.Load().bearer != nil {
		offer = append(offer, dovecotauth.Mechanism{Name: "OAUTHBEARER", Flags: plain}, dovecotauth.Mechanism{Name: "XOAUTH2", Flags: plain})
	}
	return offer
}

// Authenticate decides about a login.
func (s *Server) Authenticate(ctx context.Context, r *dovecotauth.Request) dovecotauth.Verdict {
	all := s.sources.Load()
	log := s.log.With("service", r.Service, "client", ipText(r.RemoteIP), "session", r.Session)
	var user string
	var err error
	switch {
	case r.Mech == "PLAIN":
		user, err = all.plain(ctx, r)
	case all.bearer != nil && (r.Mech == "OAUTHBEARER" || r.Mech == "XOAUTH2"):
		user, err = all.token(ctx, r)
	default:
		err = errRefused
	}
	switch {
	case err == nil:
		log.Event(eventlog.AuthOK, "user", user)
		return dovecotauth.Verdict{OK: true, User: user}
	case errors.Is(err, errRefused) || errors.Is(err, oauth.ErrInvalid) || errors.Is(err, oauth.ErrScope):
		log.Event(eventlog.AuthFailed, "user", user, "reason", reason(err))
		return dovecotauth.Verdict{User: user}
	case errors.Is(err, dovecotauth.ErrCancelled):
		return dovecotauth.Verdict{Temp: true}
	}
	log.Event(eventlog.AuthTrouble, "user", user, "error", err)
	return dovecotauth.Verdict{User: user, Temp: true, Reason: "cannot check logins now"}
}

// errRefused is a login that is not good.
var errRefused = errors.New("refused")

func reason(err error) string {
	switch {
	case errors.Is(err, oauth.ErrScope):
		return "scope"
	case errors.Is(err, oauth.ErrInvalid):
		return "token"
	}
	return "password"
}

func ipText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

// plain checks a name and a password. authd has put the name into its one form.
func (s *sources) plain(ctx context.Context, r *dovecotauth.Request) (string, error) {
	f := strings.Split(string(r.Initial), "\x00")
	if len(f) != 3 || f[0] != "" || passhash.CheckPassword(f[2]) != nil {
		return "", errRefused
	}
	user, err := address.Parse(f[1], true)
	if err != nil {
		return "", errRefused
	}
	source := s.of(user.Domain)
	if source == nil {
		return user.String(), errors.New("no line of auth-backends is about the domain")
	}
	ok, err := source.check(ctx, user, f[2])
	if err == nil && !ok {
		err = errRefused
	}
	return user.String(), err
}

// User tells who an account is.
func (s *Server) User(ctx context.Context, _, name string) (dovecotauth.User, bool, error) {
	user, err := address.Parse(name, true)
	if err != nil {
		return dovecotauth.User{}, false, nil
	}
	source := s.sources.Load().of(user.Domain)
	if source == nil {
		return dovecotauth.User{}, false, nil
	}
	a, found, err := source.find(ctx, user)
	if err != nil || !found {
		return dovecotauth.User{}, false, err
	}
	u := dovecotauth.User{Name: user.String(), UID: id(a["uid"]), GID: id(a["gid"]), Home: a["home"], Mail: a["mail"], Quota: a["quota_rule"], Fields: make(map[string]string)}
	for name, value := range a {
		if !slices.Contains([]string{"uid", "gid", "home", "mail", "quota_rule"}, name) {
			u.Fields[name] = value
		}
	}
	return u, true, nil
}

func id(text string) int {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}

// List returns the addresses of all accounts whose sources can list them.
func (s *Server) List(ctx context.Context) ([]string, error) {
	var names []string
	for _, source := range s.sources.Load().byDomain {
		some, err := source.list(ctx)
		if err != nil {
			return nil, err
		}
		names = append(names, some...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
