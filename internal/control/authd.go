package control

// Settings of authd, besides the common ones.
var (
	MailRoot = &Setting{Name: "mail-root", Kind: Path, Default: "/var/lib/peyk/mail", Programs: []string{"authd", "deliver", "imapd", "pop3d", "mailctl"},
		Help: "Directory of the mail: the home of an account whose entry names none is DOMAIN/USER below it, its mailbox is Maildir in its home."}
	UserdbUIDs = &Setting{Name: "userdb-uids", Kind: Lines, Programs: []string{"authd"},
		Help: "Users (names or numbers) that may ask the userdb socket, besides root and authd's own. Default: anybody whom the permissions of the socket let in."}
	DefaultDomain = &Setting{Name: "default-domain", Kind: Text, Check: checkDomain, Programs: []string{"authd"},
		Help: "Domain of a login name without one. Default: such a name does not exist."}
	AuthHashParallel = &Setting{Name: "auth-hash-parallel", Kind: Int, Default: "0", Programs: []string{"authd"},
		Help: "Most password hashes that are computed at one time; each takes 19 MiB of memory. 0 is one for each processor."}
	AuthCache = &Setting{Name: "auth-cache", Kind: Duration, Default: "60s", Programs: []string{"authd"},
		Help: "How long the outcome of a login is remembered, so that a client which logs in every minute costs nothing. A changed entry counts at once. 0s remembers nothing."}
	AuthFailureDelay = &Setting{Name: "auth-failure-delay", Kind: Duration, Default: "1s", Programs: []string{"authd"},
		Help: "Waiting time before a login is looked at when its network (a /24 of IPv4, a /64 of IPv6) has failed three times; it doubles with each further failure up to 15s, and shrinks as time passes. 0s is no delay."}
	AuthState = &Setting{Name: "auth-state", Kind: Path, Default: "/var/lib/peyk/auth", Programs: []string{"authd", "mailctl"},
		Help: "Directory in which authd remembers what has to outlive a restart: which codes of second factors are used up, when each app password was last used, the secret by which SCRAM has a salt for accounts that do not exist. Only authd writes there."}
	CountryCommand = &Setting{Name: "country-command", Kind: Text, Check: checkCommand, Programs: []string{"authd"},
		Help: "Program, by its absolute path, with arguments that have blanks between them, which prints the country of an address: the address is its last argument, and the first word of two capital letters that it prints is the answer. Needed for the word countries of the access tables. No shell is involved; an answer is remembered for an hour, and a program that takes more than five seconds is ended. Default: none, and where a country counts nobody gets in."}
	SendOnlyText = &Setting{Name: "send-only-text", Kind: Text, Default: "this account takes no mail", Programs: []string{"authd"},
		Help: "What a sender hears, behind 550 5.2.1, when mail is for an account that the access tables let send only."}
	PasswordChange = &Setting{Name: "password-change", Kind: Bool, Default: "no", Programs: []string{"authd"},
		Help: "Whether users may change their own passwords by mailctl passwd. authd must then be allowed to replace the users files: see mailctl domain self-service."}
)

// Settings about how people prove who they are.
var (
	AuthMechanisms = &Setting{Name: "auth-mechanisms", Kind: Lines, Check: checkMechanism, Programs: []string{"authd"},
		Help: "SASL mechanisms that logins may use. Default: PLAIN and LOGIN; SCRAM-SHA-256 and SCRAM-SHA-1, alone and with -PLUS, as long as every account has the keys for it and none has app passwords, which only PLAIN and LOGIN take; EXTERNAL if tls-client-certificates says request."}
	SCRAMKeys = &Setting{Name: "scram-keys", Kind: Bool, Default: "yes", Programs: []string{"mailctl", "authd"},
		Help: "Write the keys for SCRAM beside the hash when a password is set. Without them the account can use PLAIN and LOGIN only. Whoever steals the users file can guess against the keys at less cost than against the hash."}
	AuthRehash = &Setting{Name: "auth-rehash", Kind: Bool, Default: "no", Programs: []string{"authd"},
		Help: "Write the hash of an older scheme anew, as mailctl would, when a login has shown the password; and the keys for SCRAM where there are none. authd must then be allowed to replace the users files: see mailctl domain self-service."}
	TLSClientCertificates = &Setting{Name: "tls-client-certificates", Kind: Choice, Default: "none", Choices: []string{"none", "request"}, Programs: []string{"smtpd", "imapd", "pop3d", "authd"},
		Help: "Whether clients that log in are asked for a certificate, with which they may log in by EXTERNAL. Servers that bring mail are not asked."}
	TLSClientCA = &Setting{Name: "tls-client-ca", Kind: Path, Programs: []string{"smtpd", "imapd", "pop3d"},
		Help: "File of the authorities, in PEM, whose client certificates are believed by their names. Default: none; then a certificate counts by its fingerprint alone."}
)

var authdSettings = []*Setting{MailRoot, UserdbUIDs, DefaultDomain, AuthHashParallel, AuthCache, AuthFailureDelay,
	AuthState, CountryCommand, SendOnlyText, PasswordChange, AuthMechanisms, SCRAMKeys, AuthRehash, TLSClientCertificates, TLSClientCA}
