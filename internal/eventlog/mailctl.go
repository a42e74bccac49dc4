package eventlog

// mailctlEvents are the events of mailctl, besides those of every daemon.
var mailctlEvents = []Definition{}
