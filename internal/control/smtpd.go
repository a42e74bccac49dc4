package control

// Settings of smtpd, besides the common ones.
var (
	ListenSMTP = &Setting{Name: "listen-smtp", Kind: Lines, Programs: []string{"smtpd"},
		Help: "Addresses host:port on which to receive mail from other servers, beside the sockets that systemd passes as smtp."}
	ListenSubmission = &Setting{Name: "listen-submission", Kind: Lines, Programs: []string{"smtpd"},
		Help: "Addresses host:port for submission by users, with STARTTLS (RFC 6409), beside the sockets that systemd passes as submission."}
	ListenSubmissions = &Setting{Name: "listen-submissions", Kind: Lines, Programs: []string{"smtpd"},
		Help: "Addresses host:port for submission by users, TLS from the first byte (RFC 8314), beside the sockets that systemd passes as submissions."}
	ListenSubmit = &Setting{Name: "listen-submit", Kind: Lines, Programs: []string{"smtpd"},
		Help: "Paths of Unix sockets for submission by programs of this host, without login, beside the sockets that systemd passes as submit."}
)

var smtpdSettings = []*Setting{ListenSMTP, ListenSubmission, ListenSubmissions, ListenSubmit}
