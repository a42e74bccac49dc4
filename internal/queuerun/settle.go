package queuerun

import (
	"errors"
	"os"
	"slices"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/spool"
)

// rested notes that the message waits at least for a destination that rests.
// m.mu is held.
func (m *message) rested(wait time.Duration) {
	if m.restWait == 0 || wait < m.restWait {
		m.restWait = max(wait, time.Nanosecond)
	}
}

// recordDone writes down what is done while other destinations still work.
// What failed waits for the report.
func (m *message) recordDone(r *Runner) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pending == 0 {
		return // settle does it
	}
	m.linger = nil
	if err := m.record(r, m.done()); err != nil {
		m.log.Event(eventlog.Trouble, "reason", "cannot write the journal; it is tried again", "error", err)
	}
}

// record appends the results of targets to the journal. m.mu is held, or
// nobody else has the message.
func (m *message) record(r *Runner, targets []*target) error {
	if len(targets) == 0 {
		return nil
	}
	rest := m.siblings(targets)
	records := make([]spool.Record, 0, len(rest)+len(targets))
	for _, t := range rest { // first: a cut takes the end
		now := r.stamp()
		records = append(records, spool.Record{Time: now, Action: spool.Delayed, Original: t.key.Original, Final: t.key.Final, Next: now})
	}
	for _, t := range targets {
		records = append(records, spool.Record{Time: t.at, Action: t.action, Status: t.code, Original: t.key.Original,
			Final: t.key.Final, Host: t.host, Next: t.next, Reply: t.reply})
	}
	if err := r.queue.Record(m.id, records...); err != nil {
		return err
	}
	m.logged = true
	for _, t := range targets {
		t.recorded, t.noted = true, true
	}
	for _, t := range rest {
		t.noted = true
	}
	return nil
}

// siblings returns what else the recipients of targets stand for, as far as
// the journal does not know it: it must not call a recipient done while one of
// its addresses waits. What jobs under way write is not touched.
func (m *message) siblings(targets []*target) (rest []*target) {
	names, written := make(map[string]bool), make(map[*target]bool, len(targets))
	for _, t := range targets {
		written[t] = true
		names[t.key.Original] = names[t.key.Original] || t.key.Final != ""
	}
	for _, t := range m.targets {
		if names[t.key.Original] && t.key.Final != "" && !t.noted && m.state.Last[t.key] == nil && !written[t] {
			rest = append(rest, t)
		}
	}
	return rest
}

// settle ends an attempt: reports go out, and then either nothing is left and
// the message goes, or the journal says what is left.
func (r *Runner) settle(m *message) {
	if m.corrupt != nil || m.gone {
		r.giveUp(m)
		return
	}
	r.expire(m)
	r.plan(m)
	r.report(m)
	m.tell(r.now())
	r.store(m)
}

// giveUp lets go of a message that is damaged, or that somebody moved. What
// it did is in the journal, for whoever puts it back.
func (r *Runner) giveUp(m *message) {
	m.mu.Lock()
	if err := m.record(r, m.done()); err != nil {
		m.log.Event(eventlog.Trouble, "reason", "cannot write the journal of a message that goes", "error", err)
	}
	m.closeFile()
	m.mu.Unlock()
	if m.corrupt != nil {
		r.setCorrupt(m.id, m.corrupt)
		return
	}
	m.log.Event(eventlog.Vanished)
	r.forget(m.id)
}

// expire fails what could not be done within the lifetime of the message.
func (r *Runner) expire(m *message) {
	if r.now().Sub(m.arrived) < r.current().Lifetime {
		return
	}
	for _, t := range m.targets {
		if t.action != spool.Delayed {
			continue
		}
		t.early = false
		m.log.Event(eventlog.Expired, "to", t.name(), "reason", t.reply)
		t.action, t.left, t.recorded = spool.Failed, false, false
		t.code = "5.4.7" // RFC 3463 §3.5: delivery time expired
	}
}

// via is the server that had the target; "" if none did.
func (t *target) via() string {
	if t.hop.Address == "" {
		return ""
	}
	return t.hop.via()
}

func (t *target) name() string {
	if t.key.Final != "" {
		return t.key.Final
	}
	return t.key.Original
}

// plan gives the targets that are left the time of their next attempt.
func (r *Runner) plan(m *message) {
	wait := time.Duration(0)
	for _, t := range m.targets {
		if !t.left || t.recorded {
			continue
		}
		if wait == 0 {
			wait = r.retryAfter(t.delays)
		}
		t.next = r.stamp().Add(wait).Truncate(time.Second)
	}
	m.retryWait = wait
}

// tell logs what the attempt did.
func (m *message) tell(now time.Time) {
	age := max(now.Sub(m.arrived), 0).Round(time.Millisecond)
	for _, t := range m.targets {
		event := eventOf(t.action)
		if event == "" || t.early {
			continue
		}
		pairs := []any{"to", t.name(), "for", differs(t.key.Original, t.name()), "via", t.via(), "host", t.host, "destination", t.hop.Destination,
			"status", t.code, "reply", t.reply, "delay", age}
		if !t.next.IsZero() {
			pairs = append(pairs, "next", t.next)
		}
		m.log.Event(event, pairs...)
	}
}

func eventOf(a spool.Action) eventlog.Event {
	switch a {
	case spool.Delivered:
		return eventlog.Delivered
	case spool.Relayed:
		return eventlog.Relayed
	case spool.Failed:
		return eventlog.Failed
	case spool.Delayed:
		return eventlog.Deferred
	}
	return ""
}

// store makes the end of the attempt durable and lets go of the message. It
// does not give up: a result that is forgotten is a delivery that is repeated.
func (r *Runner) store(m *message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for failures := 0; ; failures++ {
		next, err := r.storeOnce(m)
		if err == nil {
			next()
			return
		}
		m.log.Event(eventlog.Trouble, "reason", "cannot write to the queue; it is tried again within ten seconds", "error", err)
		timer := time.NewTimer(again(failures, storeAgain))
		select {
		case <-r.jobs.Done():
			timer.Stop()
			m.closeFile()
			r.waitTrouble(m.id)
			return
		case <-timer.C:
		}
	}
}

// storeOnce returns what is to be done with the message in memory.
func (r *Runner) storeOnce(m *message) (next func(), err error) {
	if !m.undone() {
		return r.end(m)
	}
	if err := m.record(r, m.unrecorded()); err != nil {
		return nil, err
	}
	m.closeFile()
	wait := m.retryWait
	if wait == 0 || m.restWait > 0 && m.restWait < wait {
		wait = m.restWait
	}
	switch {
	case wait == 0:
		return func() { r.notTried(m) }, nil
	case m.untried():
		wait = min(wait, probeLast)
	default:
		r.obeyed(m.id)
	}
	return func() { r.wait(m.id, wait) }, nil
}

// untried reports whether something waits for another reason than its time.
func (m *message) untried() bool {
	return slices.ContainsFunc(m.targets, func(t *target) bool { return t.action == "" })
}

// notTried puts away a message of which nothing could be tried.
func (r *Runner) notTried(m *message) {
	if m.parkIn == nil {
		r.wait(m.id, busyAgain)
		return
	}
	r.park(m.id, m.parkIn)
}

// undone reports whether something is left to do.
func (m *message) undone() bool {
	return slices.ContainsFunc(m.targets, func(t *target) bool { return t.action == "" || t.left })
}

func (m *message) unrecorded() []*target {
	var some []*target
	for _, t := range m.targets {
		if t.action != "" && !t.recorded {
			some = append(some, t)
		}
	}
	return some
}

// end removes a message with which nothing is left to do. One that failed and
// whose sender cannot be told is kept in hold/ (RFC 5321 §6.1: a notification
// must not cause another).
func (r *Runner) end(m *message) (next func(), err error) {
	if !m.mustKeep() {
		err = r.queue.Finish(m.id, m.logged)
		if err != nil {
			return nil, err
		}
		m.closeFile()
		return func() { r.forget(m.id) }, nil
	}
	if err := m.record(r, m.unrecorded()); err != nil {
		return nil, err
	}
	if err := r.queue.SetAside(m.id); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	m.closeFile()
	m.log.Event(eventlog.Held, "reason", "a message without a sender failed, so nobody can be told")
	return func() { r.forget(m.id) }, nil
}

func (m *message) mustKeep() bool {
	if m.env.Sender != "" {
		return false
	}
	failed := func(t *target) bool { return t.action == spool.Failed }
	for _, last := range m.state.Last {
		if last.Action == spool.Failed {
			return true
		}
	}
	return slices.ContainsFunc(m.targets, failed)
}

// closeFile is close for the last user, with m.mu held.
func (m *message) closeFile() {
	if m.file != nil {
		m.file.Close()
		m.file, m.users = nil, 0
	}
}
