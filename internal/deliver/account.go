package deliver

import (
	"context"
	"path/filepath"

	"peyk/internal/address"
	"peyk/internal/dovecotauth"
	"peyk/internal/envelope"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// A recipient is one whom a transaction accepted.
type recipient struct {
	envelope.Recipient
	addr    address.Address // as given
	user    address.Address // without the detail
	detail  string          // after the separator; "" without one
	home    string          // "" if the account has none
	root    string          // the Maildir
	uid     int             // owner of the home; -1 unknown
	quota   mailbox.Quota
	account string // canonical name
}

var errNoUser = status.New(550, "5.1.1", "no such user here")

// find looks a recipient up: the address as it is, then without its detail.
func (a *Agent) find(ctx context.Context, r envelope.Recipient) (*recipient, error) {
	addr, err := address.Parse(r.Address, true)
	if err != nil {
		return nil, err
	}
	found := &recipient{Recipient: r, addr: addr, user: addr}
	user, ok, err := a.o.Users.Lookup(ctx, service, addr.Key())
	if err != nil {
		return nil, err
	}
	if !ok {
		name, detail := addr.Detail(a.policy().Subaddress)
		if detail == "" {
			return nil, errNoUser
		}
		found.user, found.detail = addr.WithLocal(name), detail
		user, ok, err = a.o.Users.Lookup(ctx, service, found.user.Key())
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errNoUser
	}
	return found, found.take(user, a.policy().Quota)
}

// take copies what is needed from the account.
func (r *recipient) take(u dovecotauth.User, quota mailbox.Quota) error {
	if err := u.MailRefusal(); err != nil {
		return err
	}
	r.account, r.uid, r.home = u.Name, u.UID, ""
	if filepath.IsAbs(u.Home) {
		r.home = filepath.Clean(u.Home)
	}
	r.root = u.Maildir()
	if r.root == "" {
		return status.New(451, "4.3.5", "cannot tell where the mail of this account is kept")
	}
	r.quota = mailbox.ParseQuotaRule(u.Quota, quota)
	return nil
}
