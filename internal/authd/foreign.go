package authd

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/dovecotauth"
	"peyk/internal/passhash"
	"peyk/internal/status"
	"peyk/internal/table"
)

// foreignService is what we call ourselves where another service is asked.
const foreignService = "peyk"

// lookupKept is how long an answer about who exists is remembered.
const lookupKept = 5 * time.Second

// foreign is a backend that asks another authentication service, auth-remote
// or Dovecot's, in the same protocol that we answer. An account in the users
// file counts first, with what stands there; one without a password there is
// asked for elsewhere.
type foreign struct {
	files
	auth *dovecotauth.Auth
	who  *dovecotauth.UserDB // nil = nobody can be asked who exists
}

func openForeign(socket, userdb string, o Options) *foreign {
	options := dovecotauth.Options{Now: o.Now, Positive: lookupKept, Negative: lookupKept}
	f := &foreign{auth: dovecotauth.NewAuth(socket, options)}
	if userdb != "" {
		f.who = dovecotauth.NewUserDB(userdb, options)
	}
	return f
}

func (f *foreign) close() {
	f.auth.Close()
	if f.who != nil {
		f.who.Close()
	}
}

func (f *foreign) account(ctx context.Context, addr address.Address) (table.User, bool, error) {
	u, found, err := f.files.account(ctx, addr)
	if found || err != nil || f.who == nil {
		return u, found, err
	}
	has, err := f.tables.Has(addr.Domain)
	if !has || err != nil {
		return table.User{}, false, err
	}
	d, found, err := f.who.Lookup(ctx, foreignService, addr.String())
	if !found || err != nil {
		return table.User{}, false, err
	}
	return translate(addr, d), true, nil
}

// translate puts what a userdb says into the words of a users file. A name
// that is not the one that was asked for changes nothing.
func translate(addr address.Address, d dovecotauth.User) table.User {
	u := table.User{Addr: addr, UID: d.UID, GID: d.GID, Home: d.Home, Fields: make(map[string]string)}
	for name, v := range d.Fields {
		switch name {
		case "uid", "gid", "home":
		case "nologin", "allow_nets":
			u.Fields[name] = v
		default:
			u.Fields[userdbPrefix+name] = v
		}
	}
	return u
}

func (f *foreign) verify(ctx context.Context, u table.User, password string) (bool, error) {
	if u.Password != "" {
		return f.files.verify(ctx, u, password)
	}
	return f.ask(ctx, u.Addr, password)
}

func (f *foreign) pretend(ctx context.Context, addr address.Address, password string) error {
	if has, err := f.tables.Has(addr.Domain); !has || err != nil { // which domains are ours is no secret
		return err
	}
	_, err := f.ask(ctx, addr, password)
	return err
}

func (f *foreign) ask(ctx context.Context, addr address.Address, password string) (bool, error) {
	response := []byte("\x00" + addr.String() + "\x00" + password)
	_, err := f.auth.Authenticate(ctx, foreignService, "PLAIN", response, dovecotauth.AuthInfo{Secured: true})
	if err != nil && !status.Of(err).Temporary() {
		return false, nil
	}
	return err == nil, err
}

// list returns the accounts of a domain that the other service can name.
func (f *foreign) list(ctx context.Context, domain string) ([]string, error) {
	if f.who == nil {
		return nil, nil
	}
	names, err := f.who.List(ctx, foreignService)
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, "@"+domain) }), err
}

// backends are who knows the accounts of each domain. They are the backend of
// the server, and hand each question on.
type backends struct {
	own     files
	others  map[string]*foreign // by domain; "*" = every other one
	sockets map[string]*foreign // the same, by what they are connected to
}

// openBackends makes them as the control auth-backends says.
func openBackends(c *control.Config, own files, o Options) *backends {
	b := &backends{own: own, others: make(map[string]*foreign), sockets: make(map[string]*foreign)}
	for _, line := range c.Backends() {
		if _, twice := b.others[line.Domain]; twice {
			continue
		}
		socket, userdb := c.Text(control.AuthRemoteSocket), c.Text(control.UserdbRemoteSocket)
		switch line.Kind {
		case "users":
			b.others[line.Domain] = nil
			continue
		case "dovecot":
			socket, userdb = line.Args[0], strings.Join(line.Args[1:], "")
		}
		f := b.sockets[socket+" "+userdb]
		if f == nil {
			f = openForeign(socket, userdb, o)
			f.files = own
			b.sockets[socket+" "+userdb] = f
		}
		b.others[line.Domain] = f
	}
	return b
}

func (b *backends) close() {
	for _, f := range b.sockets {
		f.close()
	}
}

// foreign returns who is asked about a domain, nil for the users file.
func (b *backends) foreign(domain string) *foreign {
	if f, ok := b.others[domain]; ok {
		return f
	}
	return b.others["*"]
}

func (b *backends) of(domain string) backend {
	if f := b.foreign(domain); f != nil {
		return f
	}
	return b.own
}

// everywhere reports whether all accounts are in users files.
func (b *backends) everywhere() bool {
	return !slices.ContainsFunc(slices.Collect(maps.Values(b.others)), func(f *foreign) bool { return f != nil })
}

// The server answers for all of them: it is the backend that logins ask.

func (s *Server) account(ctx context.Context, addr address.Address) (table.User, bool, error) {
	return s.backends.Load().of(addr.Domain).account(ctx, addr)
}

func (s *Server) verify(ctx context.Context, u table.User, password string) (bool, error) {
	return s.backends.Load().of(u.Addr.Domain).verify(ctx, u, password)
}

func (s *Server) pretend(ctx context.Context, addr address.Address, password string) error {
	return s.backends.Load().of(addr.Domain).pretend(ctx, addr, password)
}

func (s *Server) keys(ctx context.Context, u table.User, hash passhash.SCRAM, salt []byte) (passhash.Keys, bool, error) {
	return s.backends.Load().of(u.Addr.Domain).keys(ctx, u, hash, salt)
}

// byToken is OAUTHBEARER (RFC 7628) or XOAUTH2: auth-remote judges the token,
// and says whose it is.
func byToken(mechanism string) func(context.Context, *attempt, *dovecotauth.Request) error {
	return func(ctx context.Context, a *attempt, r *dovecotauth.Request) error {
		if err := a.wait(ctx); err != nil {
			return err
		}
		info := dovecotauth.AuthInfo{Secured: r.Secured, RemoteIP: r.RemoteIP, LocalIP: r.LocalIP, Session: r.Session}
		login, err := a.server.remote.Exchange(ctx, r.Service, mechanism, r.Initial, info, func(challenge []byte) ([]byte, error) {
			return r.Challenge(ctx, challenge)
		})
		if err != nil && err != dovecotauth.ErrCancelled && !status.Of(err).Temporary() {
			return badToken
		}
		if err != nil {
			return err
		}
		if err := a.claim(login.User, ""); err != nil {
			return err
		}
		a.strong = true
		account, found, err := a.server.accounts.account(ctx, a.user)
		if err != nil {
			return err
		}
		return a.judge(account, found, true)
	}
}
