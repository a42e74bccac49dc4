package queuerun

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/spool"
	"peyk/internal/status"
)

// job is one transaction: targets of one message that share a destination.
type job struct {
	message *message
	targets []*target
	lane    *lane
	outcome outcome
	answer  result        // for rests: what the destination answered last
	wait    time.Duration // for rests
}

type outcome int

const (
	tried  outcome = iota // every target has its result
	parked                // nothing was tried; message.parkIn says where it waits
	rests                 // nothing was tried, as the destination does not answer
)

// jobsOf groups the targets of a message.
func (r *Runner) jobsOf(m *message) []*job {
	var jobs []*job
	open := make(map[Hop]*job, 1)
	for _, t := range m.targets {
		if t.action != "" {
			continue
		}
		key := Hop{Local: t.hop.Local, Destination: t.hop.Destination}
		j := open[key]
		if j == nil || len(j.targets) == maxTransaction {
			j = &job{message: m}
			open[key] = j
			jobs = append(jobs, j)
		}
		j.targets = append(j.targets, t)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range jobs {
		hop := &j.targets[0].hop
		if hop.Local {
			j.lane = r.local.lane("local")
		} else {
			j.lane = r.remote.lane(hop.Destination)
		}
	}
	return jobs
}

// workAll works on jobs at the same time; the first one of mine, which most
// often is the only one, in this goroutine.
func (r *Runner) workAll(jobs []*job, mine *message) {
	i := slices.IndexFunc(jobs, func(j *job) bool { return j.message == mine })
	for n, j := range jobs {
		if n != i {
			go r.work(j)
		}
	}
	if i >= 0 {
		r.work(jobs[i])
	}
}

// work does one job and starts those that waited for its slot.
func (r *Runner) work(j *job) {
	r.attempt(j)
	start, resting := r.finished(j)
	for _, other := range start {
		go r.work(other)
	}
	for _, other := range resting {
		other.settleRefused(r)
		go other.message.completed(r, other)
	}
	j.message.completed(r, j)
	j.message.close()
}

// settleRefused gives the targets of a job that was not tried their result:
// the one that their destination gave last, or none.
func (j *job) settleRefused(r *Runner) {
	if j.outcome != rests {
		return
	}
	for _, t := range j.targets {
		t.result = j.answer
		t.action = spool.Delayed
		t.at = r.stamp()
		t.next = t.at.Add(j.wait).Truncate(time.Second)
		t.recorded = true // nothing was done: nothing is to be written
		t.left = true
	}
	j.message.mu.Lock()
	defer j.message.mu.Unlock()
	j.message.rested(j.wait)
}

// attempt hands the message over.
func (r *Runner) attempt(j *job) {
	m := j.message
	f, err := m.open(r.queue)
	if err != nil {
		r.cannotOpen(j, err)
		return
	} // work closes it, once the message is settled
	results, err := r.deliver(j, f)
	if results == nil {
		if r.jobs.Err() != nil {
			j.outcome = parked
			return
		}
		r.unreachable(j.lane.class, j, err)
		return
	}
	at := r.stamp()
	for i, t := range j.targets {
		if r.jobs.Err() != nil && results[i].Err != nil && results[i].Reply == "" {
			continue // we hung up ourselves: it stays untried
		}
		t.take(results[i].Err, results[i].Reply, at)
		if !t.hop.Local {
			t.host = hostOf(t.reply)
		}
	}
}

// deliver runs the transaction on a connection of the pool. A connection that
// turns out to have died in the pool is replaced, and so is, once, one to
// deliver that breaks before any result: deliver was started anew, and nobody
// should wait for that until the next retry. No results at all mean that the
// server cannot be reached.
func (r *Runner) deliver(j *job, f *spool.Message) ([]lmtp.Result, error) {
	p := j.lane.class.pool
	cut := j.message.cut
	for again := j.lane.class == r.local; ; {
		c, used, err := p.get(r.jobs)
		if err != nil {
			return nil, err
		}
		r.reached(j.lane.class)
		content := &content{r: f.Reader()}
		results, err := c.Deliver(r.jobs, j.transaction(f.Envelope, content, cut))
		if err == nil {
			p.put(c, r.o.Now())
		} else {
			c.Close()
			cut = true
			r.cutOff(j.message.id)
		}
		if errors.Is(content.err, spool.ErrCorrupt) {
			j.message.damaged(content.err)
			return results, nil
		}
		if err == nil || !used && !again || heardAnything(results) || r.jobs.Err() != nil {
			return results, nil
		}
		again = again && used
	}
}

// content remembers why reading failed.
type content struct {
	r   io.Reader
	err error
}

// Read reads the message.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

func heardAnything(results []lmtp.Result) bool {
	return slices.ContainsFunc(results, func(r lmtp.Result) bool { return r.Err == nil || r.Reply != "" })
}

func (j *job) transaction(e *envelope.Envelope, content io.Reader, cut bool) *lmtp.Transaction {
	t := &lmtp.Transaction{QueueID: e.ID, Sender: e.Sender, Body: e.Body, SMTPUTF8: e.SMTPUTF8, RequireTLS: e.RequireTLS,
		Ret: e.Ret, EnvID: e.EnvID, Size: e.Size, Message: content, Again: cut, NextHop: j.targets[0].hop.Destination}
	t.Recipients = make([]envelope.Recipient, len(j.targets))
	for i := range j.targets {
		t.Recipients[i] = j.targets[i].rcpt
	}
	return t
}

// cannotOpen deals with a message that changed since it was routed.
func (r *Runner) cannotOpen(j *job, err error) {
	m := j.message
	j.outcome = parked
	switch {
	case errors.Is(err, os.ErrNotExist):
		m.mu.Lock()
		m.gone = true
		m.mu.Unlock()
	case errors.Is(err, spool.ErrCorrupt):
		m.damaged(err)
	case errors.Is(err, spool.ErrBusy):
	default:
		r.log.Event(eventlog.Trouble, "queue", m.id, "reason", "cannot read a message; it is tried again within a minute", "error", err)
	}
}

func (m *message) damaged(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.corrupt = err
}

// take turns a reply into the result of a target.
func (t *target) take(e *status.Error, reply string, at time.Time) {
	t.at, t.reply = at, oneLine(reply)
	switch {
	case e == nil && t.hop.Local:
		t.action, t.code = spool.Delivered, enhanced(reply, "2.0.0")
		return
	case e == nil:
		t.action, t.code = spool.Relayed, enhanced(reply, "2.0.0")
		return
	case e.Temporary():
		t.action, t.left = spool.Delayed, true
	default:
		t.action = spool.Failed
	}
	t.code = e.Enhanced
	if t.reply == "" {
		t.reply = oneLine(e.Reply())
	}
}

// oneLine makes a reply harmless for the log and the journal, which are the
// same text then.
func oneLine(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, s)
}

// enhanced returns the enhanced status code of a reply, if it has one.
func enhanced(reply, otherwise string) string {
	words := strings.Fields(reply)
	if len(words) > 1 && strings.Count(words[1], ".") == 2 && strings.Trim(words[1], "0123456789.") == "" {
		return words[1]
	}
	return otherwise
}

// hostFailed reports whether the destination as a whole did not answer: all
// targets failed for a reason of the network (RFC 3463 §3.5).
func (j *job) hostFailed() bool {
	for _, t := range j.targets {
		if t.action != spool.Delayed || !strings.HasPrefix(t.code, "4.4.") {
			return false
		}
	}
	return len(j.targets) > 0
}

var _ Carrier = (*lmtp.Client)(nil)
