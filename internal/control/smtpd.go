package control

// Settings of smtpd, besides the common ones.
var (
	ListenSMTP = &Setting{Name: "listen-smtp", Kind: Lines, Check: checkListen, Programs: []string{"smtpd"},
		Help: "Addresses host:port on which to receive mail from other servers, beside the sockets that systemd passes as smtp."}
	ListenSubmission = &Setting{Name: "listen-submission", Kind: Lines, Check: checkListen, Programs: []string{"smtpd"},
		Help: "Addresses host:port for submission by users, with STARTTLS (RFC 6409), beside the sockets that systemd passes as submission."}
	ListenSubmissions = &Setting{Name: "listen-submissions", Kind: Lines, Check: checkListen, Programs: []string{"smtpd"},
		Help: "Addresses host:port for submission by users, TLS from the first byte (RFC 8314), beside the sockets that systemd passes as submissions."}
	ListenSubmit = &Setting{Name: "listen-submit", Kind: Lines, Check: checkListen, Programs: []string{"smtpd"},
		Help: "Paths of Unix sockets for submission by programs of this host, without login, beside the sockets that systemd passes as submit."}
	RelayNetworks = &Setting{Name: "relay-networks", Kind: Networks, Programs: []string{"smtpd"},
		Help: "Networks whose hosts may send to any domain through the smtp service, without login. Everybody else reaches local domains only."}
	RecipientLimit = &Setting{Name: "recipient-limit", Kind: Int, Default: "1000", Programs: []string{"smtpd"},
		Help: "Most recipients of one message, announced as LIMITS RCPTMAX (RFC 9422). Further ones get 452 4.5.3."}
	RejectedRecipientLimit = &Setting{Name: "rejected-recipient-limit", Kind: Int, Default: "100", Programs: []string{"smtpd"},
		Help: "A client that has named more recipients than this in vain is told 421 and disconnected: it is guessing addresses."}
	MessagesPerSession = &Setting{Name: "messages-per-session", Kind: Int, Default: "0", Programs: []string{"smtpd"},
		Help: "Most messages on one connection, announced as LIMITS MAILMAX (RFC 9422). 0 is no limit."}
	ErrorLimit = &Setting{Name: "error-limit", Kind: Int, Default: "20", Programs: []string{"smtpd"},
		Help: "A client that has made more protocol errors than this is told 421 and disconnected."}
	AuthFailureLimit = &Setting{Name: "auth-failure-limit", Kind: Int, Default: "3", Programs: []string{"smtpd"},
		Help: "Failed logins after which a connection is closed."}
	CommandTimeout = &Setting{Name: "command-timeout", Kind: Duration, Default: "5m", Programs: []string{"smtpd"},
		Help: "Longest wait for a whole command line (RFC 5321 §4.5.3.2.7). What came of it by then is never obeyed."}
	CommandLineLimit = &Setting{Name: "command-line-limit", Kind: Size, Default: "4K", Programs: []string{"smtpd"},
		Help: "Longest command line, in octets. A client that sends a longer one is disconnected. Lines of a message have no limit of their own."}
	DataTimeout = &Setting{Name: "data-timeout", Kind: Duration, Default: "1h", Programs: []string{"smtpd"},
		Help: "Longest time for the transfer of one message."}
	DataRate = &Setting{Name: "data-rate", Kind: Size, Default: "100", Programs: []string{"smtpd"},
		Help: "Lowest rate, in octets a second, at which a client may send a message. 0 is no minimum."}
	HeaderSizeLimit = &Setting{Name: "header-size-limit", Kind: Size, Default: "4M", Programs: []string{"smtpd"},
		Help: "Largest message header, in octets. A message with a larger one is refused."}
	BareNewline = &Setting{Name: "bare-newline", Kind: Choice, Default: "refuse", Choices: []string{"refuse", "normalize"}, Programs: []string{"smtpd"},
		Help: "What to do about a CR or LF that is not part of a CR LF pair: refuse the message with 550 5.6.11, or normalize each to CR LF. NUL is refused either way."}
	GreetDelay = &Setting{Name: "greet-delay", Kind: Duration, Default: "0s", Programs: []string{"smtpd"},
		Help: "How long the smtp service waits before it greets. A client that speaks before its turn is refused with 554. 0s greets at once and tolerates early talkers."}
	RecipientCache = &Setting{Name: "recipient-cache", Kind: Duration, Default: "5s", Programs: []string{"smtpd"},
		Help: "How long an answer to the question whether a recipient exists is remembered. 0s asks each time."}
)

var smtpdSettings = []*Setting{ListenSMTP, ListenSubmission, ListenSubmissions, ListenSubmit, RelayNetworks, RecipientLimit,
	RejectedRecipientLimit, MessagesPerSession, ErrorLimit, AuthFailureLimit, CommandTimeout, CommandLineLimit, DataTimeout,
	DataRate, HeaderSizeLimit, BareNewline, GreetDelay, RecipientCache}
