package control

// Settings of pop3d, besides the common ones.
var (
	ListenPOP3 = &Setting{Name: "listen-pop3", Kind: Lines, Check: checkListen, Programs: []string{"pop3d"},
		Help: "Addresses host:port for POP3 with STLS, beside the sockets that systemd passes as pop3."}
	ListenPOP3S = &Setting{Name: "listen-pop3s", Kind: Lines, Check: checkListen, Programs: []string{"pop3d"},
		Help: "Addresses host:port for POP3, TLS from the first byte, beside the sockets that systemd passes as pop3s."}
	POP3PlaintextLogin = &Setting{Name: "pop3-plaintext-login", Kind: Networks, Programs: []string{"pop3d"},
		Help: "Networks from which a POP3 login is taken without TLS. Default: none, passwords never cross the network in clear."}
	POP3LoginTimeout = &Setting{Name: "pop3-login-timeout", Kind: Duration, Default: "3m", Programs: []string{"pop3d"},
		Help: "Longest silence of a POP3 client that is not logged in."}
	POP3IdleTimeout = &Setting{Name: "pop3-idle-timeout", Kind: Duration, Default: "10m", Programs: []string{"pop3d"},
		Help: "Longest silence of a POP3 client that is logged in; its session then ends and removes nothing. RFC 1939 wants at least 10 minutes."}
	POP3LoginDelay = &Setting{Name: "pop3-login-delay", Kind: Duration, Default: "0s", Programs: []string{"pop3d"},
		Help: "Least time between two POP3 logins of one user (RFC 2449 §6.5)."}
	MailDirectories = &Setting{Name: "mail-directories", Kind: Lines, Check: checkDirectory, Programs: []string{"deliver", "imapd", "pop3d"},
		Help: "Further directories, besides mail-root, below which Maildirs lie, such as /home. Elsewhere the programs that touch mail may not read or write."}
)

var pop3dSettings = []*Setting{ListenPOP3, ListenPOP3S, POP3PlaintextLogin, POP3LoginTimeout, POP3IdleTimeout, POP3LoginDelay, MailDirectories}
