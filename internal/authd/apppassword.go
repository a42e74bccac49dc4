package authd

import (
	"peyk/internal/authstate"
	"peyk/internal/eventlog"
	"peyk/internal/passhash"
	"peyk/internal/table"
)

// byAppPassword reports whether the password is one of the account's app
// passwords, and notes which. Only what has the form of one is compared: that
// costs next to nothing, and nobody learns from it whether there are any.
func (a *attempt) byAppPassword(password string) (bool, error) {
	secret, ok := passhash.PlainSecret(password, table.AppPasswordGroups)
	if !ok {
		return false, nil
	}
	all, err := a.server.tables.AppPasswords(a.user)
	if err != nil {
		return false, err
	}
	for _, p := range all {
		good, err := passhash.Verify(p.Hash, secret)
		if err != nil {
			return false, err
		}
		if good {
			a.app = &p
			return true, nil
		}
	}
	return false, nil
}

// appID names the app password, "" where there is none.
func (a *attempt) appID() string {
	if a.app == nil {
		return ""
	}
	return a.app.ID
}

// noteUse remembers when an app password was used. Nobody is kept out because
// that fails.
func (a *attempt) noteUse() {
	if a.app == nil {
		return
	}
	s := a.server
	err := s.state.NoteUse(a.user.String(), a.app.ID, authstate.Use{Time: s.options.Now(), Address: ipText(a.ip), Service: a.service})
	if err != nil {
		a.log.Event(eventlog.Trouble, "reason", "cannot remember the use of an app password", "user", a.user.String(), "error", err)
	}
}
