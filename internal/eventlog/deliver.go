package eventlog

// deliverEvents are the events of deliver, besides those of every daemon.
var deliverEvents = []Definition{}
