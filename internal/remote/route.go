package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"peyk/internal/address"
	"peyk/internal/mx"
	"peyk/internal/status"
	"peyk/internal/table"
)

// destination is where a recipient's mail goes. Recipients whose destinations
// are equal share a transaction.
type destination struct {
	domain  string     // whose MX records are asked; "" for a route
	literal netip.Addr // of user@[192.0.2.1]
	host    string     // that a route names
	port    uint16
}

func (d destination) String() string {
	switch {
	case d.domain != "":
		return d.domain
	case d.literal.IsValid():
		return "[" + d.literal.String() + "]"
	}
	return net.JoinHostPort(d.host, strconv.Itoa(int(d.port)))
}

// destinationOf applies the routes to a recipient.
func (o *Options) destinationOf(recipient string) (destination, error) {
	a, err := address.Parse(recipient, true)
	if err != nil {
		return destination{}, status.New(550, "5.1.3", "cannot relay to this address: bad syntax").Because("parse "+recipient, err)
	}
	hop := o.Routes.For(a.Domain)
	port := uint16(o.Port)
	if hop.Port != 0 {
		port = uint16(hop.Port)
	}
	if ip, ok := a.LiteralAddr(); ok && hop == (table.NextHop{Host: ip.String()}) {
		return destination{literal: ip, port: port}, nil
	}
	if hop.MX {
		return destination{domain: hop.Host, port: port}, nil
	}
	return destination{host: hop.Host, port: port}, nil
}

// search begins to look for hosts.
func (o *Options) search(ctx context.Context, d destination) (*mx.Search, error) {
	switch {
	case d.domain != "":
		return o.Search.Domain(ctx, d.domain)
	case d.literal.IsValid():
		return o.Search.Address(d.literal), nil
	}
	return o.Search.Host(d.host), nil
}

// errUntrusted is the refusal of RFC 8689 §4.2.1, step 2: without DNSSEC or
// MTA-STS anybody could have named the mail host.
var errUntrusted = errors.New("its name does not come from a source that can be trusted")

// requireTLS is the policy of a message that carries REQUIRETLS.
func requireTLS(_ context.Context, domain string, t mx.Target) (mx.TLS, error) {
	if !t.Secure {
		return mx.Verified, fmt.Errorf("message requires TLS, but host %s of %s cannot be verified: %w", t, domain, errUntrusted)
	}
	return mx.Verified, nil
}
