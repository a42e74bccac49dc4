package authd

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"strings"

	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/passhash"
	"peyk/internal/table"
)

// passwdService is the service of a change of password, for the log and for
// the access tables, whose protocols do not limit it.
const passwdService = "passwd"

// errElsewhere is an account whose password was changed by somebody else in
// this moment.
var errElsewhere = errors.New("the users file does not hold this password any more")

// passwd changes the password of whoever knows the old one, and has the second
// factor if there is one.
func (a *attempt) passwd(ctx context.Context, r *dovecotauth.Request) error {
	a.service, a.asks = passwdService, true
	f := strings.Split(string(r.Initial), "\x00")
	if len(f) != 4 {
		return malformed
	}
	if err := a.claim(f[1], f[0]); err != nil {
		return err
	}
	if !a.set.passwordChange {
		return passwordsFixed
	}
	if passhash.CheckPassword(f[3]) != nil {
		return malformed
	}
	if err := a.password(ctx, credentials{f[0], f[1], f[2]}); err != nil {
		return err
	}
	if a.stored == "" { // another backend keeps it
		return passwordsFixed
	}
	if a.app != nil { // who found a telephone must not get the account
		return badPassword
	}
	if err := a.admit(ctx); err != nil {
		return err
	}
	return a.setPassword(ctx, f[3])
}

// setPassword writes the new hash in the place of the one that was proved.
func (a *attempt) setPassword(ctx context.Context, password string) error {
	err := a.write(ctx, password, func(string) {})
	if errors.Is(err, fs.ErrNotExist) { // of another backend, which shows its hashes
		return passwordsFixed
	}
	if errors.Is(err, fs.ErrPermission) {
		a.log.Event(eventlog.Trouble, "reason", "cannot write the users file; see mailctl domain self-service", "user", a.user.String(), "error", err)
		return passwordsFixed
	}
	if err == nil {
		a.log.Event(eventlog.PasswordChanged, "user", a.user.String())
	}
	return err
}

// write puts the hash of a password, and its keys for SCRAM, in the place of
// those that were proved. It hands the new hash to note just before anybody
// can see it in the file.
func (a *attempt) write(ctx context.Context, password string, note func(hash string)) error {
	s := a.server
	if err := s.turnstile.enter(ctx, a.net.String()); err != nil {
		return err
	}
	defer s.turnstile.leave()
	before := a.stored
	return s.editor.UpdateUser(a.user, func(u *table.User) error {
		if u.Password != before {
			return errElsewhere
		}
		err := u.SetPassword(rand.Reader, password, a.set.scramKeys)
		a.stored = u.Password
		note(u.Password)
		return err
	})
}
