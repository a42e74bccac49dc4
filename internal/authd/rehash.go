package authd

import (
	"context"
	"errors"

	"peyk/internal/eventlog"
	"peyk/internal/passhash"
	"peyk/internal/table"
)

// renew writes the hash of an older scheme anew, once a login has shown the
// password, and the keys for SCRAM where there are none (control auth-rehash).
// Whatever goes wrong, the login is good.
func (a *attempt) renew(ctx context.Context, account table.User, password string) {
	if !a.set.rehash || a.app != nil || a.service == passwdService || account.Password == "" || !a.isOld(account) {
		return
	}
	before := a.stored
	err := a.write(ctx, password, func(hash string) { a.server.renewed.note(before, hash) })
	switch {
	case err == nil:
		a.log.Event(eventlog.PasswordRehashed, "user", a.user.String())
	case !errors.Is(err, errElsewhere):
		a.log.Event(eventlog.Trouble, "reason", "cannot write the users file; see mailctl domain self-service", "user", a.user.String(), "error", err)
	}
}

// isOld reports whether the entry is not what a new password would get.
func (a *attempt) isOld(account table.User) bool {
	return !passhash.IsCurrent(account.Password) || a.set.scramKeys && account.Fields[table.SCRAMField(passhash.SHA256())] == ""
}
