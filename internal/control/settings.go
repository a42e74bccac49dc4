package control

import "slices"

// Programs that read a setting; Daemons is all that run as a service.
var Daemons = []string{"smtpd", "queue-run", "deliver", "remote", "imapd", "pop3d", "authd", "auth-remote"}

// Settings of every program.
var (
	Hostname = &Setting{Name: "hostname", Kind: Text, Check: checkHostname, Programs: append([]string{"sendmail", "mailctl"}, Daemons...),
		Help: "Name of this host in greetings, trace headers and reports. Default: what the system says."}
	LogFormat = &Setting{Name: "log-format", Kind: Choice, Default: "logfmt", Choices: []string{"logfmt", "json"}, Programs: Daemons,
		Help: "Shape of a log line, see peyk-log(7)."}
	Spool = &Setting{Name: "spool", Kind: Path, Default: "/var/spool/peyk", Programs: []string{"smtpd", "queue-run", "deliver", "sendmail", "mailctl"},
		Help: "Directory of the queue, see peyk-queue(5)."}
	AuthSocket = &Setting{Name: "auth-socket", Kind: Path, Default: "/run/peyk/auth.sock", Programs: []string{"authd", "smtpd", "imapd", "pop3d"},
		Help: "Socket of the authentication service: the client side of the Dovecot authentication protocol."}
	UserdbSocket = &Setting{Name: "userdb-socket", Kind: Path, Default: "/run/peyk/userdb.sock", Programs: []string{"authd", "smtpd", "queue-run", "deliver", "imapd", "pop3d", "mailctl"},
		Help: "Socket that answers who exists: the master side of the Dovecot authentication protocol."}
	DeliverSocket = &Setting{Name: "deliver-socket", Kind: Path, Default: "/run/peyk/deliver.sock", Programs: []string{"deliver", "queue-run"},
		Help: "LMTP socket for mail to local mailboxes. Any LMTP server may sit there."}
	RemoteSocket = &Setting{Name: "remote-socket", Kind: Path, Default: "/run/peyk/remote.sock", Programs: []string{"remote", "queue-run"},
		Help: "LMTP socket for mail to other hosts. Any LMTP server may sit there."}
	TLSCertificate = &Setting{Name: "tls-certificate", Kind: Text, Check: checkName, Default: "default", Programs: []string{"smtpd", "imapd", "pop3d"},
		Help: "Name of the directory below certs/ that holds fullchain.pem and privkey.pem. Read again on SIGHUP."}
	TLSHandshakeTimeout = &Setting{Name: "tls-handshake-timeout", Kind: Duration, Default: "30s", Programs: []string{"smtpd", "imapd", "pop3d"},
		Help: "Longest time for a TLS handshake."}
	Subaddress = &Setting{Name: "subaddress", Kind: Text, Check: checkSeparator, Default: "+", Programs: []string{"smtpd", "queue-run", "deliver", "mailctl"},
		Help: "Character that separates the user from the detail in alice+lists@example.org (RFC 5233)."}
	MessageSize = &Setting{Name: "message-size-limit", Kind: Size, Default: "50M", Programs: []string{"smtpd", "deliver", "remote", "imapd", "sendmail"},
		Help: "Largest message, in octets, that is accepted."}
	HopLimit = &Setting{Name: "hop-limit", Kind: Int, Default: "50", Programs: []string{"smtpd", "sendmail", "deliver"},
		Help: "A message with more Received fields than this is refused as a loop (RFC 5321 §6.3)."}
	ProxyNetworks = &Setting{Name: "proxy-networks", Kind: Networks, Programs: []string{"smtpd", "imapd", "pop3d"},
		Help: "Networks of proxies that must begin each connection with a PROXY v1 or v2 header. From anybody else such a header is a protocol error."}
	Connections = &Setting{Name: "connections", Kind: Int, Default: "1000", Programs: []string{"smtpd", "imapd", "pop3d"},
		Help: "Most connections at one time. 0 is no limit."}
	ConnectionsPerAddress = &Setting{Name: "connections-per-address", Kind: Int, Default: "50", Programs: []string{"smtpd", "imapd", "pop3d"},
		Help: "Most connections at one time from one address. 0 is no limit."}
	ConnectionsPerPrefix = &Setting{Name: "connections-per-prefix", Kind: Int, Default: "200", Programs: []string{"smtpd", "imapd", "pop3d"},
		Help: "Most connections at one time from one /24 of IPv4 or one /64 of IPv6. 0 is no limit."}
	LimitsExempt = &Setting{Name: "limits-exempt", Kind: Networks, Programs: []string{"smtpd", "imapd", "pop3d", "authd"},
		Help: "Networks to which no limit of connections, rates or failed logins applies."}
	LogFiles = &Setting{Name: "log-files", Kind: Lines, Programs: []string{"mailctl"},
		Help: "Files, or patterns of files, in which mailctl log looks. Default: the journal of systemd, by journalctl."}
)

var commonSettings = []*Setting{Hostname, LogFormat, Spool, AuthSocket, UserdbSocket, DeliverSocket, RemoteSocket,
	TLSCertificate, TLSHandshakeTimeout, Subaddress, MessageSize, HopLimit, ProxyNetworks, Connections, ConnectionsPerAddress,
	ConnectionsPerPrefix, LimitsExempt, LogFiles}

// All returns every setting there is, sorted by name.
func All() []*Setting {
	all := slices.Concat(commonSettings, smtpdSettings, queueSettings, deliverSettings, mailboxSettings, remoteSettings,
		imapdSettings, pop3dSettings, authdSettings, authRemoteSettings)
	slices.SortFunc(all, func(a, b *Setting) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

// Of returns the settings that a program reads, sorted by name.
func Of(program string) []*Setting {
	var mine []*Setting
	for _, s := range All() {
		if slices.Contains(s.Programs, program) {
			mine = append(mine, s)
		}
	}
	return mine
}
