package control

// Settings of queue-run, besides the common ones.
var (
	Routes = &Setting{Name: "routes", Kind: Lines, Programs: []string{"queue-run", "remote", "mailctl"},
		Help: "Next hops by recipient domain, first match wins: a pattern (a domain, .domain for its subdomains, or *) and host:port, [host]:port, or mx for the normal search."}
	Retry = &Setting{Name: "retry", Kind: Lines, Default: "5m\n10m\n20m\n40m\n1h\n2h\n4h", Programs: []string{"queue-run"},
		Help: "Waiting times before each further attempt, one a line; the last one repeats. Each is spread by a fifth either way."}
	QueueLifetime = &Setting{Name: "queue-lifetime", Kind: Duration, Default: "5d", Programs: []string{"queue-run", "mailctl"},
		Help: "Time after which mail that still cannot be delivered is returned to its sender."}
	DelayWarning = &Setting{Name: "delay-warning", Kind: Duration, Default: "4h", Programs: []string{"queue-run"},
		Help: "Time after which the sender is told, once, that mail is delayed. 0s is never."}
	DestinationConcurrency = &Setting{Name: "destination-concurrency", Kind: Int, Default: "20", Programs: []string{"queue-run"},
		Help: "Most deliveries at one time to one remote destination."}
	LocalConcurrency = &Setting{Name: "local-concurrency", Kind: Int, Default: "50", Programs: []string{"queue-run"},
		Help: "Most deliveries at one time to local mailboxes."}
	RemoteConcurrency = &Setting{Name: "remote-concurrency", Kind: Int, Default: "200", Programs: []string{"queue-run"},
		Help: "Most deliveries at one time to other hosts, all destinations together."}
	QueuePoll = &Setting{Name: "queue-poll", Kind: Duration, Default: "60s", Programs: []string{"queue-run"},
		Help: "How often the drop is looked through even when nothing announced a new file."}
)

var queueSettings = []*Setting{Routes, Retry, QueueLifetime, DelayWarning, DestinationConcurrency, LocalConcurrency, RemoteConcurrency, QueuePoll}
