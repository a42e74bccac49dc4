package deliver

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"peyk/internal/address"
	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/header"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// carryOut does what a .forward file says, the steps that may well fail
// first: what a temporary failure leaves undone is repeated whole, and a copy
// too many is better than one too few, but best kept at home.
func (a *Agent) carryOut(ctx context.Context, t *transaction, r *recipient, p *plan) error {
	var failed error // for good; the rest is tried all the same
	for _, step := range a.steps(ctx, t, r, p) {
		err := step()
		if err != nil && status.Of(err).Temporary() {
			return err
		}
		if failed == nil {
			failed = err
		}
	}
	return failed
}

func (a *Agent) steps(ctx context.Context, t *transaction, r *recipient, p *plan) []func() error {
	var steps []func() error
	for _, args := range p.programs {
		steps = append(steps, func() error { return a.runProgram(ctx, t, r, args) })
	}
	for _, file := range p.files {
		steps = append(steps, func() error { return a.appendMbox(ctx, t, r, file) })
	}
	if len(p.targets) > 0 {
		steps = append(steps, func() error { return a.fileFor(t, r, p.targets) })
	}
	if len(p.addresses) > 0 {
		steps = append(steps, func() error { return a.forward(t, r, p.addresses) })
	}
	return steps
}

// fileFor files the message in the Maildirs of one recipient.
func (a *Agent) fileFor(t *transaction, r *recipient, all []mailbox.Target) error {
	var targets []mailbox.Target
	for _, one := range all {
		if indexOf(targets, one) == len(targets) {
			targets = append(targets, one)
		}
	}
	errs, size := a.file(t.msg, targets, r.Address)
	for i, err := range errs {
		errs[i] = a.logFiled(r, targets[i], err, size)
	}
	return errors.Join(errs...)
}

// forward puts the message into the queue again, for other recipients. The
// sender stays: whoever sent it hears of failures.
func (a *Agent) forward(t *transaction, r *recipient, to []address.Address) error {
	if hops := t.msg.head.Count("Received"); hops > a.policy().HopLimit { // RFC 5321 §6.3
		return status.Newf(554, "5.4.6", "mail loop: the message has %d Received fields", hops)
	}
	id, err := a.o.Queue.NewID()
	if err != nil {
		return err
	}
	e := &envelope.Envelope{ID: id, Sender: t.mail.Sender, Body: t.mail.Body, SMTPUTF8: t.mail.SMTPUTF8,
		RequireTLS: t.mail.RequireTLS, Ret: t.mail.Ret, EnvID: t.mail.EnvID, Client: envelope.Client{Proto: "LMTP"}}
	var names []string
	for _, one := range to {
		name := one.String()
		if slices.Contains(names, name) {
			continue
		}
		names = append(names, name)
		e.SMTPUTF8 = e.SMTPUTF8 || !one.IsASCII()
		e.Recipients = append(e.Recipients, envelope.Recipient{Address: name, Notify: r.Notify, ORcpt: r.ORcpt})
	}
	if err := a.inject(t.msg, r, e); err != nil {
		return err
	}
	for _, name := range names {
		a.o.Log.Event(eventlog.Forwarded, "recipient", r.Address, "to", name, "new", id)
	}
	return nil
}

func (a *Agent) inject(m *message, r *recipient, e *envelope.Envelope) error {
	letter, err := a.o.Queue.Create(e)
	if err != nil {
		return err
	}
	defer letter.Abort()
	prefix := header.Received{By: a.o.Hostname, With: "LMTP", ID: e.ID, For: r.Address, Date: a.o.Now()}.Append(nil)
	prefix = header.AppendDeliveredTo(prefix, r.Address)
	if err := m.writeTo(letter, prefix); err != nil {
		return err
	}
	return letter.Commit()
}

// plainText writes the message with LF line ends, as programs and mbox files
// want it.
func (m *message) plainText(w io.Writer, to string) error {
	return m.writeTo(&lfWriter{w: w}, m.trace(to))
}

// lfWriter turns CRLF into LF.
type lfWriter struct {
	w  io.Writer
	cr bool // a CR waits for what follows
}

func (l *lfWriter) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p)+1)
	for _, b := range p {
		if l.cr && b != '\n' {
			out = append(out, '\r')
		}
		l.cr = b == '\r'
		if !l.cr {
			out = append(out, b)
		}
	}
	if _, err := l.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// waitFor tries until try succeeds, fails otherwise than with errBusy, or the
// time is over.
func waitFor(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := try()
		if err == nil || !errors.Is(err, errBusy) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

var errBusy = errors.New("another program has it locked")
