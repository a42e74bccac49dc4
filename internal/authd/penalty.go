package authd

import (
	"net/netip"
	"sync"
	"time"
)

// How a network that keeps failing is slowed down.
const (
	freeFailures  = 3                // failures that cost nothing
	longestDelay  = 15 * time.Second // less than what clients of the protocol wait
	forgiveness   = time.Minute      // in which one failure is forgotten
	maxPenalties  = 10000            // networks remembered
	maxRemembered = 20               // failures that count
)

// penalties counts failed logins by network.
type penalties struct {
	now func() time.Time

	mu   sync.Mutex
	nets map[netip.Prefix]penalty
}

type penalty struct {
	failures int
	last     time.Time
}

// left returns how many failures count at a moment.
func (p penalty) left(now time.Time) int {
	return max(0, p.failures-int(now.Sub(p.last)/forgiveness))
}

// network returns the part of an address that is counted together: a /24 of
// IPv4, a /64 of IPv6 (which one customer has).
func network(ip netip.Addr) netip.Prefix {
	if !ip.IsValid() {
		return netip.Prefix{}
	}
	bits := 64
	if ip.Is4() {
		bits = 24
	}
	p, _ := ip.Prefix(bits)
	return p
}

// failures returns how many failed logins of a network count now.
func (p *penalties) failures(net netip.Prefix) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nets[net].left(p.now())
}

// add counts a failed login.
func (p *penalties) add(net netip.Prefix) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	old, known := p.nets[net]
	if !known && len(p.nets) >= maxPenalties {
		p.makeRoom(now)
	}
	if p.nets == nil {
		p.nets = make(map[netip.Prefix]penalty)
	}
	p.nets[net] = penalty{min(old.left(now)+1, maxRemembered), now}
}

// makeRoom forgets who is forgiven, or else a tenth of all, of those who failed
// least: an attacker with many networks must not wash the worst ones out, nor
// have us search them each time.
func (p *penalties) makeRoom(now time.Time) {
	least := maxRemembered + 1
	for net, q := range p.nets {
		n := q.left(now)
		if n == 0 {
			delete(p.nets, net)
			continue
		}
		least = min(least, n)
	}
	for net, q := range p.nets {
		if len(p.nets) <= maxPenalties*9/10 {
			return
		}
		if q.left(now) <= least {
			delete(p.nets, net)
		}
	}
}

// delay returns how long a network with that many failures waits.
func delay(first time.Duration, failures int) time.Duration {
	if failures < freeFailures || first <= 0 {
		return 0
	}
	d := first
	for range failures - freeFailures {
		if d >= longestDelay {
			break
		}
		d *= 2
	}
	return min(d, longestDelay)
}
