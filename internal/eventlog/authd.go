package eventlog

// Events of authd.
const (
	AuthOK      Event = "auth-ok"
	AuthFailed  Event = "auth-failed"
	AuthDelayed Event = "auth-delayed"
	AuthTrouble Event = "auth-trouble"
)

// authdEvents are the events of authd, besides those of every daemon.
var authdEvents = []Definition{
	{AuthOK, "a login is good; carries user, service, client and session"},
	{AuthFailed, "a login was refused; reason says why: password, unknown-user, disabled, network, field, authzid, malformed, mechanism"},
	{AuthDelayed, "a network that failed too often waits before its login is looked at; carries client, failures and delay"},
	{AuthTrouble, "nobody can tell whether a login is good; the client was told to try again, error says why"},
}
