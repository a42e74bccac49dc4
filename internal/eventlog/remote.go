package eventlog

// remoteEvents are the events of remote, besides those of every daemon.
var remoteEvents = []Definition{}
