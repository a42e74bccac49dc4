// Package remote is the program that relays mail to other hosts: LMTP in, SMTP
// out (remote(8)).
//
// A message is never stored here, nor held in memory: the session with the
// mail host is opened while the first recipient is answered, and the message
// streams through it. So one transaction goes to one destination; recipients
// of another one are told to come again, which queue-run never has to hear.
package remote

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/mx"
	"peyk/internal/smtpclient"
	"peyk/internal/table"
)

// Options is all that a Relay knows.
type Options struct {
	Hostname    string
	Routes      table.Routes
	Credentials Credentials
	Search      *mx.Searcher
	Policies    []mx.Policy    // beside what a message itself demands
	Port        int            // where no route says otherwise
	Roots       *x509.CertPool // nil: those of the system

	Connect  time.Duration // for one connection
	Open     time.Duration // until a host is found that works
	Limit    time.Duration // for a transaction as a whole
	Timeouts smtpclient.Timeouts

	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error) // nil: by TCP
	Log  *eventlog.Log
	Now  func() time.Time
	Rand io.Reader
}

// Relay is the lmtp.Backend that passes mail on.
type Relay struct{ options atomic.Pointer[Options] }

// New makes a Relay.
func New(o Options) *Relay {
	r := new(Relay)
	r.Reload(o)
	return r
}

// Reload replaces the options of transactions that begin from now on.
func (r *Relay) Reload(o Options) {
	if o.Dial == nil {
		o.Dial = dialTCP
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r.options.Store(&o)
}

func dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", to.String())
}

// Begin implements lmtp.Backend.
func (r *Relay) Begin(ctx context.Context, m *lmtp.Mail) (lmtp.Handler, error) {
	o := r.options.Load()
	ctx, cancel := context.WithCancel(ctx)
	return &transaction{
		o:      o,
		mail:   m,
		ctx:    ctx,
		cancel: cancel,
		until:  o.Now().Add(o.Limit),
		log:    o.Log.With("session", m.Peer.Session, "queue", m.Ident),
	}, nil
}
