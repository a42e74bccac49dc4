package pop3d

import (
	"context"
	"strconv"
)

// stat is STAT: the number and octets of the messages that are not marked.
func (s *session) stat(context.Context, string) {
	n := s.messages.Len() - s.goneCount
	s.ok(strconv.Itoa(n) + " " + strconv.FormatInt(s.totalSize-s.goneSize, 10))
}

// list is LIST: the octets of one message, or of each.
func (s *session) list(_ context.Context, arg string) {
	s.scan(arg, func(b []byte, i int) []byte {
		return strconv.AppendInt(b, s.messages.At(i).Size, 10)
	})
}

// uidl is UIDL: the unique id of one message, or of each. It is UID and
// UIDVALIDITY in hexadecimal, which is Dovecot's default, so that clients keep
// their memory when a site moves between the two.
func (s *session) uidl(_ context.Context, arg string) {
	s.scan(arg, func(b []byte, i int) []byte {
		return appendHex(appendHex(b, s.messages.At(i).UID), s.validity)
	})
}

// appendHex appends n as eight hexadecimal digits.
func appendHex(b []byte, n uint32) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[n>>shift&15])
	}
	return b
}

// scan answers LIST and UIDL: a number and what item appends for it.
func (s *session) scan(arg string, item func(b []byte, i int) []byte) {
	if arg != "" {
		if i, ok := s.message(arg); ok {
			s.ok(string(item(append([]byte(arg), ' '), i)))
		}
		return
	}
	s.ok(strconv.Itoa(s.messages.Len()-s.goneCount) + " messages")
	l := listing{w: s.conn, buf: make([]byte, 0, outBuffer+128)}
	for i := range s.messages.Len() {
		if s.isGone(i) {
			continue
		}
		l.buf = strconv.AppendInt(l.buf, int64(i+1), 10)
		l.buf = item(append(l.buf, ' '), i)
		l.line()
	}
	l.end()
}

// message finds the message of a number; if there is none it answers so.
func (s *session) message(arg string) (index int, ok bool) {
	n, ok := number(arg)
	switch {
	case !ok:
		s.fail("expected the number of a message")
	case n < 1 || n > s.messages.Len():
		s.fail("no such message, there are " + strconv.Itoa(s.messages.Len()))
		ok = false
	case s.isGone(n - 1):
		s.fail("message " + arg + " is marked as deleted")
		ok = false
	}
	return n - 1, ok
}

func (s *session) isGone(i int) bool { return s.gone != nil && s.gone[i] }
