// Package mx finds the hosts that take mail for a domain (RFC 5321 §5.1): MX
// records with fallback to the domain's own address, in the order of
// preference and at random among equals, and refuses what cannot work: null
// MX (RFC 7505), hosts that are ourselves, addresses of this machine.
package mx

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"peyk/internal/status"
)

// Searcher looks for hosts. One serves a whole process.
type Searcher struct {
	Resolver Resolver
	Rand     io.Reader // order among equals

	Self          []string     // names of this host: an MX of such a name is ourselves
	SelfAddresses []netip.Addr // its addresses
	MaxHosts      int          // most MX records looked at, 0 = 10
	MaxAddresses  int          // most addresses given out in one search, 0 = 20
	NoIPv4        bool         // leave out IPv4 addresses
	NoIPv6        bool         // leave out IPv6 addresses
}

// Target is one address of one host to try.
type Target struct {
	Name   string     // what to verify in the certificate and to log
	Addr   netip.Addr // where to connect
	Secure bool       // name and address came from validated DNS
}

// String is "mx.example.org[192.0.2.1]", or "[192.0.2.1]" where there is no
// name.
func (t Target) String() string {
	if t.Name == "" || strings.Trim(t.Name, "[]") == t.Addr.String() {
		return "[" + t.Addr.String() + "]"
	}
	return t.Name + "[" + t.Addr.String() + "]"
}

// TLS says how much protection a connection must have before mail may be
// sent on it.
type TLS int

// The levels of TLS.
const (
	Opportunistic TLS = iota // TLS where offered, any certificate, else clear text
	Verified                 // TLS and a certificate for the host's name, or no mail
)

// A Policy raises the level of TLS for one target of a domain, or forbids it
// with an error. The levels of several policies add up to the strictest. Rules
// that domains publish (DANE, RFC 7672; MTA-STS, RFC 8461) and those that a
// message brings along (REQUIRETLS, RFC 8689) are policies.
type Policy func(ctx context.Context, domain string, t Target) (TLS, error)

// Require asks every policy and returns the strictest level.
func Require(ctx context.Context, domain string, t Target, policies []Policy) (TLS, error) {
	level := Opportunistic
	for _, p := range policies {
		l, err := p(ctx, domain, t)
		if err != nil {
			return level, err
		}
		level = max(level, l)
	}
	return level, nil
}

// Search is a search in progress: Next gives the targets one by one, so that
// addresses are looked up only as far as they are needed.
type Search struct {
	s       *Searcher
	domain  string
	hosts   []host // not yet resolved, in order
	ready   []Target
	given   int
	failure *status.Error // why hosts were passed over; temporary reasons win
	literal bool          // a route names the host: no checks for loops
}

type host struct {
	name       string
	preference uint16
	secure     bool
	implicit   bool // the domain itself, in want of MX records
}

// Domain begins a search for a domain's mail hosts. The error is a
// *status.Error: 5.1.2 (no such domain), 5.1.10 (null MX), 4.4.3 (DNS does not
// answer).
func (s *Searcher) Domain(ctx context.Context, domain string) (*Search, error) {
	if !validName(domain) {
		return nil, status.Newf(550, "5.1.2", "cannot look up %s: not a domain name", clean(domain))
	}
	a, err := s.Resolver.Lookup(ctx, domain, dns.TypeMX)
	if err != nil {
		return nil, unanswered(domain, err)
	}
	if a.NotFound {
		return nil, noDomain(domain)
	}
	hosts := mxHosts(a)
	if isNull(hosts) {
		// RFC 7505 §4.1, §5: the domain takes no mail at all.
		return nil, status.Newf(556, "5.1.10", "domain %s does not accept mail (null MX)", domain)
	}
	if len(a.Records) == 0 {
		// RFC 5321 §5.1: the domain is its own MX with preference 0.
		hosts = []host{{name: domain, secure: a.Secure, implicit: true}}
	}
	if err := s.order(hosts); err != nil {
		return nil, status.Of(err)
	}
	return s.begin(domain, hosts[:min(len(hosts), s.maxHosts())]), nil
}

// Host begins a search for the addresses of one host that a route names: no
// MX records, and addresses of this machine are allowed.
func (s *Searcher) Host(name string) *Search {
	search := s.begin(name, []host{{name: name, secure: true}})
	search.literal = true
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		search.hosts = nil
		search.ready = []Target{{Addr: addr.Unmap(), Name: name, Secure: true}}
	}
	return search
}

// Address begins a search that ends at the address of a domain literal such
// as user@[192.0.2.1] (RFC 5321 §4.1.3). Addresses of this machine are
// refused.
func (s *Searcher) Address(addr netip.Addr) *Search {
	search := s.begin("["+addr.String()+"]", nil)
	search.ready = []Target{{Addr: addr.Unmap()}}
	if s.isSelf(addr.Unmap()) {
		search.ready = nil
		search.fail(loop(search.domain))
	}
	return search
}

func (s *Searcher) begin(domain string, hosts []host) *Search {
	return &Search{s: s, domain: domain, hosts: hosts}
}

// Next returns the next target to try. io.EOF says there are no more; a
// *status.Error, that there was none at all: 5.4.6 (the best host is
// ourselves), 5.4.4 (no host has an address), 4.4.3 (DNS does not answer).
func (q *Search) Next(ctx context.Context) (Target, error) {
	for len(q.ready) == 0 {
		if len(q.hosts) == 0 || q.given >= q.s.maxAddresses() {
			return Target{}, q.end()
		}
		if err := q.resolveLevel(ctx); err != nil {
			return Target{}, err
		}
	}
	if q.given >= q.s.maxAddresses() {
		return Target{}, q.end()
	}
	t := q.ready[0]
	q.ready = q.ready[1:]
	q.given++
	return t, nil
}

func (q *Search) end() error {
	if q.given > 0 {
		return io.EOF
	}
	switch {
	case q.failure != nil:
		return q.failure
	case q.literal:
		// The domain is not to blame: an admin will mend the route.
		return status.Newf(451, "4.3.5", "cannot find the host %s that the routes name", q.domain)
	}
	return status.Newf(550, "5.4.4", "no mail host of %s has an address", q.domain)
}

// resolveLevel looks up the addresses of the hosts that share the lowest
// preference. When one of them is ourselves, mail must not go to it, nor to
// any host of the same or a higher number (RFC 5321 §5.1).
func (q *Search) resolveLevel(ctx context.Context) error {
	n := 1
	for n < len(q.hosts) && q.hosts[n].preference == q.hosts[0].preference {
		n++
	}
	level := q.hosts[:n]
	q.hosts = q.hosts[n:]
	var found []Target
	for _, h := range level {
		targets, err := q.addresses(ctx, h)
		if err != nil {
			return err
		}
		if q.isSelf(h, targets) {
			q.hosts, found = nil, nil
			q.fail(loop(q.domain))
			break
		}
		found = append(found, targets...)
	}
	q.ready = q.usable(found)
	return nil
}

func (q *Search) isSelf(h host, targets []Target) bool {
	if q.literal {
		return false
	}
	if !h.implicit && slices.ContainsFunc(q.s.Self, func(name string) bool { return strings.EqualFold(name, h.name) }) {
		return true
	}
	return slices.ContainsFunc(targets, func(t Target) bool { return slices.Contains(q.s.SelfAddresses, t.Addr) })
}

// usable drops addresses that lead back to this machine or nowhere.
func (q *Search) usable(targets []Target) []Target {
	if q.literal {
		return targets
	}
	kept := targets[:0]
	for _, t := range targets {
		if unroutable(t.Addr) {
			q.fail(loop(q.domain))
			continue
		}
		kept = append(kept, t)
	}
	return kept
}

func (s *Searcher) isSelf(a netip.Addr) bool {
	return unroutable(a) || slices.Contains(s.SelfAddresses, a)
}

// unroutable reports an address that no other mail host can have.
func unroutable(a netip.Addr) bool {
	return a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() ||
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// addresses returns the addresses of a host in the order to try them. A host
// that cannot be resolved is passed over and remembered. Only the end of ctx
// is an error.
func (q *Search) addresses(ctx context.Context, h host) ([]Target, error) {
	var v4, v6 []Target
	secure := h.secure
	for _, kind := range q.s.kinds() {
		a, err := q.s.Resolver.Lookup(ctx, h.name, kind)
		if ctx.Err() != nil {
			return nil, unanswered(h.name, ctx.Err())
		}
		if err != nil {
			q.fail(unanswered(h.name, err))
			continue
		}
		secure = secure && a.Secure
		v4, v6 = collect(a.Records, h, v4, v6)
		if a.NotFound {
			break // RFC 2308 §2.1: for no type
		}
	}
	targets, err := q.s.interleave(v6, v4)
	if err != nil {
		return nil, status.Of(err)
	}
	for i := range targets {
		targets[i].Secure = secure || (q.literal && h.secure)
	}
	return targets, nil
}

func (s *Searcher) kinds() []uint16 {
	var kinds []uint16
	if !s.NoIPv6 {
		kinds = append(kinds, dns.TypeAAAA)
	}
	if !s.NoIPv4 {
		kinds = append(kinds, dns.TypeA)
	}
	return kinds
}

func collect(records []dns.RR, h host, v4, v6 []Target) (a, b []Target) {
	for _, rr := range records {
		switch rr := rr.(type) {
		case *dns.A:
			if addr, ok := netip.AddrFromSlice(rr.A.To4()); ok {
				v4 = append(v4, Target{Name: h.name, Addr: addr})
			}
		case *dns.AAAA:
			if addr, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok {
				v6 = append(v6, Target{Name: h.name, Addr: addr.Unmap()})
			}
		}
	}
	return v4, v6
}

// interleave shuffles both families and takes turns, IPv6 first: a host whose
// IPv6 is broken costs one attempt, not all that are allowed.
func (s *Searcher) interleave(v6, v4 []Target) ([]Target, error) {
	if err := shuffle(s.Rand, v6); err != nil {
		return nil, err
	}
	if err := shuffle(s.Rand, v4); err != nil {
		return nil, err
	}
	var all []Target
	for i := range max(len(v6), len(v4)) {
		if i < len(v6) {
			all = append(all, v6[i])
		}
		if i < len(v4) {
			all = append(all, v4[i])
		}
	}
	return all, nil
}

// fail remembers why a host was passed over. A reason that may go away wins:
// mail is not returned while there is hope.
func (q *Search) fail(e *status.Error) {
	if q.failure == nil || (!q.failure.Temporary() && e.Temporary()) {
		q.failure = e
	}
}

// order sorts by preference, at random among equals (RFC 5321 §5.1).
func (s *Searcher) order(hosts []host) error {
	if err := shuffle(s.Rand, hosts); err != nil {
		return err
	}
	slices.SortStableFunc(hosts, func(a, b host) int { return cmp.Compare(a.preference, b.preference) })
	return nil
}

func (s *Searcher) maxHosts() int {
	if s.MaxHosts == 0 {
		return 10
	}
	return s.MaxHosts
}

func (s *Searcher) maxAddresses() int {
	if s.MaxAddresses == 0 {
		return 20
	}
	return s.MaxAddresses
}

// shuffle is Fisher and Yates's, fed by r: 32 bits for each step make its bias
// smaller than anybody could see.
func shuffle[T any](r io.Reader, list []T) error {
	var b [4]byte
	for i := len(list) - 1; i > 0; i-- {
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return err
		}
		j := int(binary.BigEndian.Uint32(b[:]) % uint32(i+1))
		list[i], list[j] = list[j], list[i]
	}
	return nil
}

func mxHosts(a Answer) []host {
	var hosts []host
	for _, rr := range a.Records {
		m, ok := rr.(*dns.MX)
		if !ok {
			continue
		}
		hosts = append(hosts, host{
			name:       strings.ToLower(strings.TrimSuffix(m.Mx, ".")),
			preference: m.Preference,
			secure:     a.Secure,
		})
	}
	return hosts
}

// isNull reports the null MX of RFC 7505 §3: the only record, pointing at the
// root.
func isNull(hosts []host) bool { return len(hosts) == 1 && hosts[0].name == "" }

func noDomain(domain string) *status.Error {
	return status.Newf(550, "5.1.2", "domain %s does not exist", domain)
}

func loop(domain string) *status.Error {
	return status.Newf(550, "5.4.6", "mail for %s loops back to this host", domain)
}

func unanswered(name string, err error) *status.Error {
	return status.Newf(451, "4.4.3", "cannot look up %s in DNS now", name).Because("look up", err)
}

// validName reports whether a name may be put into a query.
func validName(name string) bool {
	_, ok := dns.IsDomainName(name)
	return ok && name != "" && name != "." && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' })
}

func clean(s string) string { return fmt.Sprintf("%.100q", s) }
