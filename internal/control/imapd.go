package control

// Settings of imapd, besides the common ones.
var (
	ListenIMAP = &Setting{Name: "listen-imap", Kind: Lines, Programs: []string{"imapd"},
		Help: "Addresses host:port for IMAP with STARTTLS, beside the sockets that systemd passes as imap."}
	ListenIMAPS = &Setting{Name: "listen-imaps", Kind: Lines, Programs: []string{"imapd"},
		Help: "Addresses host:port for IMAP, TLS from the first byte, beside the sockets that systemd passes as imaps."}
)

var imapdSettings = []*Setting{ListenIMAP, ListenIMAPS}
