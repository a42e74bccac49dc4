package eventlog

// Events of imapd. Login and LoginFailed are shared by every program that
// lets users in.
const (
	Login       Event = "login"
	LoginFailed Event = "login-failed"
	Selected    Event = "selected"
)

// imapdEvents are the events of imapd, besides those of every daemon.
var imapdEvents = []Definition{
	{Login, "a user logged in; carries user, mechanism and whether TLS protects the session"},
	{LoginFailed, "a login was refused; reason says why, error what failed on our side"},
	{Selected, "a user opened a folder by IMAP; carries its name and how many messages it holds"},
}
