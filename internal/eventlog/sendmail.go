package eventlog

// sendmailEvents are the events of sendmail, besides those of every daemon.
var sendmailEvents = []Definition{}
