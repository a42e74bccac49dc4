package queuerun

import (
	"container/heap"
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/spool"
)

// entry is one message of the queue: all that is kept of one that waits.
type entry struct {
	id    string
	due   time.Time // by the monotonic clock
	index int       // in the schedule; -1 when not in it
	again bool      // it came from the drop once more while it was active
	busy  bool      // it is active
	cut   bool      // an attempt was cut off, and may have delivered
	force bool      // everything is to be tried, whatever the journal says; until it was

	troubles uint8 // failures to read it, one after the other
}

// schedule is a heap of entries, the next one first.
type schedule []*entry

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].due.Before(s[j].due) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

// Push is for container/heap.
func (s *schedule) Push(x any) {
	e := x.(*entry)
	e.index = len(*s)
	*s = append(*s, e)
}

// Pop is for container/heap.
func (s *schedule) Pop() any {
	old := *s
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	e.index = -1
	return e
}

// schedule starts what is due, until ctx ends.
func (r *Runner) schedule(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	poll, swept := time.NewTimer(0), time.Time{}
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
			r.look()
			r.tidy()
			if now := r.o.Now(); now.Sub(swept) >= sweepEvery {
				swept = now
				r.sweep()
			}
			poll.Reset(r.pollEvery())
		case <-r.wake:
		case <-timer.C:
		}
		timer.Reset(r.startDue())
	}
}

func (r *Runner) pollEvery() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.settings.Poll, time.Second)
}

// startDue starts messages that are due, as far as there is room, and returns
// the time until the next one.
func (r *Runner) startDue() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.o.Now()
	next := min(r.local.release(r, now), r.remote.release(r, now))
	for len(r.waiting) > 0 && r.active < maxActive {
		e := r.waiting[0]
		if wait := e.due.Sub(now); wait > 0 {
			return min(wait, next)
		}
		r.begin(e)
	}
	return next
}

// begin makes an entry active. r.mu is held.
func (r *Runner) begin(e *entry) {
	if e.index >= 0 {
		heap.Remove(&r.waiting, e.index)
	}
	e.busy = true
	r.active++
	r.wg.Add(1) // rest has the Done
	go r.run(e.id, e.force, e.cut)
}

// arrive notes a message that came into the queue, or came again: it is tried
// now.
func (r *Runner) arrive(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	e := r.known[id]
	if e == nil {
		e = &entry{id: id, index: -1}
		r.known[id] = e
	}
	e.force = true
	switch {
	case e.busy:
		e.again = true
	case r.active < 2*maxActive: // new mail passes before old mail
		r.begin(e)
	default:
		r.setDue(e, r.o.Now())
	}
}

// park takes a message out of memory that waits for something other than a
// time: in puts it where that something finds it.
func (r *Runner) park(id string, in func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.rest(id)
	if e.again {
		e.again = false
		r.setDue(e, r.o.Now())
		return
	}
	in()
}

// cutOff notes that it is not known whether an attempt delivered. That stays
// so for as long as the message is here.
func (r *Runner) cutOff(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[id].cut = true
}

// obeyed notes that everything that was to be tried was.
func (r *Runner) obeyed(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.known[id]; !e.again {
		e.force = false
	}
}

// wait puts a message back to sleep after an attempt.
func (r *Runner) wait(id string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sleep(id, d).troubles = 0
}

// waitTrouble puts a message back that could not be tried for a fault of ours.
func (r *Runner) waitTrouble(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.known[id]
	r.sleep(id, again(int(e.troubles), troubleAgain))
	if e.troubles < 255 {
		e.troubles++
	}
}

// again is how long to wait after n failures and one: a second at first, as
// most trouble is over soon, then twice as long each time.
func again(n int, most time.Duration) time.Duration {
	return min(time.Second<<min(n, 10), most)
}

// sleep gives an entry that was active its time. r.mu is held.
func (r *Runner) sleep(id string, d time.Duration) *entry {
	e := r.rest(id)
	if e.again {
		e.again, d = false, 0
	}
	r.setDue(e, r.o.Now().Add(d))
	return e
}

// forget drops a message with which the queue is done.
func (r *Runner) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.rest(id)
	if e.again { // it was put back meanwhile, under the same id
		e.again = false
		r.setDue(e, r.o.Now())
		return
	}
	delete(r.known, id)
}

// rest makes an entry inactive. r.mu is held.
func (r *Runner) rest(id string) *entry {
	e := r.known[id]
	e.busy = false
	r.active--
	r.wg.Done()
	if r.active == maxActive-1 && len(r.waiting) > 0 {
		r.poke()
	}
	return e
}

// setDue gives an entry its time. r.mu is held.
func (r *Runner) setDue(e *entry, due time.Time) {
	e.due = due
	if e.index >= 0 {
		heap.Fix(&r.waiting, e.index)
	} else {
		heap.Push(&r.waiting, e)
	}
	if e.index == 0 {
		r.poke()
	}
}

// flush makes every waiting message due now.
func (r *Runner) flush() {
	r.mu.Lock()
	now := r.o.Now()
	for _, e := range r.waiting {
		e.due, e.force = now, true
	}
	n := len(r.waiting)
	r.local.forgive()
	r.remote.forgive()
	r.mu.Unlock()
	r.log.Event(eventlog.Flushed, "messages", n)
	r.poke()
}

// readOld finds out when the messages that were in the queue at the start are
// due. New mail does not wait for it.
func (r *Runner) readOld(ctx context.Context, ids []string) {
	for _, id := range ids {
		if ctx.Err() != nil {
			return
		}
		r.remember(id, r.untilNext(id))
	}
}

// remember adds a message of the start.
func (r *Runner) remember(id string, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known[id] == nil {
		e := &entry{id: id, index: -1, cut: true} // nobody knows what the last queue-run was doing
		r.known[id] = e
		r.setDue(e, r.o.Now().Add(wait))
	}
}

// untilNext reads from the journal how long a message waits. A clock that was
// set back must not make it wait longer than its longest interval.
func (r *Runner) untilNext(id string) time.Duration {
	records, err := r.queue.Journal(id)
	if err != nil {
		return 0 // run meets the same error, and deals with it
	}
	next := spool.Fold(records).Next
	if next.IsZero() {
		return 0
	}
	return min(max(next.Sub(r.stamp()), 0), r.longest())
}

// longest is the longest wait there is.
func (r *Runner) longest() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Max(r.settings.Retry) * 6 / 5
}

// retryAfter returns the wait before the attempt that follows n others, spread
// by a fifth either way so that what failed together does not come together.
func (r *Runner) retryAfter(n int) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.spread(r.settings.Retry[min(max(n, 0), len(r.settings.Retry)-1)])
}

// spread returns d ±20 %. r.mu is held.
func (r *Runner) spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*r.random.Float64()))
}

func (r *Runner) sweep() {
	n, err := r.queue.Sweep(r.o.Now())
	if err != nil {
		r.log.Event(eventlog.Trouble, "reason", "cannot sweep the drop", "error", err)
	}
	if n > 0 {
		r.log.Event(eventlog.Repaired, "file", "drop/tmp", "did", "removed unfinished messages of writers that died", "messages", n)
	}
}

// tidy closes connections and forgets lanes that nobody used lately.
func (r *Runner) tidy() {
	now := r.o.Now()
	r.local.pool.prune(now)
	r.remote.pool.prune(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.local.prune(now)
	r.remote.prune(now)
}

// look takes everything that is in the drop.
func (r *Runner) look() {
	names, err := r.queue.Dropped()
	if err != nil {
		r.log.Event(eventlog.Trouble, "reason", "cannot read the drop; it is read again after queue-poll", "error", err)
		return
	}
	r.take(names)
}

// take takes files from the drop into the queue.
func (r *Runner) take(names []string) {
	for _, name := range names {
		if r.queue.TakeFlush(name) {
			r.flush()
			continue
		}
		err := r.queue.Take(name)
		switch {
		case err == nil:
			r.arrive(name)
		case errors.Is(err, os.ErrNotExist): // told twice: by the watch and by the poll
		case errors.Is(err, spool.ErrCorrupt):
			r.log.Event(eventlog.Corrupt, "file", name, "reason", err)
		default:
			r.log.Event(eventlog.Trouble, "queue", name, "reason", "cannot take a message from the drop; it is tried again after queue-poll", "error", err)
		}
	}
}
