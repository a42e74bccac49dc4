package eventlog

// queueEvents are the events of queue, besides those of every daemon.
var queueEvents = []Definition{}
