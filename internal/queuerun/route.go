package queuerun

import (
	"peyk/internal/address"
	"peyk/internal/status"
	"peyk/internal/table"
)

// Tables is the Router of a real system: the domain and alias tables, and the
// routes.
type Tables struct {
	Domains   *table.Domains
	Routes    table.Routes
	Separator string // of user and detail
	Hostname  string
	// Exists asks who has an account. It is asked only in domains with a
	// catch-all alias: elsewhere the mailbox server's refusal says the same.
	Exists func(address.Address) (bool, error)
}

// Route implements Router.
func (t *Tables) Route(recipient string) ([]Hop, error) {
	a, err := t.parse(recipient)
	if err != nil {
		return nil, err
	}
	local, err := t.Domains.Has(a.Domain)
	if err != nil {
		return nil, err
	}
	if !local {
		return []Hop{t.remote(a)}, nil
	}
	addrs, err := t.Domains.Resolve(a, t.Separator, t.exists)
	if err != nil {
		return nil, err
	}
	hops := make([]Hop, len(addrs))
	for i, a := range addrs {
		if hops[i], err = t.hop(a); err != nil {
			return nil, err
		}
	}
	return hops, nil
}

func (t *Tables) hop(a address.Address) (Hop, error) {
	local, err := t.Domains.Has(a.Domain)
	if local || err != nil {
		return Hop{Address: a.String(), Local: true}, err
	}
	return t.remote(a), nil
}

// remote groups by next hop: all domains behind one smarthost are one
// destination.
func (t *Tables) remote(a address.Address) Hop {
	next := t.Routes.For(a.Domain)
	if next.MX {
		return Hop{Address: a.String(), Destination: next.Host}
	}
	return Hop{Address: a.String(), Destination: next.String()}
}

// parse reads a recipient of an envelope. A bare postmaster (RFC 5321 §4.5.1)
// is that of the first domain that is here.
func (t *Tables) parse(recipient string) (address.Address, error) {
	a, err := address.ParsePath("<"+recipient+">", true)
	if err != nil || a.Domain != "" {
		return a, err
	}
	a.Domain = t.Hostname
	if local, err := t.Domains.Has(a.Domain); local || err != nil {
		return a, err
	}
	domains, err := t.Domains.List()
	if err != nil {
		return a, err
	}
	if len(domains) == 0 {
		return a, status.New(451, "4.3.5", "no local domain takes mail for postmaster")
	}
	a.Domain = domains[0]
	return a, nil
}

func (t *Tables) exists(a address.Address) (bool, error) {
	_, catchAll, err := t.Domains.Alias(address.Address{Local: "*", Domain: a.Domain})
	if err != nil || !catchAll || t.Exists == nil {
		return true, err
	}
	return t.Exists(a)
}
