package control

// Settings of authd, besides the common ones.
var (
	MailRoot = &Setting{Name: "mail-root", Kind: Path, Default: "/var/lib/peyk/mail", Programs: []string{"authd", "deliver", "imapd", "mailctl", "pop3d"},
		Help: "Directory of the mail: the home of an account whose entry names none is DOMAIN/USER below it, its mailbox is Maildir in its home."}
	UserdbUIDs = &Setting{Name: "userdb-uids", Kind: Lines, Programs: []string{"authd"},
		Help: "Users (names or numbers) that may ask the userdb socket, besides root and authd's own. Default: anybody whom the permissions of the socket let in."}
)

var authdSettings = []*Setting{MailRoot, UserdbUIDs}
