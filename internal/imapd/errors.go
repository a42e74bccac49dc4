package imapd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// syntaxError is a command that does not follow the grammar: BAD.
type syntaxError struct {
	at   int // octet of the command, from 1
	text string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s at octet %d", e.text, e.at) }

// no is a refusal with a response code of RFC 5530, which may be empty.
func no(code imap.ResponseCode, format string, args ...any) error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: fmt.Sprintf(format, args...)}
}

func bad(format string, args ...any) error {
	return &imap.Error{Type: imap.StatusResponseTypeBad, Text: fmt.Sprintf(format, args...)}
}

// isBad reports whether err is answered with BAD.
func isBad(err error) bool {
	var wire *imap.Error
	return errors.As(err, new(*syntaxError)) || errors.As(err, &wire) && wire.Type == imap.StatusResponseTypeBad
}

// Response codes that go-imap has no name for.
const (
	codeExpungeIssued imap.ResponseCode = "EXPUNGEISSUED" // RFC 5530
	codeReadOnly      imap.ResponseCode = "READ-ONLY"
)

// complain sends the tagged NO or BAD for err. Errors of the connection are
// returned, as are those after which it must end.
func (s *session) complain(p *parser, err error) error {
	if err == nil {
		return nil
	}
	var grammar *syntaxError
	if errors.As(err, &grammar) {
		return s.misunderstood(p, grammar)
	}
	answer := s.answer(err)
	if answer == nil {
		return err
	}
	s.text(p.tag, " ", string(answer.Type), " ")
	if answer.Code != "" {
		s.text("[", string(answer.Code), "] ")
	}
	s.text(plain(answer.Text), "\r\n")
	return nil
}

// plain keeps a human text to TEXT-CHAR (RFC 9051 §9): it may name what the
// client named.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// misunderstood answers BAD, and BYE to a client that never makes sense.
func (s *session) misunderstood(p *parser, err *syntaxError) error {
	if p.tag == "" {
		s.text("* BAD ", err.Error(), "\r\n")
	} else {
		s.text(p.tag, " BAD ", err.Error(), "\r\n")
	}
	s.bad++
	if s.bad < s.limits.Errors {
		return nil
	}
	s.bye("too many commands that cannot be understood")
	return err
}

// answer makes the reply of an error; nil is an error of the connection.
func (s *session) answer(err error) *imap.Error {
	var wire *imap.Error
	if errors.As(err, &wire) {
		return wire
	}
	var st *status.Error
	switch {
	case errors.Is(err, errLogout):
		return nil
	case errors.As(err, &st):
		if st.Err != nil && st.Temporary() { // others are the client's own mistakes
			s.log.Event(eventlog.Trouble, "reason", st.Text, "error", err)
		}
		return &imap.Error{Type: imap.StatusResponseTypeNo, Code: codeOf(err, st), Text: st.Text}
	case errors.Is(err, mailbox.ErrGone):
		return &imap.Error{Type: imap.StatusResponseTypeNo, Code: codeExpungeIssued, Text: "some of the messages are gone"}
	case isStoreError(err):
		s.log.Event(eventlog.Trouble, "reason", "cannot use the mailbox", "error", err)
		return &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeServerBug, Text: "cannot do this now, try again later"}
	}
	return nil
}

// storeError marks an error of the store, as opposed to one of the
// connection.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

func isStoreError(err error) bool {
	var e *storeError
	return errors.As(err, &e)
}

// stored wraps what the store returned.
func stored(err error) error {
	if err == nil {
		return nil
	}
	return &storeError{err}
}

// codeOf finds the response code of RFC 5530 for an error of the store.
func codeOf(err error, st *status.Error) imap.ResponseCode {
	for _, c := range []struct {
		is   error
		code imap.ResponseCode
	}{
		{mailbox.ErrNoFolder, imap.ResponseCodeNonExistent},
		{mailbox.ErrExists, imap.ResponseCodeAlreadyExists},
		{mailbox.ErrName, imap.ResponseCodeCannot},
		{mailbox.ErrInUse, imap.ResponseCodeInUse},
		{mailbox.ErrLocked, imap.ResponseCodeInUse},
		{mailbox.ErrQuota, imap.ResponseCodeOverQuota},
		{mailbox.ErrKeywords, imap.ResponseCodeLimit},
		{mailbox.ErrLimit, imap.ResponseCodeLimit},
		{mailbox.ErrMetaSize, codeMetaSize},
		{mailbox.ErrMetaMany, "METADATA TOOMANY"},
		{mailbox.ErrGone, codeExpungeIssued},
	} {
		if errors.Is(err, c.is) {
			return c.code
		}
	}
	if st.Temporary() {
		return imap.ResponseCodeUnavailable
	}
	return imap.ResponseCodeCannot
}
