package eventlog

// Events of mailctl.
const (
	ChildDied Event = "child-died"
)

// mailctlEvents are the events of mailctl, besides those of every daemon.
var mailctlEvents = []Definition{
	{ChildDied, "a daemon of the sandbox ended and is started again"},
}
