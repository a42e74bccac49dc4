package eventlog

// smtpdEvents are the events of smtpd, besides those of every daemon.
var smtpdEvents = []Definition{}
