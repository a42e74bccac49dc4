package eventlog

// pop3dEvents are the events of pop3d, besides those of every daemon.
var pop3dEvents = []Definition{}
