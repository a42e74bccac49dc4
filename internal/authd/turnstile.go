package authd

import (
	"context"
	"slices"
	"sync"
)

// turnstile bounds the hashes that are computed at one time, and is fair: of
// those that wait, the network that has been served least comes first, so that
// a flood from one delays nobody else by more than the hashes under way.
type turnstile struct {
	mu      sync.Mutex
	free    int
	waiting []*waiter
	served  map[string]int // by network, since somebody began to wait
}

// maxServed is the most networks whose turns are counted; then the count
// begins anew.
const maxServed = 10000

type waiter struct {
	network string
	open    chan struct{} // closed when it is the waiter's turn
}

func newTurnstile(parallel int) *turnstile {
	return &turnstile{free: parallel, served: make(map[string]int)}
}

// enter waits for a turn; leave must be called after nil.
func (t *turnstile) enter(ctx context.Context, network string) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.served[network]++
		t.mu.Unlock()
		return nil
	}
	w := &waiter{network, make(chan struct{})}
	t.waiting = append(t.waiting, w)
	t.mu.Unlock()
	select {
	case <-w.open:
		return nil
	case <-ctx.Done():
		t.giveUp(w)
		return ctx.Err()
	}
}

// giveUp removes a waiter. Its turn may have come at the same moment.
func (t *turnstile) giveUp(w *waiter) {
	t.mu.Lock()
	i := slices.Index(t.waiting, w)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 {
		t.leave()
	}
}

// leave gives the turn to the next one.
func (t *turnstile) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.free++
		clear(t.served)
		return
	}
	next := 0
	for i, w := range t.waiting {
		if t.served[w.network] < t.served[t.waiting[next].network] {
			next = i
		}
	}
	w := t.waiting[next]
	t.waiting = slices.Delete(t.waiting, next, next+1)
	if len(t.served) >= maxServed {
		clear(t.served)
	}
	t.served[w.network]++
	close(w.open)
}
