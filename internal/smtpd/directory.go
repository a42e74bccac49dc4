package smtpd

import (
	"context"
	"sync"
	"time"

	"peyk/internal/address"
	"peyk/internal/dovecotauth"
	"peyk/internal/table"
)

// maxAnswers is how many answers the directory remembers.
const maxAnswers = 20000

// userdb is what the directory asks about accounts; *dovecotauth.UserDB is
// one.
type userdb interface {
	Lookup(ctx context.Context, service, user string) (account dovecotauth.User, found bool, err error)
}

// domains is what the directory asks about domains and aliases;
// *table.Domains is one.
type domains interface {
	List() ([]string, error)
	Has(domain string) (bool, error)
	Resolve(a address.Address, sep string, userExists func(address.Address) (bool, error)) ([]address.Address, error)
}

// directory is the Directory of the installed system: the tables say which
// domains and aliases there are, the userdb socket who has an account. The
// password file is never opened.
type directory struct {
	tables   domains
	users    userdb
	sep      string // of subaddresses
	hostname string
	keep     time.Duration // how long an answer of Exists is remembered
	now      func() time.Time

	mu      sync.Mutex
	answers map[string]answer // by address.Key
}

type answer struct {
	exists bool
	until  time.Time
}

func newDirectory(t *table.Domains, u *dovecotauth.UserDB, now func() time.Time) *directory {
	return &directory{tables: t, users: u, now: now, answers: make(map[string]answer)}
}

// configure sets what a reload may change, and forgets the answers.
func (d *directory) configure(sep, hostname string, keep time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sep, d.hostname, d.keep = sep, hostname, keep
	clear(d.answers)
}

func (d *directory) config() (sep, hostname string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sep, d.hostname
}

// Local reports whether a domain is ours.
func (d *directory) Local(domain string) (bool, error) { return d.tables.Has(domain) }

// Exists reports whether mail for a is accepted.
func (d *directory) Exists(ctx context.Context, a address.Address) (bool, error) {
	key := a.Key()
	if known, ok := d.recall(key); ok {
		return known, nil
	}
	refused := make(refusals)
	found, err := d.resolve(ctx, a, refused)
	if err == nil {
		sep, _ := d.config()
		err = refused.all(found, sep)
	}
	if err != nil {
		return false, err
	}
	d.remember(key, len(found) > 0)
	return len(found) > 0, nil
}

// resolve returns who is behind an address, and notes which accounts take no
// mail now.
func (d *directory) resolve(ctx context.Context, a address.Address, refused refusals) ([]address.Address, error) {
	sep, _ := d.config()
	return d.tables.Resolve(a, sep, func(user address.Address) (bool, error) {
		account, found, err := d.users.Lookup(ctx, "smtp", user.String())
		if no := account.MailRefusal(); found && no != nil {
			refused[user.Key()] = no
		}
		return found, err
	})
}

// refusals are the replies to mail for accounts that take none, by
// address.Key.
type refusals map[string]error

// all returns a refusal if nobody of those found takes mail. A list of which
// some do is accepted: the others' share waits or bounces on its own.
func (r refusals) all(found []address.Address, sep string) (first error) {
	for _, a := range found {
		user, _ := a.Detail(sep)
		no := r[a.Key()]
		if no == nil {
			no = r[a.WithLocal(user).Key()]
		}
		if no == nil {
			return nil
		}
		if first == nil {
			first = no
		}
	}
	return first
}

func (d *directory) recall(key string) (exists, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.answers[key]
	if !ok || !d.now().Before(a.until) {
		return false, false
	}
	return a.exists, true
}

func (d *directory) remember(key string, exists bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keep == 0 {
		return
	}
	if len(d.answers) >= maxAnswers {
		clear(d.answers)
	}
	d.answers[key] = answer{exists, d.now().Add(d.keep)}
}

// Owns reports whether login may send as a: its own address, a subaddress of
// it, or an alias behind which it stands.
func (d *directory) Owns(ctx context.Context, login string, a address.Address) (bool, error) {
	sep, _ := d.config()
	me, err := address.Parse(login, true)
	if err != nil {
		return false, nil // a login that is no address has none
	}
	if same(me, a, sep) {
		return true, nil
	}
	local, err := d.Local(a.Domain)
	if err != nil || !local {
		return false, err
	}
	behind, err := d.resolve(ctx, a, make(refusals))
	for _, b := range behind {
		if same(me, b, sep) {
			return true, nil
		}
	}
	return false, err
}

// same reports whether a is login or one of its subaddresses.
func same(login, a address.Address, sep string) bool {
	if login.Key() == a.Key() {
		return true
	}
	user, _ := a.Detail(sep)
	return login.Key() == a.WithLocal(user).Key()
}

// Postmaster looks for a postmaster in the domain that is this host's name,
// and then in every local domain (RFC 5321 §4.5.1).
func (d *directory) Postmaster(ctx context.Context) (address.Address, bool, error) {
	_, hostname := d.config()
	names, err := d.tables.List()
	if err != nil {
		return address.Address{}, false, err
	}
	for _, domain := range append([]string{hostname}, names...) {
		a := address.Address{Local: "postmaster", Domain: domain}
		local, err := d.Local(domain)
		if err != nil {
			return a, false, err
		}
		if !local {
			continue
		}
		if found, err := d.Exists(ctx, a); found || err != nil {
			return a, found, err
		}
	}
	return address.Address{}, false, nil
}
