package eventlog

// Events of queue-run. Each carries queue, the id of the message.
const (
	Taken       Event = "taken"
	Routed      Event = "routed"
	Delivered   Event = "delivered"
	Relayed     Event = "relayed"
	Deferred    Event = "deferred"
	Failed      Event = "failed"
	Expired     Event = "expired"
	Bounced     Event = "bounced"
	Held        Event = "held"
	Corrupt     Event = "corrupt"
	Vanished    Event = "vanished"
	Repaired    Event = "repaired"
	Flushed     Event = "flushed"
	Suspended   Event = "suspended"
	Destination Event = "destination"
)

// queueEvents are the events of queue-run, besides those of every daemon.
var queueEvents = []Definition{
	{Taken, "a message came from the drop into the queue; from, size, recipients"},
	{Routed, "where a recipient goes: to, for (the recipient before aliases), via (local or remote) and destination"},
	{Delivered, "a recipient is done: the mailbox has the message; reply, delay since arrival"},
	{Relayed, "a recipient is done: another host has the message; reply, delay since arrival"},
	{Deferred, "a recipient waits for another attempt; reason, and next, the time of it"},
	{Failed, "a recipient cannot be reached, for good; reason"},
	{Expired, "a recipient could not be reached within queue-lifetime; a failed follows"},
	{Bounced, "a report about a message was queued for its sender; report is its queue id, kind says of what"},
	{Held, "a message was set aside in hold/; reason"},
	{Corrupt, "a file is not what it should be and was moved to corrupt/; reason"},
	{Vanished, "a message was moved or removed by somebody else while it waited"},
	{Repaired, "a leftover of a crash was put in order; did says how"},
	{Flushed, "somebody asked to try every waiting message now; messages is their number"},
	{Suspended, "deliver or remote cannot be reached; its mail waits without being counted as tried"},
	{Destination, "a remote destination stopped answering, or answers again; until says when it is tried next"},
}
