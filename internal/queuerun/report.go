package queuerun

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"peyk/internal/commit"
	"peyk/internal/dsn"
	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/spool"
	"peyk/internal/status"
)

const (
	maxReturned = 1 << 20  // octets of a message that RET=FULL returns
	headerRead  = 64 << 10 // octets of a message in which its header is looked for
)

// report sends what there is to tell the sender: one report about failures, one
// about delays, one about successes. What failed counts as failed only once
// its report is in the drop; a report about anything else is not worth that.
func (r *Runner) report(m *message) {
	if m.env.Sender == "" { // RFC 5321 §6.1
		return
	}
	s := r.current()
	var failures, delays, successes []*target
	for _, t := range m.targets {
		switch {
		case t.action == spool.Failed && t.rcpt.Wants("FAILURE"):
			failures = append(failures, t)
		case t.action == spool.Delayed && !t.early && !t.warned && t.rcpt.Wants("DELAY") && r.lateBy(m, s):
			t.recorded = false // so that it is told once
			delays = append(delays, t)
		case (t.done() || t.action == spool.Expanded) && !t.recorded && t.rcpt.Wants("SUCCESS") && !passedOn(t):
			successes = append(successes, t)
		}
	}
	if err := r.inject(m, s, "failure", failures); err != nil {
		m.log.Event(eventlog.Trouble, "reason", "cannot queue a report; its recipients are tried again", "error", err)
		r.keep(m, failures)
	}
	for kind, about := range map[string][]*target{"delay": delays, "success": successes} {
		if err := r.inject(m, s, kind, about); err != nil {
			m.log.Event(eventlog.Trouble, "reason", "cannot queue a report of "+kind, "error", err)
		}
	}
}

// lateBy reports whether it is time to tell the sender about the delay.
func (r *Runner) lateBy(m *message, s Settings) bool {
	return s.DelayWarning > 0 && r.now().Sub(m.arrived) >= s.DelayWarning
}

// passedOn reports whether the next host took over the duty to report
// (RFC 3461 §5.2.2). remote says so at the end of its reply.
func passedOn(t *target) bool { return t.action == spool.Relayed && dsnPassedOn(t.reply) }

// keep makes failures wait for another attempt.
func (r *Runner) keep(m *message, failures []*target) {
	for _, t := range failures {
		t.action, t.left, t.code = spool.Delayed, true, "4.3.0"
		wait := again(t.delays, troubleAgain)
		t.next = r.stamp().Add(wait)
		if m.retryWait == 0 || m.retryWait > wait {
			m.retryWait = wait
		}
	}
}

// inject queues one report.
func (r *Runner) inject(m *message, s Settings, kind string, about []*target) error {
	if len(about) == 0 {
		return nil
	}
	id, err := spool.NewID(r.o.Now(), r.o.Rand)
	if err != nil {
		return err
	}
	report, err := r.compose(m, s, id, kind, about)
	if err != nil {
		return err
	}
	e := &envelope.Envelope{ID: id, Body: report.Body(), SMTPUTF8: report.UTF8(), Recipients: []envelope.Recipient{{Address: m.env.Sender, Notify: []string{"NEVER"}}}}
	w, err := r.drop.Create(e)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := report.Write(w); err != nil {
		return err
	}
	err = w.Commit()
	if errors.Is(err, commit.ErrTaken) { // we have it in the queue: another one would be a second report
		m.log.Event(eventlog.Trouble, "reason", "a report may not outlive a power cut", "error", err)
	} else if err != nil {
		return fmt.Errorf("cannot queue a report: %w", status.Of(err))
	}
	m.log.Event(eventlog.Bounced, "report", id, "kind", kind, "to", "<"+m.env.Sender+">", "recipients", len(about))
	return nil
}

func (r *Runner) compose(m *message, s Settings, id, kind string, about []*target) (*dsn.Report, error) {
	f, err := m.open(r.queue)
	if err != nil {
		return nil, err
	}
	defer m.close()
	head, err := io.ReadAll(io.LimitReader(f.Reader(), headerRead))
	if err != nil {
		return nil, err
	}
	report := &dsn.Report{Hostname: s.Hostname, ID: id, Date: r.stamp(), Envelope: m.env, Arrived: m.arrived, Header: head}
	if m.wantsFull(kind) {
		report.Full = f.Reader()
	}
	for _, t := range about {
		report.Recipients = append(report.Recipients, m.recipient(t, s))
	}
	return report, nil
}

// wantsFull reports whether the whole message goes back: on request, with a
// failure, and where it is not too much (RFC 3461 §4.3).
func (m *message) wantsFull(kind string) bool {
	return kind == "failure" && m.env.Ret == "FULL" && m.env.Size <= maxReturned && m.env.Body != "BINARYMIME"
}

func (m *message) recipient(t *target, s Settings) dsn.Recipient {
	rcpt := dsn.Recipient{Original: t.orcpt, Final: t.name(), Action: string(t.action), Status: t.code, RemoteMTA: t.host, Diagnostic: t.reply, Last: t.at}
	if t.action == spool.Delayed {
		rcpt.RetryUntil = m.arrived.Add(s.Lifetime)
	}
	return rcpt
}

// dsnPassedOn understands remote's word for it, "relayed to HOST dsn=yes said:
// …". What follows is another host's text, and does not count.
func dsnPassedOn(reply string) bool {
	ours, _, _ := strings.Cut(reply, " said: ")
	return strings.HasSuffix(ours, " dsn=yes")
}

// hostOf returns the host that remote names in a reply: after the codes, and
// perhaps the recipient in brackets, "relayed to HOST" or "host HOST", HOST
// being name[address] or [address]. "" if it names none.
func hostOf(reply string) string {
	words := strings.Fields(reply)
	words = words[min(2, len(words)):]
	if len(words) > 0 && strings.HasPrefix(words[0], "<") {
		words = words[1:]
	}
	switch {
	case len(words) > 1 && words[0] == "host":
		words = words[1:]
	case len(words) > 2 && words[0] == "relayed" && words[1] == "to":
		words = words[2:]
	default:
		return ""
	}
	host, _, _ := strings.Cut(words[0], "[")
	if host == "" {
		host = words[0]
	}
	return strings.TrimRight(host, ":")
}
