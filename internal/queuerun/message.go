package queuerun

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/spool"
	"peyk/internal/status"
)

// maxTransaction is how many recipients go into one transaction: what every
// server must take (RFC 5321 §4.5.3.1.8).
const maxTransaction = 100

// lingers is how long what one destination answered stays unwritten while
// another one still works: most answer at once, and then nothing is written.
const lingers = 500 * time.Millisecond

// message is a message in memory, during one attempt.
type message struct {
	id      string
	log     *eventlog.Log
	env     *envelope.Envelope
	arrived time.Time
	logged  bool // it has a journal
	cut     bool // an earlier attempt was cut off, and may have delivered
	state   spool.State
	targets []*target // with which something is to be done in this attempt

	mu       sync.Mutex
	file     *spool.Message // nil while closed
	users    int            // of file
	pending  int            // jobs without an outcome, and one for run itself
	finished []*job
	corrupt  error // found while it was read
	gone     bool  // somebody moved it
	linger   *time.Timer

	restWait  time.Duration // shortest wait for a destination that rests; 0 = none
	retryWait time.Duration // wait for the next attempt; 0 = none is due

	parkIn func() // guarded by Runner.mu: where it waits if it was not tried
}

// target is one recipient after aliases.
type target struct {
	key    spool.Target
	rcpt   envelope.Recipient // for the transaction
	orcpt  string             // for a report: what the sender called it
	hop    Hop
	delays int // attempts so far
	warned bool
	result
	recorded bool // the result is in the journal
	left     bool // it has a result, but must be tried again
	noted    bool // the journal has a line about it; guarded by message.mu
	early    bool // it was left out of this attempt
}

// result is what an attempt did for a target.
type result struct {
	action spool.Action // "" = nothing was tried
	code   string       // enhanced status code
	host   string
	reply  string
	at     time.Time
	next   time.Time
}

// run makes one attempt at a message.
func (r *Runner) run(id string, force, cut bool) {
	r.opening <- struct{}{}
	m, err := r.load(id, force)
	if err != nil {
		<-r.opening
		r.cannotLoad(id, err)
		return
	}
	m.cut = cut
	jobs := r.jobsOf(m)
	m.pending = len(jobs) + 1
	start, refused := r.submit(jobs)
	for _, j := range refused {
		j.settleRefused(r)
		m.completed(r, j)
	}
	held := len(jobs) == len(refused) || starts(start, m)
	if !held {
		m.close() // its jobs wait, as those of many others may: no file, no buffer
	}
	<-r.opening
	r.workAll(start, m)
	if held {
		m.letGo()
	}
	m.completed(r, nil)
}

func starts(jobs []*job, m *message) bool {
	return slices.ContainsFunc(jobs, func(j *job) bool { return j.message == m })
}

// letGo closes the file when jobs are left that wait: many may.
func (m *message) letGo() {
	m.mu.Lock()
	others := m.pending > 1
	m.mu.Unlock()
	if others {
		m.close()
	}
}

func (r *Runner) cannotLoad(id string, err error) {
	switch {
	case errors.Is(err, os.ErrNotExist):
		r.log.Event(eventlog.Vanished, "queue", id)
		r.forget(id)
	case errors.Is(err, spool.ErrCorrupt), errors.Is(err, spool.ErrJournal):
		r.setCorrupt(id, err)
	case errors.Is(err, spool.ErrBusy):
		r.wait(id, busyAgain)
	default:
		r.log.Event(eventlog.Trouble, "queue", id, "reason", "cannot read a message; it is tried again within a minute", "error", err)
		r.waitTrouble(id)
	}
}

// setCorrupt moves a message to corrupt/.
func (r *Runner) setCorrupt(id string, why error) {
	if err := r.queue.Corrupt(id); err != nil && !errors.Is(err, os.ErrNotExist) {
		r.log.Event(eventlog.Trouble, "queue", id, "reason", "cannot move a damaged message to corrupt/; it is tried again within a minute", "error", err)
		r.waitTrouble(id)
		return
	}
	r.log.Event(eventlog.Corrupt, "queue", id, "reason", why)
	r.forget(id)
}

// load opens a message and finds out what is to be done.
func (r *Runner) load(id string, force bool) (*message, error) {
	f, err := r.queue.Open(id)
	if err != nil {
		return nil, err
	}
	records, err := r.queue.Journal(id)
	if err != nil {
		f.Close()
		return nil, err
	}
	m := &message{id: id, log: r.log.With("queue", id), env: f.Envelope, arrived: spool.Arrived(id), file: f, users: 1, logged: records != nil}
	if len(records) > 0 {
		m.state = spool.Fold(records)
	} else {
		m.log.Event(eventlog.Taken, "from", "<"+m.env.Sender+">", "size", m.env.Size, "recipients", len(m.env.Recipients))
	}
	r.route(m)
	if len(records) > 0 {
		r.recall(m, force)
	}
	return m, nil
}

// early is how long before its time a target is tried along with others.
const early = 5 * time.Second

// recall gives the targets what the journal says about them. Those whose time
// has not come are left out of this attempt.
func (r *Runner) recall(m *message, force bool) {
	warnedAfter, now, longest := m.arrived.Add(r.current().DelayWarning), r.stamp(), r.longest()
	for _, t := range m.targets {
		t.delays = m.state.Attempts
		last := m.state.Last[t.key]
		if last == nil {
			continue
		}
		t.warned = !last.Untried() && !last.Time.Before(warnedAfter)
		wait := last.Next.Sub(now)
		if force || t.action != "" || wait <= early || wait > longest { // the clock was set back
			continue
		}
		t.result = result{action: spool.Delayed, code: last.Status, host: last.Host, reply: last.Reply, at: last.Time, next: last.Next}
		t.left, t.recorded, t.early = true, true, true
		m.rested(wait)
	}
}

func (r *Runner) current() Settings {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settings
}

// route finds the targets of a message that are not done.
func (r *Runner) route(m *message) {
	finals := m.state.Finals
	if finals == nil {
		finals = make(map[string]bool, len(m.env.Recipients))
	}
	complete := m.complete()
	for i := range m.env.Recipients {
		rcpt := &m.env.Recipients[i]
		if complete[rcpt.Address] {
			continue
		}
		if unroutable := m.state.Last[spool.Target{Original: rcpt.Address}]; unroutable != nil && unroutable.Action == spool.Failed {
			continue
		}
		hops, err := r.o.Router.Route(rcpt.Address)
		switch {
		case err != nil:
			m.unroutable(rcpt, status.Of(err), r.stamp())
		case len(hops) == 0:
			m.unroutable(rcpt, status.New(550, "5.1.1", "no such user here"), r.stamp())
		default:
			m.addHops(rcpt, hops, finals, r.stamp())
		}
	}
}

// complete returns the recipients with which nothing is left to do, whatever
// the tables say by now: the journal knows all addresses that one stood for
// when the first of them got the message.
func (m *message) complete() map[string]bool {
	done := make(map[string]bool, len(m.state.Last))
	for key, last := range m.state.Last {
		if key.Final == "" {
			continue
		}
		before, known := done[key.Original]
		done[key.Original] = last.Done() && (before || !known)
	}
	return done
}

func (m *message) unroutable(rcpt *envelope.Recipient, e *status.Error, at time.Time) {
	t := &target{key: spool.Target{Original: rcpt.Address}, rcpt: *rcpt, orcpt: original(rcpt)}
	t.take(e, e.Reply(), at)
	m.log.Event(eventlog.Routed, "to", rcpt.Address, "reason", e)
	m.targets = append(m.targets, t)
}

// addHops adds the addresses that stand for a recipient, but for those that
// have the message. Two recipients that lead to one address give it one copy.
func (m *message) addHops(rcpt *envelope.Recipient, hops []Hop, finals map[string]bool, at time.Time) {
	list := len(hops) > 1
	if list && rcpt.Wants("SUCCESS") && m.state.Last[spool.Target{Original: rcpt.Address}] == nil {
		t := &target{key: spool.Target{Original: rcpt.Address}, rcpt: *rcpt, orcpt: original(rcpt)}
		t.result = result{action: spool.Expanded, code: "2.0.0", at: at}
		m.targets = append(m.targets, t)
	}
	for _, hop := range hops {
		key := spool.Target{Original: rcpt.Address, Final: hop.Address}
		if last := m.state.Last[key]; finals[hop.Address] || last != nil && last.Done() {
			continue
		}
		finals[hop.Address] = true
		t := &target{key: key, hop: hop, orcpt: original(rcpt)}
		t.rcpt = envelope.Recipient{Address: hop.Address, Notify: rcpt.Notify, ORcpt: rcpt.ORcpt}
		if hop.Address != rcpt.Address {
			t.rcpt.ORcpt = t.orcpt
		}
		if list {
			t.rcpt.Notify = forMember(rcpt.Notify)
		}
		m.log.Event(eventlog.Routed, "to", hop.Address, "for", differs(rcpt.Address, hop.Address), "via", hop.via(), "destination", hop.Destination)
		m.targets = append(m.targets, t)
	}
}

// forMember is what a member of a list is to notify: the sender hears that the
// list got the message, not who is on it, but of failures all the same
// (RFC 3461 §5.2.7).
func forMember(notify []string) []string {
	var kept []string
	for _, n := range notify {
		if n != "SUCCESS" {
			kept = append(kept, n)
		}
	}
	if len(notify) > 0 && len(kept) == 0 {
		return []string{"NEVER"}
	}
	return kept
}

// original returns what the sender calls a recipient.
func original(rcpt *envelope.Recipient) string {
	if rcpt.ORcpt != "" {
		return rcpt.ORcpt
	}
	if strings.IndexFunc(rcpt.Address, func(c rune) bool { return c >= 0x80 }) >= 0 {
		return "utf-8;" + rcpt.Address // RFC 6533 §3
	}
	return "rfc822;" + rcpt.Address
}

func differs(a, b string) string {
	if a == b {
		return ""
	}
	return a
}

func (h *Hop) via() string {
	if h.Local {
		return "local"
	}
	return "remote"
}

// open gives a job the message's file, opening it again if nobody has it.
func (m *message) open(q *spool.Queue) (*spool.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		f, err := q.Open(m.id)
		if err != nil {
			return nil, err
		}
		m.file = f
	}
	m.users++
	return m.file, nil
}

// close gives the file back.
func (m *message) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return // settle closed it
	}
	m.users--
	if m.users == 0 {
		m.file.Close()
		m.file = nil
	}
}

// completed notes that a job, or run itself (nil), is through. The last one
// settles the message.
func (m *message) completed(r *Runner, j *job) {
	m.mu.Lock()
	m.pending--
	if j != nil {
		m.finished = append(m.finished, j)
	}
	last := m.pending == 0
	if !last && m.linger == nil && len(m.done()) > 0 {
		m.linger = time.AfterFunc(lingers, func() { m.recordDone(r) })
	}
	if last && m.linger != nil {
		m.linger.Stop() // one that runs waits for mu, and then does nothing
	}
	m.mu.Unlock()
	if last {
		r.settle(m)
	}
}

// done returns the targets of finished jobs that have the message, while the
// journal does not say so. m.mu is held.
func (m *message) done() (some []*target) {
	for _, j := range m.finished {
		for _, t := range j.targets {
			if t.done() && !t.recorded {
				some = append(some, t)
			}
		}
	}
	return some
}

func (t *target) done() bool { return t.action == spool.Delivered || t.action == spool.Relayed }
