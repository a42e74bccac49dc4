package smtpclient

import (
	"errors"
	"fmt"
	"os"

	"peyk/internal/status"
)

// ReplyError is a refusal by the server.
type ReplyError struct {
	Command string // what it answered, such as "MAIL FROM", "greeting", "end of data"
	Reply   Reply
}

func (e *ReplyError) Error() string {
	return fmt.Sprintf("said: %s (in reply to %s)", e.Reply.Text(), e.Command)
}

// ConnError is the end of a session by the network, by a timeout, or by a
// server that does not speak SMTP.
type ConnError struct {
	Doing string // such as "waiting for the reply to MAIL FROM"
	Err   error
}

func (e *ConnError) Error() string { return e.what() + " while " + e.Doing + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *ConnError) Unwrap() error { return e.Err }

func (e *ConnError) what() string {
	switch {
	case errors.Is(e.Err, os.ErrDeadlineExceeded):
		return "timed out"
	case errors.Is(e.Err, ErrReply), errors.Is(e.Err, ErrReplyTooLong):
		return "broke the protocol"
	}
	return "lost connection"
}

// HandshakeError is a failed TLS handshake.
type HandshakeError struct{ Err error }

func (e *HandshakeError) Error() string { return "TLS handshake failed: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *HandshakeError) Unwrap() error { return e.Err }

// SourceError says that the message could not be read to its end.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return "cannot read the message: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// ErrInjection means that there were bytes between the reply to STARTTLS and
// the handshake: somebody on the way tries to have them taken for the server's
// (CVE-2011-0411 turned round). No mail may be sent on such a path.
var ErrInjection = errors.New("the server sent more than the reply to STARTTLS before the handshake")

// Status returns what an error of this package means for mail to the host
// that who names: refusals with the codes of the server and its words, all
// else as temporary.
func Status(err error, who string) *status.Error {
	var (
		reply     *ReplyError
		conn      *ConnError
		handshake *HandshakeError
		source    *SourceError
		ready     *status.Error
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &reply):
		return reply.status(who)
	case errors.As(err, &conn):
		return conn.status(who)
	case errors.As(err, &handshake), errors.Is(err, ErrInjection):
		return status.Newf(454, "4.7.5", "host %s: TLS failed", who).Because("STARTTLS", err)
	case errors.As(err, &source):
		return status.New(451, "4.3.0", "cannot read the message").Because("read message", source.Err)
	case errors.Is(err, ErrClearText), errors.Is(err, ErrNoMechanism):
		return status.Newf(454, "4.7.0", "host %s: %v", who, err)
	case errors.As(err, &ready):
		return status.Newf(ready.Code, ready.Enhanced, "%s (host %s)", ready.Text, who)
	}
	return status.Newf(451, "4.4.2", "host %s: lost connection", who).Because("", err)
}

func (e *ReplyError) status(who string) *status.Error {
	code, enhanced := e.Reply.Code, e.Reply.Enhanced
	if code < 400 {
		// A positive reply where none belongs: the server is confused.
		code, enhanced = 451, "4.5.0"
	}
	if enhanced == "" {
		enhanced = fmt.Sprintf("%d.0.0", code/100)
	}
	return status.Newf(code, enhanced, "host %s %s", who, e.Error())
}

func (e *ConnError) status(who string) *status.Error {
	enhanced := "4.4.2"
	if e.what() == "broke the protocol" {
		enhanced = "4.5.0"
	}
	return status.Newf(451, enhanced, "host %s: %s while %s", who, e.what(), e.Doing).Because("", e.Err)
}
