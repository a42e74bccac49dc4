package eventlog

// Events of smtpd.
const (
	Accepted         Event = "accepted"
	MessageRefused   Event = "message-refused"
	SenderRefused    Event = "sender-refused"
	RecipientRefused Event = "recipient-refused"
	Disconnected     Event = "disconnected"
)

// smtpdEvents are the events of smtpd, besides those of every daemon.
var smtpdEvents = []Definition{
	{Accepted, "a message is in the queue and was answered with 250; carries queue, client, login, sender, size and number of recipients"},
	{MessageRefused, "a message was refused after DATA or BDAT; error says why"},
	{SenderRefused, "MAIL was refused; error says why"},
	{RecipientRefused, "RCPT was refused; error says why"},
	{Disconnected, "a client was disconnected because it went over a limit; reason is the control that sets it"},
}
