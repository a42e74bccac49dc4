package control

// Settings of remote, besides the common ones.
var (
	Resolver = &Setting{Name: "resolver", Kind: Text, Programs: []string{"remote", "smtpd", "mailctl"},
		Help: "Address host:port of the DNS resolver. Default: the first nameserver of /etc/resolv.conf."}
	RemotePort = &Setting{Name: "remote-port", Kind: Int, Default: "25", Programs: []string{"remote"},
		Help: "Port of other mail servers, where no route says otherwise."}
	RemoteCredentials = &Setting{Name: "remote-credentials", Kind: Lines, Programs: []string{"remote"},
		Help: "Logins for smarthosts: host, user and password, separated by spaces, one a line. The file must not be readable by others."}
)

var remoteSettings = []*Setting{Resolver, RemotePort, RemoteCredentials}
