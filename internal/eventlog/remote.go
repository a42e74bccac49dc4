package eventlog

// Events of remote.
const (
	RelayAccepted Event = "relay-accepted"
	RelayFailed   Event = "relay-failed"
	HostFailed    Event = "host-failed"
	TLSGivenUp    Event = "tls-given-up"
)

// remoteEvents are the events of remote, besides those of every daemon.
var remoteEvents = []Definition{
	{RelayAccepted, "another host took a message for a recipient; carries queue, recipient, host, tls (none, unverified or verified) and its reply"},
	{RelayFailed, "a recipient was not taken, or no host was found; error is the reply that queue-run gets"},
	{HostFailed, "one mail host could not be used, so the next one is tried; host and error say which and why"},
	{TLSGivenUp, "a TLS handshake with a mail host failed and nothing demands TLS: mail goes there in clear text"},
}
