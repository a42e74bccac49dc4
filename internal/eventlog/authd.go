package eventlog

// authdEvents are the events of authd, besides those of every daemon.
var authdEvents = []Definition{}
