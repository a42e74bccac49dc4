package control

// Settings of pop3d, besides the common ones.
var (
	ListenPOP3 = &Setting{Name: "listen-pop3", Kind: Lines, Programs: []string{"pop3d"},
		Help: "Addresses host:port for POP3 with STLS, beside the sockets that systemd passes as pop3."}
	ListenPOP3S = &Setting{Name: "listen-pop3s", Kind: Lines, Programs: []string{"pop3d"},
		Help: "Addresses host:port for POP3, TLS from the first byte, beside the sockets that systemd passes as pop3s."}
)

var pop3dSettings = []*Setting{ListenPOP3, ListenPOP3S}
