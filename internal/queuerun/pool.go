package queuerun

import (
	"context"
	"sync"
	"time"
)

// maxIdle is how long a connection is kept without use.
const maxIdle = time.Minute

// pool keeps connections to one LMTP server open between messages.
type pool struct {
	dial Dialer
	mu   sync.Mutex
	idle []idleCarrier // the one used last is last
}

type idleCarrier struct {
	Carrier
	since time.Time
}

// get returns a connection, and whether it was used before.
func (p *pool) get(ctx context.Context) (c Carrier, used bool, err error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c = p.idle[n-1].Carrier
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, true, nil
	}
	p.mu.Unlock()
	c, err = p.dial(ctx)
	return c, false, err
}

// put gives back a connection that works.
func (p *pool) put(c Carrier, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, idleCarrier{c, now})
}

// prune closes connections that were idle too long.
func (p *pool) prune(now time.Time) {
	p.mu.Lock()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].since) > maxIdle {
		n++
	}
	old := p.idle[:n:n]
	p.idle = append([]idleCarrier(nil), p.idle[n:]...)
	p.mu.Unlock()
	for _, c := range old {
		c.Close()
	}
}

func (p *pool) closeAll() { p.prune(time.Unix(1<<40, 0)) }
