package eventlog

// Events of authd.
const (
	AuthOK      Event = "auth-ok"
	AuthFailed  Event = "auth-failed"
	AuthDelayed Event = "auth-delayed"
	AuthTrouble Event = "auth-trouble"

	PasswordChanged  Event = "password-changed"
	PasswordRehashed Event = "password-rehashed"
	SessionEnded     Event = "session-ended"
)

// authdEvents are the events of authd, besides those of every daemon.
var authdEvents = []Definition{
	{AuthOK, "a login is good; carries user, service, client and session"},
	{AuthFailed, "a login was refused; reason says why: password, unknown-user, disabled, network, field, authzid, malformed, mechanism, no-keys, channel-binding, certificate, token, scope, and those of app passwords, second factors and access tables; rule is the line of a table that refuses, text what it says"},
	{AuthDelayed, "a network that failed too often waits before its login is looked at; carries client, failures and delay"},
	{PasswordRehashed, "the hash of an account was written anew, in the scheme of today; carries user"},
	{PasswordChanged, "a user changed the own password; carries user"},
	{SessionEnded, "imapd, pop3d or smtpd ended a session because its login is not good any more; reason says why: credentials-changed, or one of auth-failed"},
	{AuthTrouble, "nobody can tell whether a login is good; the client was told to try again, error says why"},
}
