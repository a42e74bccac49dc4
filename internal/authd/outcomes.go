package authd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// maxOutcomes is the most logins that are remembered.
const maxOutcomes = 10000

// errUnfinished is a computation that ended without a result.
var errUnfinished = errors.New("the computation did not end")

// outcomes remembers for a short while which passwords were right and which
// were wrong. Its keys are HMACs, under a key that never leaves the process,
// of the account, its hash as it stands in the table, and the password: a
// changed table changes the key, so nothing outlives a change. Equal logins
// that arrive together are computed once.
type outcomes struct {
	key [32]byte
	now func() time.Time

	mu   sync.Mutex
	keep time.Duration
	all  map[outcomeKey]*outcome
}

type outcomeKey [sha256.Size]byte

// outcome is one login, perhaps still being computed.
type outcome struct {
	done  chan struct{} // closed when the rest is set
	ok    bool
	err   error
	until time.Time
}

func newOutcomes(now func() time.Time, keep time.Duration) *outcomes {
	o := &outcomes{now: now, keep: keep}
	rand.Read(o.key[:]) // does not fail: crypto/rand crashes the process instead
	return o
}

func (o *outcomes) keyOf(parts ...string) (key outcomeKey) {
	mac := hmac.New(sha256.New, o.key[:])
	for _, p := range parts {
		sum := sha256.Sum256([]byte(p)) // of fixed length, so that no two lists are alike
		mac.Write(sum[:])
	}
	mac.Sum(key[:0])
	return key
}

// known returns an outcome that is remembered.
func (o *outcomes) known(key outcomeKey) (ok, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	have := o.all[key]
	if have == nil || !have.finished() || have.err != nil || !o.now().Before(have.until) {
		return false, false
	}
	return have.ok, true
}

func (c *outcome) finished() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// get returns the outcome of a login, by compute unless it is remembered or
// being computed already.
func (o *outcomes) get(ctx context.Context, key outcomeKey, compute func() (bool, error)) (bool, error) {
	for {
		mine, other := o.begin(key)
		if mine != nil {
			o.compute(key, mine, compute)
			return mine.ok, mine.err
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		if other.err == nil {
			return other.ok, nil
		}
		if ctx.Err() != nil { // whoever computed it gave up; we need not
			return false, ctx.Err()
		}
	}
}

// begin returns the outcome to compute, or the one that another computes or
// has computed.
func (o *outcomes) begin(key outcomeKey) (mine, other *outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	have := o.all[key]
	if have != nil && (!have.finished() || have.err == nil && o.now().Before(have.until)) {
		return nil, have
	}
	o.makeRoom()
	mine = &outcome{done: make(chan struct{})}
	o.all[key] = mine
	return mine, nil
}

func (o *outcomes) compute(key outcomeKey, c *outcome, compute func() (bool, error)) {
	c.err = errUnfinished // what remains if compute panics
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		c.until = o.now().Add(o.keep)
		close(c.done)
		if (c.err != nil || o.keep <= 0) && o.all[key] == c {
			delete(o.all, key)
		}
	}()
	c.ok, c.err = compute()
}

// makeRoom drops what is over, and everything finished when that is not
// enough.
func (o *outcomes) makeRoom() {
	if o.all == nil {
		o.all = make(map[outcomeKey]*outcome)
	}
	if len(o.all) < maxOutcomes {
		return
	}
	now := o.now()
	for pass := range 2 {
		for key, c := range o.all {
			if c.finished() && (pass == 1 || !now.Before(c.until)) {
				delete(o.all, key)
			}
		}
		if len(o.all) < maxOutcomes {
			return
		}
	}
}

// forget drops everything that is finished, and sets how long outcomes are
// kept from now on.
func (o *outcomes) forget(keep time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keep = keep
	for key, c := range o.all {
		if c.finished() {
			delete(o.all, key)
		}
	}
}
