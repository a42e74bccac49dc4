package lmtp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strconv"
	"strings"
	"unicode/utf8"

	"peyk/internal/eventlog"
	"peyk/internal/status"
)

// session is one connection of a server.
type session struct {
	wire
	srv  *server
	log  *eventlog.Log
	peer Peer

	hello   bool
	ident   string
	handler Handler  // of the transaction; nil without one
	utf8    bool     // of the transaction
	rcpts   []string // accepted recipients in wire form
	excess  int      // recipients over the limit
	after   string   // command that ended a chunked message early

	errors   int // bad commands
	messages int // for the log: messages that at least one recipient got
	quit     bool
}

func newSession(srv *server, conn net.Conn, peer Peer) *session {
	s := &session{srv: srv, peer: peer, log: srv.Log.With("session", peer.Session)}
	s.wire = wire{conn: conn, o: &srv.Options, buf: make([]byte, inputSize)}
	return s
}

// run serves the connection to its end.
func (s *session) run() {
	s.log.Event(eventlog.Connected, "protocol", "lmtp", "uid", s.peer.UID, "address", s.peer.Addr)
	defer func() {
		if p := recover(); p != nil {
			s.log.Event(eventlog.Panic, "error", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
		s.endTransaction()
		s.log.Event(eventlog.Closed, "messages", s.messages, "errors", s.errors)
	}()
	s.out = append(s.out, "220 "+s.o.Hostname+" LMTP Peyk\r\n"...)
	for !s.quit {
		line, err := s.command()
		if err != nil {
			s.farewell(err)
			break
		}
		s.obey(line)
		if s.tooWrong() {
			s.reply(421, "4.7.0", "too many errors")
			break
		}
	}
	s.flush()
}

func (s *session) tooWrong() bool { return s.errors >= s.o.MaxErrors || s.excess > s.o.MaxRecipients }

// command reads one command line. Bad ones are answered, and never obeyed. The
// error ends the session.
func (s *session) command() (string, error) {
	for {
		line, crlf, err := s.line()
		if err != nil {
			return "", err
		}
		switch {
		case !crlf:
			s.wrong(500, "5.5.2", "cannot read command: lines must end in CRLF")
		case !clean(line):
			s.wrong(500, "5.5.2", "cannot read command: it holds a control character")
		default:
			return string(line), nil
		}
		if s.errors >= s.o.MaxErrors {
			return "", errTooWrong
		}
	}
}

var errTooWrong = errors.New("too many errors")

func clean(line []byte) bool {
	for _, c := range line {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// farewell answers what ended the session, where somebody may still listen. A
// command that was cut off by the end of time is not obeyed.
func (s *session) farewell(err error) {
	switch {
	case s.isDraining() && timedOut(err):
		s.reply(421, "4.3.2", "shutting down, try again later")
	case timedOut(err):
		s.reply(421, "4.4.2", "waited too long for the client")
	case errors.Is(err, errLineLong):
		s.reply(500, "5.5.2", "cannot read command: the line is too long")
	case errors.Is(err, errTooWrong):
		s.reply(421, "4.7.0", "too many errors")
	case errors.Is(err, errBadChunk):
		s.reply(501, "5.5.4", "cannot read BDAT: expected a size in octets, and LAST or nothing")
	case errors.Is(err, errEndless):
		s.reply(421, "4.7.0", "the message does not end")
	case !errors.Is(err, io.EOF):
		s.log.Event(eventlog.Trouble, "reason", "the connection broke", "error", err)
	}
}

// reply queues one reply line. Its text never breaks the line, and is ASCII
// unless the transaction is internationalized (RFC 6531 §3.7.4).
func (s *session) reply(code int, enhanced, text string) {
	const maxLine = 512 // RFC 5321 §4.5.3.1.5
	s.out = strconv.AppendInt(s.out, int64(code), 10)
	s.out = append(s.out, ' ')
	s.out = append(s.out, enhanced...)
	s.out = append(s.out, ' ')
	if most := maxLine - len("250 2.0.0 \r\n"); len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	for _, r := range text {
		if r < ' ' || r == 0x7f || r > 0x7f && !s.utf8 {
			r = '?'
		}
		s.out = utf8.AppendRune(s.out, r)
	}
	s.out = append(s.out, '\r', '\n')
}

// wrong is reply for a command that is the client's mistake.
func (s *session) wrong(code int, enhanced, text string) {
	s.errors++
	s.reply(code, enhanced, text)
}

// fail replies with what an error means.
func (s *session) fail(err error, about string) {
	e := status.Of(err)
	text := e.Text
	if about != "" {
		text = "<" + about + "> " + text
	}
	s.reply(e.Code, e.Enhanced, text)
}

// endTransaction releases the transaction, if there is one.
func (s *session) endTransaction() {
	if s.handler != nil {
		s.handler.End()
	}
	s.handler, s.rcpts, s.ident, s.utf8, s.after = nil, s.rcpts[:0], "", false, ""
}

// discard reads n octets of content that nobody wants.
func (s *session) discard(n int64) error {
	if n > 2*s.o.MaxSize {
		return errEndless
	}
	for n > 0 {
		k := min(n, int64(s.w-s.r))
		s.r += int(k)
		s.received += k
		n -= k
		if n == 0 {
			break
		}
		if err := s.more(); err != nil {
			return err
		}
	}
	return nil
}
