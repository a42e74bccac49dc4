package authd

import (
	"errors"

	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
)

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
	noMechanism  refusal = "mechanism"

	noKeys        refusal = "no-keys"
	noBinding     refusal = "channel-binding"
	noCertificate refusal = "certificate"
	badToken      refusal = "token"
)

// verdict says and logs what became of the login. The client learns no more
// than yes, no or not now.
func (a *attempt) verdict(err error) dovecotauth.Verdict {
	name := a.user.String()
	var no refusal
	switch {
	case err == nil:
		a.log.Event(eventlog.AuthOK, "user", name, "app", a.appID())
		a.noteUse()
		return dovecotauth.Verdict{OK: true, User: name, Fields: a.fields()}
	case errors.As(err, &no):
		a.log.Event(eventlog.AuthFailed, "user", name, "reason", string(no), "app", a.appID(), "rule", a.rule, "text", a.text)
		v := dovecotauth.Verdict{User: name}
		switch no {
		case otherAuthzid:
			v.Code = "authz_fail"
		case needCode:
			v.Code = dovecotauth.CodeNeedCode
		case passwordsFixed:
			v.Reason = "passwords are not changed this way here"
		}
		return v
	}
	a.log.Event(eventlog.AuthTrouble, "user", name, "error", err)
	return dovecotauth.Verdict{User: name, Temp: true, Reason: "cannot check logins now"}
}
