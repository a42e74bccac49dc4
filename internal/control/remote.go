package control

// Settings of remote, besides the common ones.
var (
	Resolver = &Setting{Name: "resolver", Kind: Text, Check: checkResolver, Programs: []string{"remote", "smtpd", "mailctl"},
		Help: "Address host:port of the DNS resolver. Default: the first nameserver of /etc/resolv.conf."}
	RemotePort = &Setting{Name: "remote-port", Kind: Int, Default: "25", Programs: []string{"remote"},
		Help: "Port of other mail servers, where no route says otherwise."}
	RemoteCredentials = &Setting{Name: "remote-credentials", Kind: Lines, Programs: []string{"remote"},
		Help: "Logins for smarthosts: host, user and password, separated by blanks, one a line. The host is spelled as in routes, without its port. The file must not be readable by others. A password is sent through TLS with a verified certificate, or to this machine."}
	RemoteCA = &Setting{Name: "remote-ca", Kind: Path, Programs: []string{"remote"},
		Help: "File of certificates in PEM form that are trusted beside those of the system when the certificate of another mail server must be verified."}
	RemoteFamilies = &Setting{Name: "remote-families", Kind: Choice, Default: "both", Choices: []string{"both", "ipv4", "ipv6"}, Programs: []string{"remote"},
		Help: "Address families in which other mail servers are looked for. IPv6 and IPv4 addresses of a host are tried in turn."}
	RemoteHosts = &Setting{Name: "remote-hosts", Kind: Int, Default: "10", Programs: []string{"remote"},
		Help: "Most MX records of a domain that are looked at in one attempt; the preferred ones come first."}
	RemoteAddresses = &Setting{Name: "remote-addresses", Kind: Int, Default: "20", Programs: []string{"remote"},
		Help: "Most addresses of a domain's mail hosts that are tried in one attempt."}
	RemoteConnectTimeout = &Setting{Name: "remote-connect-timeout", Kind: Duration, Default: "30s", Programs: []string{"remote"},
		Help: "Longest wait for one connection to be established."}
	RemoteOpenTimeout = &Setting{Name: "remote-open-timeout", Kind: Duration, Default: "150s", Programs: []string{"remote"},
		Help: "Longest search for a mail host that works, over all that are tried: DNS, connections, greetings, TLS."}
	RemoteGreetingTimeout = &Setting{Name: "remote-greeting-timeout", Kind: Duration, Default: "5m", Programs: []string{"remote"},
		Help: "Longest wait for a greeting (RFC 5321 §4.5.3.2.1)."}
	RemoteTLSTimeout = &Setting{Name: "remote-tls-timeout", Kind: Duration, Default: "1m", Programs: []string{"remote"},
		Help: "Longest time for a TLS handshake with another server."}
	RemoteCommandTimeout = &Setting{Name: "remote-command-timeout", Kind: Duration, Default: "5m", Programs: []string{"remote"},
		Help: "Longest wait for the reply to EHLO, STARTTLS, AUTH, MAIL or RCPT (RFC 5321 §4.5.3.2.2, §4.5.3.2.3)."}
	RemoteDataTimeout = &Setting{Name: "remote-data-timeout", Kind: Duration, Default: "2m", Programs: []string{"remote"},
		Help: "Longest wait for the reply to DATA (RFC 5321 §4.5.3.2.4)."}
	RemoteBlockTimeout = &Setting{Name: "remote-block-timeout", Kind: Duration, Default: "3m", Programs: []string{"remote"},
		Help: "Longest time for the other server to take 64 KiB of a message (RFC 5321 §4.5.3.2.5)."}
	RemoteEndTimeout = &Setting{Name: "remote-end-timeout", Kind: Duration, Default: "10m", Programs: []string{"remote"},
		Help: "Longest wait for the reply to the end of a message (RFC 5321 §4.5.3.2.6). A shorter one leads to messages that arrive twice."}
	RemoteTimeLimit = &Setting{Name: "remote-time-limit", Kind: Duration, Default: "30m", Programs: []string{"remote", "queue-run"},
		Help: "Longest time for one attempt as a whole, however slowly the other server goes on."}
)

var remoteSettings = []*Setting{Resolver, RemotePort, RemoteCredentials, RemoteCA, RemoteFamilies, RemoteHosts, RemoteAddresses,
	RemoteConnectTimeout, RemoteOpenTimeout, RemoteGreetingTimeout, RemoteTLSTimeout, RemoteCommandTimeout, RemoteDataTimeout,
	RemoteBlockTimeout, RemoteEndTimeout, RemoteTimeLimit}
