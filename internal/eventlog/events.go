package eventlog

import "slices"

// Events that every daemon can log.
const (
	Started    Event = "started"
	Ready      Event = "ready"
	Reloaded   Event = "reloaded"
	Stopping   Event = "stopping"
	Stopped    Event = "stopped"
	BadConfig  Event = "bad-config"
	Sandboxed  Event = "sandboxed"
	Connected  Event = "connected"
	Closed     Event = "closed"
	Refused    Event = "refused"
	TLSFailed  Event = "tls-failed"
	AcceptWait Event = "accept-wait"
	Panic      Event = "panic"
	Trouble    Event = "trouble"
)

var daemonEvents = []Definition{
	{Started, "the program has read its configuration; carries its version"},
	{Ready, "the program answers on everything it listens on"},
	{Reloaded, "a SIGHUP was obeyed: the configuration was read again"},
	{Stopping, "a signal asked the program to end; sessions are being drained"},
	{Stopped, "the program ends; status is its exit status"},
	{BadConfig, "a control file is wrong; a running daemon keeps what it had"},
	{Sandboxed, "the program gave up every power that it does not need"},
	{Connected, "a client connected"},
	{Closed, "a connection ended; carries what was done on it"},
	{Refused, "a connection was refused before its protocol began; reason says which limit"},
	{TLSFailed, "a TLS handshake failed"},
	{AcceptWait, "accepting paused because the system is out of files or memory"},
	{Panic, "a session met a defect of the program and was ended; please report it"},
	{Trouble, "something failed that nobody is waiting for; reason says what and what follows"},
}

// All returns the whole vocabulary, in the order of peyk-log(7).
func All() []Definition {
	return slices.Concat(daemonEvents, smtpdEvents, queueEvents, deliverEvents, remoteEvents,
		imapdEvents, pop3dEvents, authdEvents, sendmailEvents, mailctlEvents)
}
