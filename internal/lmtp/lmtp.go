// Package lmtp speaks the Local Mail Transfer Protocol (RFC 2033), both sides:
// the client that queue-run hands mail over with, and the server in front of
// deliver and remote.
//
// Both sides pipeline (RFC 2920): the client sends MAIL, RCPT and the message
// of a small transaction in one write and reads all replies after it; the
// server answers everything that arrived together in one write. The message
// travels as one BDAT chunk (RFC 3030) where the other side can take it, with
// DATA and dot-stuffing elsewhere.
//
// A client whose connection broke before the answer came cannot know whether
// the message was delivered (RFC 1047). Where the server offers XAGAIN, a
// parameter of MAIL says so, and the server looks before it delivers again.
//
// The queue id travels as the IDENT attribute of XFORWARD (Postfix
// XFORWARD_README), so that one id names a message in the logs of all programs.
package lmtp

import (
	"context"
	"io"

	"peyk/internal/envelope"
	"peyk/internal/status"
)

// Transaction is one message for a client to hand over.
type Transaction struct {
	QueueID    string // XFORWARD IDENT=, where offered
	Sender     string // wire form without brackets, "" is the null sender
	Body       string // "", 7BIT, 8BITMIME, BINARYMIME
	SMTPUTF8   bool   // RFC 6531
	RequireTLS bool   // RFC 8689
	Ret        string // RFC 3461: "", FULL, HDRS
	EnvID      string // decoded
	Size       int64  // exact number of octets of Message; 0 where it is not known
	Recipients []envelope.Recipient
	Message    io.Reader // wire form: CRLF, not dot-stuffed
	NextHop    string    // for the caller's use; not sent
	Again      bool      // an earlier attempt was cut off and may have succeeded: XAGAIN, where offered
}

// Result is what became of one recipient.
type Result struct {
	Err   *status.Error // nil: the other side has taken responsibility
	Reply string        // the reply as received, lines joined by a blank; "" if none came
}

// Peer is who speaks to a server.
type Peer struct {
	Session string // id of the session in the log
	Addr    string // remote address; "" on a Unix socket
	UID     int    // user of the process at the other end of a Unix socket; -1 unknown
	Helo    string // argument of LHLO
}

// Mail is a transaction that a client has begun. Everything in it was checked
// against its grammar.
type Mail struct {
	Peer       Peer
	Ident      string // queue id from XFORWARD; "" if none was given
	Sender     string // wire form without brackets, "" is the null sender
	Body       string // "", 7BIT, 8BITMIME, BINARYMIME
	SMTPUTF8   bool
	RequireTLS bool
	Ret        string
	EnvID      string // decoded
	Size       int64  // as declared by SIZE=; 0 if it was not
	Again      bool   // the client does not know what became of an earlier attempt
}

// Backend begins transactions for a server. One Backend serves all sessions at
// the same time.
type Backend interface {
	// Begin answers MAIL. An error, best a *status.Error, refuses it.
	Begin(ctx context.Context, m *Mail) (Handler, error)
}

// Handler is one transaction. Its methods are called from one goroutine.
type Handler interface {
	// Rcpt answers RCPT. An error refuses this recipient.
	Rcpt(ctx context.Context, r envelope.Recipient) error
	// Data takes the message, in wire form, and returns one outcome for each
	// recipient that Rcpt accepted, in order. size is the octet count where it
	// is known beforehand (one BDAT chunk), else -1. If reading ends with
	// anything but io.EOF nothing may be delivered: the error is ErrContent,
	// ErrTooBig, ErrAborted or a broken connection, and what the outcomes say
	// is ignored.
	Data(ctx context.Context, message io.Reader, size int64) []Outcome
	// End releases what the transaction holds. It is always called, once, last.
	End()
}

// Outcome is the answer for one recipient after the message.
type Outcome struct {
	Err  error  // nil is success; an error without a status is 451 4.3.0
	Code string // enhanced code of a success; default 2.0.0
	Text string // text of a success; default "delivered"
}
