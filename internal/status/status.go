// Package status holds the one error type that crosses package boundaries in
// Peyk: a reply code (RFC 5321 §4.2), an enhanced status code (RFC 3463), a
// text for the other side and a cause for the log. The same value becomes the
// SMTP or LMTP reply, the IMAP response, the journal line, the field of a
// delivery report and the exit status.
package status

import (
	"errors"
	"fmt"

	"peyk/internal/sysexits"
)

// Error is a failure with all that anybody needs to know about it.
type Error struct {
	Code     int    // reply code, 400–599 (RFC 5321 §4.2.1)
	Enhanced string // enhanced status code such as "5.1.1" (RFC 3463)
	Text     string // for the network: one line, lower case, "cannot X", no secrets
	Op       string // for the log: what was being done, such as "open uidlist"
	Err      error  // for the log: the cause, nil where there is none
}

// New makes an error whose whole story fits into its text.
func New(code int, enhanced, text string) *Error {
	return &Error{Code: code, Enhanced: enhanced, Text: text}
}

// Newf is New with a formatted text.
func Newf(code int, enhanced, format string, args ...any) *Error {
	return New(code, enhanced, fmt.Sprintf(format, args...))
}

// Because returns a copy of e that carries the operation and its cause, which
// go into the log only.
func (e *Error) Because(op string, err error) *Error {
	c := *e
	c.Op, c.Err = op, err
	return &c
}

// Error returns everything known, for the log; use Reply for the network.
func (e *Error) Error() string {
	s := e.Text
	if e.Op != "" {
		s += ": " + e.Op
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives errors.Is and errors.As the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether another try may succeed.
func (e *Error) Temporary() bool { return e.Code < 500 }

// Reply returns the line for the network, without a line end.
func (e *Error) Reply() string { return fmt.Sprintf("%d %s %s", e.Code, e.Enhanced, e.Text) }

// Of returns err as an *Error. Any error that does not carry a status is
// temporary, 451 4.3.0: mail is never lost by accident. Of(nil) is nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return New(451, "4.3.0", "cannot do this now, try again later").Because("", err)
}

// Exit returns the sysexits(3) status that tells a calling program the same
// thing as e.
func (e *Error) Exit() int {
	if e == nil {
		return sysexits.OK
	}
	if e.Temporary() {
		return sysexits.TempFail
	}
	if code, ok := exits[subject(e.Enhanced)]; ok {
		return code
	}
	return sysexits.Unavailable
}

// exits maps the subject and detail of RFC 3463 codes to exit statuses.
var exits = map[string]int{
	"1.1": sysexits.NoUser,
	"1.2": sysexits.NoHost,
	"1.3": sysexits.Usage,
	"2.1": sysexits.NoPerm,
	"2.2": sysexits.CantCreat,
	"5.2": sysexits.Usage,
	"5.4": sysexits.Usage,
	"6.0": sysexits.DataErr,
	"7.1": sysexits.NoPerm,
}

// subject returns "1.1" for "5.1.1".
func subject(enhanced string) string {
	if len(enhanced) > 2 {
		return enhanced[2:]
	}
	return ""
}
