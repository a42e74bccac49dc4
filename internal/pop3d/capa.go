package pop3d

import (
	"context"
	"strconv"
	"strings"
)

// capa lists what the server can do (RFC 2449 §5).
func (s *session) capa(ctx context.Context, _ string) {
	s.ok("capabilities follow")
	l := listing{w: s.conn}
	l.text("TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER",
		"LOGIN-DELAY "+strconv.Itoa(int(s.o.LoginDelay.Seconds())), "UTF8 USER", "LANG")
	if s.mayLogin() && s.drop == nil {
		l.text("USER")
		if offer := s.offer(ctx); len(offer) > 0 {
			l.text("SASL " + strings.Join(offer, " "))
		}
	}
	if s.mayStartTLS() {
		l.text("STLS")
	}
	if s.drop != nil {
		l.text("IMPLEMENTATION Peyk") // RFC 2449 §6.9: not before the login, to tell strangers less
	}
	l.end()
}

// noop does nothing.
func (s *session) noop(context.Context, string) { s.ok("nothing done") }

// utf8Mode is UTF8 (RFC 6856 §2): the client takes UTF-8 in headers. Messages
// are given as they are stored in any case, so nothing changes.
func (s *session) utf8Mode(context.Context, string) {
	s.utf8 = true
	s.ok("UTF-8 it is")
}

// language is LANG (RFC 6856 §3): our replies are in English.
func (s *session) language(_ context.Context, arg string) {
	switch {
	case arg == "":
		s.ok("languages follow")
		l := listing{w: s.conn}
		l.text("en English", "i-default English")
		l.end()
	case arg == "*" || fold(arg) == "en":
		s.ok("en English")
	case fold(arg) == "i-default":
		s.ok("i-default English")
	default:
		s.fail("no such language; LANG lists them")
	}
}
