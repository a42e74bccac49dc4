package smtpd

import (
	"net/netip"
	"time"

	"peyk/internal/control"
)

// Policy is what an admin decides about sessions: the limits and the few
// choices. It does not change; a reload makes a new one.
type Policy struct {
	Recipients       int // most of a message
	Rejected         int // most recipients named in vain
	Messages         int // most of a session; 0 is no limit
	Errors           int // most protocol errors of a session
	AuthFailures     int // most failed logins of a session
	CommandTimeout   time.Duration
	CommandLine      int // longest command line, octets
	DataTimeout      time.Duration
	DataRate         int64 // least octets per second
	MessageSize      int64 // octets
	HeaderSize       int64 // octets
	Hops             int
	Normalize        bool          // bare CR and LF become CR LF
	GreetDelay       time.Duration // of the smtp service
	HandshakeTimeout time.Duration // of STARTTLS
	Relay            []netip.Prefix
	Exempt           []netip.Prefix // from the limit of failed logins and the delay of the greeting
}

// NewPolicy reads the policy out of the configuration.
func NewPolicy(c *control.Config) *Policy {
	return &Policy{
		Recipients:       c.Int(control.RecipientLimit),
		Rejected:         c.Int(control.RejectedRecipientLimit),
		Messages:         c.Int(control.MessagesPerSession),
		Errors:           c.Int(control.ErrorLimit),
		AuthFailures:     c.Int(control.AuthFailureLimit),
		CommandTimeout:   c.Duration(control.CommandTimeout),
		CommandLine:      int(c.Size(control.CommandLineLimit)),
		DataTimeout:      c.Duration(control.DataTimeout),
		DataRate:         c.Size(control.DataRate),
		MessageSize:      c.Size(control.MessageSize),
		HeaderSize:       c.Size(control.HeaderSizeLimit),
		Hops:             c.Int(control.HopLimit),
		Normalize:        c.Text(control.BareNewline) == "normalize",
		GreetDelay:       c.Duration(control.GreetDelay),
		HandshakeTimeout: c.Duration(control.TLSHandshakeTimeout),
		Relay:            c.Networks(control.RelayNetworks),
		Exempt:           c.Networks(control.LimitsExempt),
	}
}

// contains reports whether a is in one of the networks.
func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, network := range networks {
		if network.Contains(a) {
			return true
		}
	}
	return false
}
