package queuerun

import (
	"strings"
	"time"

	"peyk/internal/eventlog"
)

const (
	maxBacklog  = 1000 // jobs of one lane that wait in memory; what comes after waits on disk
	firstWindow = 5    // deliveries at one time to a destination about which nothing is known
	maxStrikes  = 3    // failures in a row after which a destination rests
	maxRest     = time.Hour
	laneMemory  = 2 * time.Hour // how long a failing destination is remembered
	probeFirst  = time.Second   // first wait for deliver or remote to come back
	probeLast   = 30 * time.Second
)

// class is one of the two LMTP servers, with all that goes to it. It is
// guarded by Runner.mu, but for pool.
type class struct {
	name  string
	pool  *pool
	limit int // most jobs at one time
	busy  int
	lanes map[string]*lane
	ready []*lane // lanes with a backlog and a free slot, in turn

	failures int       // of dialling, in a row
	down     time.Time // no dialling before; zero when it works
	parked   []string  // messages that wait for the server to come back
}

// lane is one destination.
type lane struct {
	class   *class
	name    string
	window  int // jobs at one time, between 1 and the setting
	busy    int
	backlog []*job
	queued  bool     // it is in class.ready
	parked  []string // messages that found the backlog full
	coming  int      // of them, those that were let go and have not come yet

	strikes int       // failures of the host, in a row
	rests   int       // rests in a row
	until   time.Time // it rests until then
	reply   result    // why
	used    time.Time
}

func newClass(name string, dial Dialer, limit int) *class {
	return &class{name: name, pool: &pool{dial: dial}, limit: limit, lanes: make(map[string]*lane)}
}

func (c *class) lane(name string) *lane {
	l := c.lanes[name]
	if l == nil {
		l = &lane{class: c, name: name, window: firstWindow}
		c.lanes[name] = l
	}
	return l
}

// submit gives jobs to their lanes and returns those that can start now. A
// job that cannot even wait is refused; it has its outcome then.
func (r *Runner) submit(jobs []*job) (start, refused []*job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.o.Now()
	for _, j := range jobs {
		l := j.lane
		l.coming = max(l.coming-1, 0)
		if r.refuse(j, now) {
			refused = append(refused, j)
			continue
		}
		l.used = now
		l.backlog = append(l.backlog, j)
		l.enqueue(r)
	}
	for _, c := range []*class{r.local, r.remote} {
		start = append(start, c.next(r)...)
	}
	return start, refused
}

// refuse decides whether a job may wait in memory. r.mu is held.
func (r *Runner) refuse(j *job, now time.Time) bool {
	l := j.lane
	switch {
	case r.stopped:
		j.outcome = parked
	case now.Before(l.class.down):
		j.outcome = parked
		j.message.parkIn = func() { l.class.park(r, j.message.id) }
	case now.Before(l.until):
		j.outcome = rests
		j.answer = l.reply
		j.wait = l.until.Sub(now) + r.spread(r.settings.Retry[0]) - r.settings.Retry[0]*4/5
	case len(l.backlog) >= maxBacklog:
		j.outcome = parked
		j.message.parkIn = func() { l.parked = append(l.parked, j.message.id) }
	default:
		return false
	}
	return true
}

// enqueue puts a lane into the round of its class, if it has something to do.
// r.mu is held.
func (l *lane) enqueue(r *Runner) {
	if l.queued || len(l.backlog) == 0 || l.busy >= l.slots(r) {
		return
	}
	l.queued = true
	l.class.ready = append(l.class.ready, l)
}

// slots is how many jobs of the lane may run at one time.
func (l *lane) slots(r *Runner) int {
	if l.class == r.local {
		return max(l.class.limit, 1)
	}
	return max(min(l.window, r.settings.DestinationConcurrency), 1)
}

// next takes the jobs that can start now, lane by lane in turn. r.mu is held.
func (c *class) next(r *Runner) []*job {
	var start []*job
	for c.busy < max(c.limit, 1) && len(c.ready) > 0 {
		l := c.ready[0]
		c.ready = c.ready[1:]
		l.queued = false
		if len(l.backlog) == 0 || l.busy >= l.slots(r) {
			continue
		}
		j := l.backlog[0]
		l.backlog[0] = nil
		l.backlog = l.backlog[1:]
		l.busy++
		c.busy++
		start = append(start, j)
		l.enqueue(r)
	}
	return start
}

// finished frees the slot of a job and returns the jobs that can start now,
// and those that will not be tried as their destination rests.
func (r *Runner) finished(j *job) (start, resting []*job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, c, now := j.lane, j.lane.class, r.o.Now()
	l.busy--
	c.busy--
	l.used = now
	switch {
	case j.outcome == parked: // not tried
	case c == r.local: // mailboxes are not hosts: one that fails says nothing about others
	case j.hostFailed():
		resting = l.strike(r, j, now)
	default:
		l.answered(r)
	}
	l.enqueue(r)
	l.unpark(r, now)
	return c.next(r), resting
}

// answered notes that the destination works. r.mu is held.
func (l *lane) answered(r *Runner) {
	if l.rests > 0 {
		r.log.Event(eventlog.Destination, "destination", l.name, "reason", "it answers again")
	}
	l.strikes, l.rests = 0, 0
	if l.window < r.settings.DestinationConcurrency {
		l.window++
	}
}

// strike notes that the destination does not answer: its window shrinks, and
// after some failures in a row everything for it waits, without being tried,
// so that a dead host costs nothing. r.mu is held.
func (l *lane) strike(r *Runner, j *job, now time.Time) (resting []*job) {
	l.strikes++
	l.window = max(l.window/2, 1)
	if now.Before(l.until) {
		return nil
	}
	if l.strikes < maxStrikes && l.rests == 0 {
		return nil
	}
	rest := min(r.spread(r.settings.Retry[min(l.rests, len(r.settings.Retry)-1)]), maxRest)
	l.rests++
	l.window = 1
	l.until = now.Add(rest)
	l.reply = j.targets[0].result
	l.reply.reply = strings.Replace(l.reply.reply, "<"+j.targets[0].rcpt.Address+"> ", "", 1) // it will stand for others
	r.log.Event(eventlog.Destination, "destination", l.name, "reason", l.reply.reply, "until", r.o.Now().Add(rest), "waiting", len(l.backlog)+len(l.parked))
	resting, l.backlog = l.backlog, nil
	for _, other := range resting {
		r.refuse(other, now)
	}
	for _, id := range l.parked {
		r.unpark(id, l.until.Add(r.spread(r.settings.Retry[0])-r.settings.Retry[0]*4/5))
	}
	l.parked = nil
	return resting
}

// unpark lets messages come that found the backlog full. r.mu is held.
func (l *lane) unpark(r *Runner, now time.Time) {
	if l.busy == 0 && len(l.backlog) == 0 {
		l.coming = 0 // whoever has not come by now was moved, or has other worries
	}
	if len(l.parked) == 0 || len(l.backlog)+l.coming > maxBacklog/2 {
		return
	}
	n := min(len(l.parked), maxBacklog/2)
	l.coming += n
	for _, id := range l.parked[:n] {
		r.unpark(id, now)
	}
	l.parked = l.parked[n:]
}

// reached notes that the server could be dialled. r.mu is held by nobody.
func (r *Runner) reached(c *class) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.failures == 0 {
		return
	}
	c.failures, c.down = 0, time.Time{}
	c.releaseAll(r)
}

// unreachable notes that the server could not be dialled: its mail waits for
// it, and the wait does not count as an attempt.
func (r *Runner) unreachable(c *class, j *job, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j.outcome = parked
	j.message.parkIn = func() { c.park(r, j.message.id) }
	now := r.o.Now()
	if now.Before(c.down) {
		return
	}
	c.failures++
	wait := min(probeFirst<<min(c.failures-1, 10), probeLast)
	c.down = now.Add(wait)
	r.log.Event(eventlog.Suspended, "via", c.name, "reason", err, "wait", wait)
	r.poke()
}

// park lets a message wait for the server. The scheduler may have looked while
// none waited, and sleep: the first one wakes it. r.mu is held.
func (c *class) park(r *Runner, id string) {
	c.parked = append(c.parked, id)
	if len(c.parked) == 1 {
		r.poke()
	}
}

// release lets one message try whether the server is back, once its time has
// come, and returns the time until then. r.mu is held.
func (c *class) release(r *Runner, now time.Time) time.Duration {
	const never = time.Duration(1<<63 - 1)
	if len(c.parked) == 0 {
		return never
	}
	if wait := c.down.Sub(now); wait > 0 {
		return wait
	}
	if c.failures == 0 {
		c.releaseAll(r)
		return never
	}
	if c.busy == 0 {
		r.unpark(c.parked[0], now)
		c.parked = c.parked[1:]
	}
	return probeFirst
}

// releaseAll makes everything that waited for the server due. r.mu is held.
func (c *class) releaseAll(r *Runner) {
	now := r.o.Now()
	for _, id := range c.parked {
		r.unpark(id, now)
	}
	c.parked = nil
}

// forgive lets every destination be tried at once. r.mu is held.
func (c *class) forgive() {
	c.down = time.Time{}
	for _, l := range c.lanes {
		l.until = time.Time{}
	}
}

// unpark gives a message that was parked its time, unless it was taken up for
// another reason meanwhile. r.mu is held.
func (r *Runner) unpark(id string, due time.Time) {
	if e := r.known[id]; e != nil && !e.busy {
		r.setDue(e, due)
	}
}

// abandon gives the jobs that wait for a slot back: they are not tried. r.mu is
// held.
func (c *class) abandon(r *Runner) {
	for _, l := range c.lanes {
		for _, j := range l.backlog {
			j.outcome = parked
			go j.message.completed(r, j)
		}
		l.backlog = nil
	}
	c.ready = nil
}

// prune forgets lanes that have nothing to say. r.mu is held.
func (c *class) prune(now time.Time) {
	for name, l := range c.lanes {
		idle := l.busy == 0 && len(l.backlog) == 0 && len(l.parked) == 0
		if idle && (l.strikes == 0 || now.Sub(l.used) > laneMemory) {
			delete(c.lanes, name)
		}
	}
}
