package lmtp

import (
	"cmp"
	"errors"
	"io"

	"peyk/internal/status"
)

// content is a message that is being received.
type content interface {
	io.Reader
	// skip reads what is left. It returns nil after a good message, ErrContent
	// or ErrTooBig after a complete one that is refused, ErrAborted when the
	// client gave it up, and anything else when the session is over.
	skip() error
	// single reports whether the command has one reply, not one for each
	// recipient.
	single() bool
}

func (s *session) data(args string) {
	switch {
	case args != "":
		s.wrong(501, "5.5.4", "DATA takes no parameter")
	case s.handler == nil:
		s.wrong(503, "5.5.1", "send MAIL first")
	case len(s.rcpts) == 0: // RFC 2033 §4.2
		s.wrong(503, "5.5.1", "no recipient was accepted")
	default:
		s.out = append(s.out, "354 send the message, end with a dot\r\n"...)
		s.setContent(true)
		s.receive(&dataReader{x: &s.wire, max: s.o.MaxSize}, -1)
	}
}

func (s *session) bdat(args string) {
	size, last, ok := parseBDAT(args)
	if !ok {
		s.wrong(501, "5.5.4", "cannot read BDAT: expected a size in octets, and LAST or nothing")
		s.quit = true // what follows may be content: it must not be obeyed
		return
	}
	s.setContent(true)
	if len(s.rcpts) == 0 {
		s.bdatForNobody(size)
		return
	}
	c := &chunkReader{s: s}
	c.left, c.last, c.size = size, last, size
	if size > s.o.MaxSize {
		c.size, c.err = 0, ErrTooBig
	}
	known := int64(-1)
	if last {
		known = size
	}
	s.receive(c, known)
}

// bdatForNobody uses up a chunk that has no transaction (RFC 3030 §2).
func (s *session) bdatForNobody(size int64) {
	err := s.discard(size)
	s.setContent(false)
	if err != nil {
		s.farewell(err)
		s.quit = true
		return
	}
	why := "no recipient was accepted"
	if s.handler == nil {
		why = "send MAIL first"
	}
	if s.handler == nil && !s.hello {
		why = "say LHLO first"
	}
	s.wrong(503, "5.5.1", why)
	s.endTransaction()
}

// receive lets the handler take the message, and gives one reply for each
// recipient (RFC 2033 §4.2).
func (s *session) receive(c content, size int64) {
	outcomes := s.handler.Data(s.srv.ctx, c, size)
	err := c.skip()
	s.setContent(false)
	switch {
	case err == nil:
		s.outcomes(outcomes)
	case errors.Is(err, ErrContent):
		s.refuse(c, status.New(550, "5.6.11", "message holds a bare CR, a bare LF or a NUL"))
	case errors.Is(err, ErrTooBig):
		s.refuse(c, status.Newf(552, "5.3.4", "message is larger than %d octets", s.o.MaxSize))
	case errors.Is(err, ErrAborted):
		s.aborted()
		return
	default:
		s.farewell(err)
		s.quit = true
	}
	s.endTransaction()
}

// aborted answers the command by which the client gave a chunked message up.
func (s *session) aborted() {
	verb := s.after
	s.endTransaction()
	if !s.tooWrong() {
		s.obey(verb)
	}
}

// refuse answers for a message that is no good.
func (s *session) refuse(c content, e *status.Error) {
	if c.single() {
		s.fail(e, "")
		return
	}
	for _, r := range s.rcpts {
		s.fail(e, r)
	}
}

// outcomes replies in the order of the recipients. One that the handler
// forgot is temporary.
func (s *session) outcomes(outcomes []Outcome) {
	delivered := false
	for i, r := range s.rcpts {
		o := Outcome{Err: status.New(451, "4.3.0", "cannot deliver now, try again later")}
		if i < len(outcomes) {
			o = outcomes[i]
		}
		if o.Err != nil {
			s.fail(o.Err, r)
			continue
		}
		delivered = true
		s.reply(250, cmp.Or(o.Code, "2.0.0"), "<"+r+"> "+cmp.Or(o.Text, "delivered"))
	}
	if delivered {
		s.messages++
	}
}
