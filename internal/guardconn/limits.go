package guardconn

import (
	"net/netip"
	"sync"
)

// A Reason says which limit a connection met; it is the name of the control
// that sets it.
type Reason string

// The reasons for which a connection is refused.
const (
	TooMany           Reason = "connections"
	TooManyPerAddress Reason = "connections-per-address"
	TooManyPerPrefix  Reason = "connections-per-prefix"
)

// Limits counts connections. It remembers nothing about a client that has no
// connection, so its memory is bounded by the connections themselves. A nil
// *Limits admits everybody.
type Limits struct {
	mu        sync.Mutex
	max       Max
	total     int
	addresses map[netip.Addr]int
	prefixes  map[netip.Prefix]int
}

// Max holds the most connections at one time; 0 is no limit.
type Max struct {
	Total      int
	PerAddress int
	PerPrefix  int // per /24 of IPv4, per /64 of IPv6
}

// NewLimits returns limits for one server, that is for all its listeners.
func NewLimits(m Max) *Limits {
	return &Limits{max: m, addresses: map[netip.Addr]int{}, prefixes: map[netip.Prefix]int{}}
}

// Set changes the limits. Connections over a lowered limit stay.
func (l *Limits) Set(m Max) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.max = m
}

// Enter counts a connection from a, which may be the invalid address of a
// Unix socket: then only the total counts. It returns the function that gives
// the place back, to be called once, or the limit that was met.
func (l *Limits) Enter(a netip.Addr) (leave func(), met Reason) {
	if l == nil {
		return func() {}, ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if met = l.met(a); met != "" {
		return nil, met
	}
	l.total++
	if !a.IsValid() {
		return l.exit, ""
	}
	p := prefix(a)
	l.addresses[a]++
	l.prefixes[p]++
	return func() { l.left(a, p) }, ""
}

func (l *Limits) met(a netip.Addr) Reason {
	switch {
	case reached(l.total, l.max.Total):
		return TooMany
	case !a.IsValid():
		return ""
	case reached(l.addresses[a], l.max.PerAddress):
		return TooManyPerAddress
	case reached(l.prefixes[prefix(a)], l.max.PerPrefix):
		return TooManyPerPrefix
	}
	return ""
}

func reached(n, limit int) bool { return limit > 0 && n >= limit }

func (l *Limits) left(a netip.Addr, p netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	decrement(l.addresses, a)
	decrement(l.prefixes, p)
}

func decrement[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

// enter counts a connection whose client is not known yet.
func (l *Limits) enter() Reason {
	_, met := l.Enter(netip.Addr{})
	return met
}

func (l *Limits) exit() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
}

// Total returns how many connections are counted now.
func (l *Limits) Total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// prefix returns the network that one customer is commonly given.
func prefix(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, _ := a.Prefix(bits) // fails for a wrong number of bits only
	return p
}
