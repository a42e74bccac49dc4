package deliver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// Agent delivers mail. It is an lmtp.Backend, and safe for concurrent use.
type Agent struct {
	o       Options
	now     atomic.Pointer[Policy]
	readers *sync.Pool // *bufio.Reader
	flights *flights
}

// New makes an agent.
func New(o Options, p Policy) *Agent {
	a := &Agent{o: o, readers: &sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 8<<10) }}, flights: &flights{under: make(map[string]*flight)}}
	a.SetPolicy(p)
	return a
}

// SetPolicy changes the policy for the transactions that begin from now on.
func (a *Agent) SetPolicy(p Policy) { a.now.Store(&p) }

func (a *Agent) policy() *Policy { return a.now.Load() }

// Begin implements lmtp.Backend.
func (a *Agent) Begin(_ context.Context, m *lmtp.Mail) (lmtp.Handler, error) {
	mine := &Agent{o: a.o, readers: a.readers, flights: a.flights} // one policy and one log for the whole transaction
	mine.now.Store(a.policy())
	mine.o.Log = a.o.Log.With("session", m.Peer.Session, "queue", m.Ident)
	return &transaction{a: mine, mail: *m}, nil
}

// transaction is one message for some recipients.
type transaction struct {
	a        *Agent
	mail     lmtp.Mail
	rcpts    []*recipient
	outcomes []lmtp.Outcome
	plans    []*plan // nil where the outcome is there already
	msg      *message
}

// Rcpt implements lmtp.Handler.
func (t *transaction) Rcpt(ctx context.Context, r envelope.Recipient) error {
	found, err := t.a.find(ctx, r)
	switch {
	case err == errNoUser:
		t.a.o.Log.Event(eventlog.MailboxUnknown, "recipient", r.Address)
		return err
	case err != nil:
		t.a.o.Log.Event(eventlog.FilingDeferred, "recipient", r.Address, "error", err)
		return err
	}
	t.rcpts = append(t.rcpts, found)
	return nil
}

// End implements lmtp.Handler.
func (t *transaction) End() {
	if t.msg != nil {
		t.msg.close()
	}
}

// Data implements lmtp.Handler.
func (t *transaction) Data(ctx context.Context, message io.Reader, _ int64) []lmtp.Outcome {
	t.outcomes = make([]lmtp.Outcome, len(t.rcpts))
	t.plans = make([]*plan, len(t.rcpts))
	in := t.a.readers.Get().(*bufio.Reader)
	in.Reset(message)
	defer t.a.readers.Put(in)
	msg, err := readMessage(in, t.mail.Sender)
	if err != nil {
		return t.failAll(err)
	}
	t.msg = msg
	msg.ident, msg.again = t.mail.Ident, t.mail.Again
	defer t.a.flights.enter(msg.ident, msg.again)()
	simple := t.makePlans()
	if !simple {
		if err := msg.keep(t.a.o.TempDir); err != nil {
			return t.failAll(err)
		}
	}
	t.fileTogether()
	for i, p := range t.plans {
		if p != nil {
			t.set(i, t.a.carryOut(ctx, t, t.rcpts[i], p))
		}
	}
	return t.outcomes
}

// failAll gives every recipient the same failure. One of the wire is the
// client's own: the server says so.
func (t *transaction) failAll(err error) []lmtp.Outcome {
	for i := range t.outcomes {
		t.outcomes[i].Err = err
	}
	return t.outcomes
}

// makePlans makes the plan of each recipient that does not fail already, and
// reports whether all of them are simple.
func (t *transaction) makePlans() bool {
	simple := true
	for i, r := range t.rcpts {
		if t.msg.loops(r.addr) {
			t.set(i, status.New(554, "5.4.6", "mail loop: this message was delivered to this address before"))
			continue
		}
		p, err := t.a.plan(r)
		if err != nil {
			t.set(i, err)
			continue
		}
		t.plans[i] = p
		simple = simple && p.simple()
	}
	return simple
}

// set settles recipient i, and logs a failure.
func (t *transaction) set(i int, err error) {
	t.plans[i] = nil
	t.outcomes[i].Err = err
	if err == nil {
		return
	}
	event := eventlog.FilingRefused
	if status.Of(err).Temporary() {
		event = eventlog.FilingDeferred
	}
	t.a.o.Log.Event(event, "recipient", t.rcpts[i].Address, "error", err)
}

// fileTogether files the message for all recipients with a simple plan in one
// go. Two of them that share a mailbox get one copy.
func (t *transaction) fileTogether() {
	var targets []mailbox.Target
	at := make([]int, len(t.plans)) // index of the recipient's target
	for i, p := range t.plans {
		if p == nil || !p.simple() {
			at[i] = -1
			continue
		}
		at[i] = indexOf(targets, p.targets[0])
		if at[i] == len(targets) {
			targets = append(targets, p.targets[0])
		}
	}
	if len(targets) == 0 {
		return
	}
	deliveredTo := ""
	if len(t.rcpts) == 1 {
		deliveredTo = t.rcpts[0].Address
	}
	errs, size := t.a.file(t.msg, targets, deliveredTo)
	for i, k := range at {
		if k >= 0 {
			t.filed(i, targets[k], errs[k], size)
		}
	}
}

func (t *transaction) filed(i int, to mailbox.Target, err error, size int64) {
	if t.msg.err != nil { // of the wire: no failure of ours, and not to be logged as one
		t.plans[i], t.outcomes[i].Err = nil, t.msg.err
		return
	}
	t.set(i, t.a.logFiled(t.rcpts[i], to, err, size))
}

// indexOf returns where targets holds t, or its length.
func indexOf(targets []mailbox.Target, t mailbox.Target) int {
	for i := range targets {
		if targets[i].Root == t.Root && targets[i].Folder == t.Folder {
			return i
		}
	}
	return len(targets)
}

// file writes the message into the targets, and returns its size as well.
func (a *Agent) file(m *message, targets []mailbox.Target, deliveredTo string) ([]error, int64) {
	var size int64
	for i := range targets {
		targets[i].Ident, targets[i].Again = m.ident, m.again
	}
	errs := a.o.Store.Deliver(targets, func(w io.Writer) error {
		c := counter{w: w}
		err := m.writeTo(&c, m.trace(deliveredTo))
		size = c.n
		return err
	})
	for i, err := range errs {
		errs[i] = a.quotaError(err)
	}
	return errs, size
}

// logFiled logs a success, and returns the failure if it was none.
func (a *Agent) logFiled(r *recipient, to mailbox.Target, err error, size int64) error {
	switch {
	case errors.Is(err, mailbox.ErrFiled):
		a.o.Log.Event(eventlog.FiledBefore, "recipient", r.Address, "to", to.Root, "folder", to.Folder)
	case err != nil:
		return err
	default:
		a.o.Log.Event(eventlog.Filed, "recipient", r.Address, "to", to.Root, "folder", to.Folder, "size", size)
	}
	return nil
}

// quotaError makes a full mailbox permanent where the policy says so. A
// message that is larger than the whole quota is permanent anyhow.
func (a *Agent) quotaError(err error) error {
	if err == nil || !a.policy().RefuseFull {
		return err
	}
	e := status.Of(err)
	if e.Enhanced != "4.2.2" {
		return err
	}
	full := *e
	full.Code, full.Enhanced = 552, "5.2.2"
	return &full
}

// A counter counts what is written through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
