package control

// Settings of deliver, besides the common ones.
var (
	ForwardPipes = &Setting{Name: "forward-pipes", Kind: Bool, Default: "no", Programs: []string{"deliver"},
		Help: "Whether a .forward file may run a program. It is started without a shell."}
)

var deliverSettings = []*Setting{ForwardPipes}

// Settings of the Maildir store, read by every program that opens one.
var (
	MailboxPoll = &Setting{Name: "mailbox-poll", Kind: Duration, Default: "30s", Programs: []string{"imapd"},
		Help: "How often an open folder is looked at even when nothing announced a change, as on network file systems."}
	CacheDir = &Setting{Name: "cache-dir", Kind: Path, Programs: []string{"deliver", "imapd", "pop3d", "mailctl"},
		Help: "Directory for what can be rebuilt from the mail, such as folder caches. Default: inside each Maildir."}
	Quota = &Setting{Name: "quota", Kind: Size, Programs: []string{"authd", "deliver", "imapd", "mailctl"},
		Help: "Quota of an account whose entry names none, in octets. Default: no quota."}
)

var mailboxSettings = []*Setting{MailboxPoll, CacheDir, Quota}
