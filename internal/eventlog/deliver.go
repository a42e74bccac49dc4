package eventlog

// Events of deliver. Each carries recipient and, where one came along, queue.
const (
	Filed           Event = "filed"
	FiledBefore     Event = "filed-before"
	Forwarded       Event = "forwarded"
	FilingDeferred  Event = "filing-deferred"
	FilingRefused   Event = "filing-refused"
	MailboxUnknown  Event = "mailbox-unknown"
	ForwardProgram  Event = "forward-program"
	ForwardDistrust Event = "forward-distrusted"
)

// deliverEvents are the events of deliver, besides those of every daemon.
var deliverEvents = []Definition{
	{Filed, "a message is in a mailbox of the recipient; to is the Maildir or file, folder the folder, size its octets"},
	{FiledBefore, "an attempt whose end queue-run did not learn of had filed a message, so it was not filed again"},
	{Forwarded, "the recipient's .forward file sent a message on; to says where, new is its queue id"},
	{FilingDeferred, "a message could not be filed now and is tried again; error says why"},
	{FilingRefused, "a message was refused for good, such as in a loop or for a full mailbox; error says why"},
	{MailboxUnknown, "a recipient has no account here"},
	{ForwardProgram, "the recipient's .forward file ran a program; command is its path, status what became of it"},
	{ForwardDistrust, "a .forward file is not used, and the mail deferred, because of its owner, permissions or content; error says which"},
}
