package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/mx"
	"peyk/internal/smtpclient"
	"peyk/internal/status"
)

// maxSessions is with how many hosts a message is tried that refuse it for the
// moment. Another host of the same domain often says the same.
const maxSessions = 2

// transaction is one LMTP transaction. It implements lmtp.Handler.
type transaction struct {
	o      *Options
	mail   *lmtp.Mail
	log    *eventlog.Log
	ctx    context.Context
	cancel context.CancelFunc
	until  time.Time

	opener   *opener // nil until the first recipient
	session  *session
	sessions int
	failure  *status.Error // no host could be used: the answer to all

	recipients []envelope.Recipient
}

// Rcpt implements lmtp.Handler. What the mail host thinks of a recipient is
// found out when the message comes; here the host itself is found.
func (t *transaction) Rcpt(_ context.Context, r envelope.Recipient) error {
	err := t.rcpt(r)
	if err != nil {
		t.log.Event(eventlog.RelayFailed, "recipient", r.Address, "error", err)
	}
	return err
}

func (t *transaction) rcpt(r envelope.Recipient) error {
	to, err := t.o.destinationOf(r.Address)
	if err != nil {
		return err
	}
	if t.opener == nil {
		t.open(to)
	}
	if t.opener.to != to {
		return status.Newf(451, "4.5.0", "one destination per transaction: %s first, send %s again", t.opener.to, to)
	}
	if t.failure != nil {
		return t.failure
	}
	m := t.smtp(t.mail.Size)
	m.Recipients = []envelope.Recipient{r}
	if err := t.session.Check(m); err != nil {
		return smtpclient.Status(err, t.session.target.String())
	}
	t.recipients = append(t.recipients, r)
	return nil
}

// open finds a host for the first recipient's destination.
func (t *transaction) open(to destination) {
	t.opener = &opener{o: t.o, log: t.log, to: to, demands: t.o.Policies, sessions: t.until}
	if t.mail.RequireTLS {
		t.opener.demands = append([]mx.Policy{requireTLS}, t.o.Policies...)
	}
	t.nextHost()
}

func (t *transaction) nextHost() {
	t.opener.until = t.o.Now().Add(t.o.Open)
	if t.until.Before(t.opener.until) {
		t.opener.until = t.until
	}
	s, err := t.opener.next(t.ctx)
	if err != nil {
		t.failure = t.required(status.Of(err))
		return
	}
	t.session = s
	t.sessions++
}

// required rewrites why no host could be used by a message that requires TLS:
// it must not wait for hosts to learn TLS (RFC 8689 §4.2.1).
func (t *transaction) required(e *status.Error) *status.Error {
	if t.mail.RequireTLS && e.Enhanced == "4.7.5" {
		return status.New(550, "5.7.30", e.Text).Because(e.Op, e.Err)
	}
	return e
}

// smtp returns the transaction in the words of smtpclient.
func (t *transaction) smtp(size int64) *smtpclient.Mail {
	return &smtpclient.Mail{
		Sender: t.mail.Sender, Body: t.mail.Body, SMTPUTF8: t.mail.SMTPUTF8, RequireTLS: t.mail.RequireTLS,
		Ret: t.mail.Ret, EnvID: t.mail.EnvID, Size: size, Recipients: t.recipients,
	}
}

// Data implements lmtp.Handler.
func (t *transaction) Data(_ context.Context, message io.Reader, size int64) []lmtp.Outcome {
	if size < 0 {
		size = t.mail.Size
	}
	m := t.smtp(size)
	results, err := t.begin(m)
	reply := smtpclient.Reply{}
	if err == nil {
		reply, err = t.session.Body(m, message)
	}
	outcomes := make([]lmtp.Outcome, len(t.recipients))
	for i, r := range t.recipients {
		outcomes[i] = t.outcome(r, results[i], err, reply)
	}
	return outcomes
}

// begin sends the envelope. A host that wants nothing of it for the moment
// gives way to the next one, as the message has not been touched yet.
func (t *transaction) begin(m *smtpclient.Mail) (results []error, err error) {
	for {
		results, err = t.session.Begin(m)
		if err == nil || t.sessions >= maxSessions || !t.deferred(results, err) {
			return results, err
		}
		current, failure := t.session, t.failure
		t.log.Event(eventlog.HostFailed, "destination", t.opener.to.String(), "host", current.target.String(), "error", t.why(results, err))
		t.nextHost()
		if t.failure != nil {
			t.failure = failure
			return results, err // what the one host said is worth more than that no other answers
		}
		current.Close()
	}
}

// deferred reports whether every recipient was refused, but not for good.
func (t *transaction) deferred(results []error, err error) bool {
	for i := range results {
		if e := t.status(results[i], err); e == nil || !e.Temporary() {
			return false
		}
	}
	return true
}

func (t *transaction) why(results []error, err error) *status.Error { return t.status(results[0], err) }

// status returns what one recipient's own result, or the one for all, means.
func (t *transaction) status(own, all error) *status.Error {
	if own == nil {
		own = all
	}
	return smtpclient.Status(own, t.session.target.String())
}

func (t *transaction) outcome(r envelope.Recipient, own, all error, reply smtpclient.Reply) lmtp.Outcome {
	host := t.session.target.String()
	if e := t.status(own, all); e != nil {
		e = t.transient(e, own, all)
		t.log.Event(eventlog.RelayFailed, "recipient", r.Address, "host", host, "tls", t.session.tls, "error", e)
		return lmtp.Outcome{Err: e}
	}
	t.log.Event(eventlog.RelayAccepted, "recipient", r.Address, "host", host, "tls", t.session.tls, "reply", reply.Text())
	dsn := "no"
	if _, ok := t.session.Extension("DSN"); ok {
		dsn = "yes"
	}
	// queue-run reads dsn=: with "no" a report about success is its own to write.
	return lmtp.Outcome{Code: "2.1.5", Text: fmt.Sprintf("relayed to %s dsn=%s said: %s", host, dsn, reply.Text())}
}

// transient makes a refusal temporary that concerns us and not the message:
// 530 asks for a login or for TLS (RFC 4954 §6, RFC 3207 §4).
func (t *transaction) transient(e *status.Error, own, all error) *status.Error {
	var r *smtpclient.ReplyError
	if own == nil {
		own = all
	}
	if errors.As(own, &r) && r.Reply.Code == 530 {
		return status.New(454, "4.7.0", e.Text)
	}
	return e
}

// End implements lmtp.Handler. The host's farewell is not waited for: the
// answers to queue-run would come later for it.
func (t *transaction) End() {
	if t.session == nil {
		t.cancel()
		return
	}
	go func() {
		t.session.Quit()
		t.cancel()
	}()
}
