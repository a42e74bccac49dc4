package control

// Settings of imapd, besides the common ones.
var (
	ListenIMAP = &Setting{Name: "listen-imap", Kind: Lines, Check: checkListen, Programs: []string{"imapd"},
		Help: "Addresses host:port for IMAP with STARTTLS, beside the sockets that systemd passes as imap."}
	ListenIMAPS = &Setting{Name: "listen-imaps", Kind: Lines, Check: checkListen, Programs: []string{"imapd"},
		Help: "Addresses host:port for IMAP, TLS from the first byte, beside the sockets that systemd passes as imaps."}
	IMAPPlaintextLogin = &Setting{Name: "imap-plaintext-login", Kind: Networks, Programs: []string{"imapd"},
		Help: "Networks from which an IMAP login is taken without TLS. Default: none, passwords never cross the network in clear."}
	IMAPLoginTimeout = &Setting{Name: "imap-login-timeout", Kind: Duration, Default: "3m", Programs: []string{"imapd"},
		Help: "Longest silence of an IMAP client that is not logged in."}
	IMAPIdleTimeout = &Setting{Name: "imap-idle-timeout", Kind: Duration, Default: "30m", Programs: []string{"imapd"},
		Help: "Longest silence of an IMAP client that is logged in. RFC 3501 wants at least 30 minutes."}
	IMAPIdleNotify = &Setting{Name: "imap-idle-notify", Kind: Duration, Default: "2m", Programs: []string{"imapd"},
		Help: "Time between two signs of life to a client in IDLE, which keep firewalls from forgetting the connection. 0s is none."}
	IMAPSearchTime = &Setting{Name: "imap-search-time", Kind: Duration, Default: "2m", Programs: []string{"imapd"},
		Help: "Longest time of one search; then the client is told to look for less."}
	IMAPLineLimit = &Setting{Name: "imap-line-limit", Kind: Size, Default: "64K", Programs: []string{"imapd"},
		Help: "Longest IMAP command, in octets, without its literals, once logged in. Before that it is 8,192."}
	IMAPLiteralLimit = &Setting{Name: "imap-literal-limit", Kind: Size, Default: "64K", Programs: []string{"imapd"},
		Help: "Most octets in all literals of an IMAP command, save the message of APPEND, once logged in. Before that it is 8,192."}
	IMAPOthers = &Setting{Name: "imap-others", Kind: Text, Default: "user/", Check: checkOthers, Programs: []string{"imapd"},
		Help: "What the names of other users' folders begin with; it ends in a slash. none offers no shared folders."}
	IMAPAdmins = &Setting{Name: "imap-admins", Kind: Lines, Programs: []string{"imapd"},
		Help: "Users, by their full names, who may set quotas (SETQUOTA) and the server's shared metadata over IMAP."}
	IMAPAdminURI = &Setting{Name: "imap-admin-uri", Kind: Text, Check: checkURI, Programs: []string{"imapd"},
		Help: "How users reach the administrator, as a URI such as mailto:postmaster@example.org; told as the metadata /shared/admin."}
	IMAPMailboxes = &Setting{Name: "imap-mailboxes", Kind: Int, Default: "10000", Programs: []string{"imapd"},
		Help: "Most folders of an account, unless SETQUOTA says otherwise. 0 is no limit."}
	IMAPErrors = &Setting{Name: "imap-errors", Kind: Int, Default: "20", Programs: []string{"imapd"},
		Help: "IMAP commands that cannot be understood before a connection is closed."}
	IMAPLoginFailures = &Setting{Name: "imap-login-failures", Kind: Int, Default: "3", Programs: []string{"imapd"},
		Help: "Failed logins before an IMAP connection is closed."}
	IMAPUserConnections = &Setting{Name: "imap-user-connections", Kind: Int, Default: "50", Programs: []string{"imapd"},
		Help: "Most IMAP connections of one user at one time; networks of limits-exempt have no such limit. 0 is no limit."}
)

var imapdSettings = []*Setting{ListenIMAP, ListenIMAPS, IMAPPlaintextLogin, IMAPLoginTimeout, IMAPIdleTimeout, IMAPIdleNotify,
	IMAPSearchTime, IMAPOthers, IMAPAdmins, IMAPAdminURI, IMAPMailboxes, IMAPLineLimit, IMAPLiteralLimit, IMAPErrors, IMAPLoginFailures,
	IMAPUserConnections}
