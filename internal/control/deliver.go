package control

// Settings of deliver, besides the common ones.
var (
	ForwardPipes = &Setting{Name: "forward-pipes", Kind: Bool, Default: "no", Programs: []string{"deliver"},
		Help: "Whether a .forward file may run a program. It is started without a shell, as the user of deliver, who may read and change all mail."}
	ForwardPipeTime = &Setting{Name: "forward-pipe-time", Kind: Duration, Default: "5m", Programs: []string{"deliver"},
		Help: "Longest time that a program in a .forward file may run. Then it is killed, and the message tried again later."}
	QuotaExceeded = &Setting{Name: "quota-exceeded", Kind: Choice, Default: "defer", Choices: []string{"defer", "refuse"}, Programs: []string{"deliver"},
		Help: "What happens to mail for a full mailbox: defer answers 452 and it is tried again until queue-lifetime, refuse answers 552 and it goes back to its sender at once."}
	DeliverUIDs = &Setting{Name: "deliver-uids", Kind: Lines, Programs: []string{"deliver"},
		Help: "Users (names or numbers) that may connect to the deliver socket. Default: anybody whom the permissions of the socket let in."}
)

var deliverSettings = []*Setting{ForwardPipes, ForwardPipeTime, QuotaExceeded, DeliverUIDs}

// Settings of the Maildir store, read by every program that opens one.
var (
	MailboxPoll = &Setting{Name: "mailbox-poll", Kind: Duration, Default: "30s", Programs: []string{"imapd"},
		Help: "How often an open folder is looked at even when nothing announced a change, as on network file systems."}
	CacheDir = &Setting{Name: "cache-dir", Kind: Path, Programs: []string{"deliver", "imapd", "pop3d", "mailctl"},
		Help: "Directory for what can be rebuilt from the mail, such as folder caches. Default: inside each Maildir."}
	TextIndex = &Setting{Name: "text-index", Kind: Bool, Default: "no", Programs: []string{"imapd"},
		Help: "Whether imapd keeps an index of the text of each account, so that searches read few messages. It takes about a quarter of the mail's text."}
	Quota = &Setting{Name: "quota", Kind: Size, Programs: []string{"authd", "deliver", "imapd", "mailctl"},
		Help: "Quota of an account whose entry names none, in octets. Default: no quota."}
)

var mailboxSettings = []*Setting{MailboxPoll, CacheDir, TextIndex, Quota}
