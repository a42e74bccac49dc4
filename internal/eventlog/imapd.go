package eventlog

// imapdEvents are the events of imapd, besides those of every daemon.
var imapdEvents = []Definition{}
