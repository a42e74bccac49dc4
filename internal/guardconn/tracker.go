package guardconn

import (
	"context"
	"sync"
)

// A Tracker knows the live connections of a server, so that a shutdown can
// end them in order. The zero value is ready to use; a nil *Tracker tracks
// nothing.
type Tracker struct {
	mu       sync.Mutex
	conns    map[*Conn]struct{}
	draining bool
	empty    chan struct{} // made by Drain, closed when the last connection ends
}

// add reports whether c may live: after Drain, no connection may.
func (t *Tracker) add(c *Conn) bool {
	if t == nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining {
		return false
	}
	if t.conns == nil {
		t.conns = map[*Conn]struct{}{}
	}
	t.conns[c] = struct{}{}
	return true
}

func (t *Tracker) remove(c *Conn) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
	if t.empty != nil && len(t.conns) == 0 {
		close(t.empty)
		t.empty = nil
	}
}

// Len returns the number of live connections.
func (t *Tracker) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns)
}

// Drain interrupts every connection: as soon as its session waits for a
// command, its Read returns ErrShutdown, and a client in the midst of sending
// data may end that. What is still alive when ctx ends is closed. Drain
// returns when no connection is left, and how many it had to close.
func (t *Tracker) Drain(ctx context.Context) (cut int) {
	conns, empty := t.begin()
	for _, c := range conns {
		c.Interrupt()
	}
	if empty == nil {
		return 0
	}
	select {
	case <-empty:
		return 0
	case <-ctx.Done():
	}
	conns = t.live()
	for _, c := range conns {
		c.Close()
	}
	return len(conns)
}

func (t *Tracker) begin() ([]*Conn, chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.draining = true
	if len(t.conns) == 0 {
		return nil, nil
	}
	if t.empty == nil {
		t.empty = make(chan struct{})
	}
	return t.list(), t.empty
}

func (t *Tracker) live() []*Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list()
}

func (t *Tracker) list() []*Conn {
	list := make([]*Conn, 0, len(t.conns))
	for c := range t.conns {
		list = append(list, c)
	}
	return list
}
