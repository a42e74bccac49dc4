package lmtp

import (
	"strconv"
	"strings"

	"peyk/internal/envelope"
)

// obey runs one command.
func (s *session) obey(line string) {
	verb, args := cutVerb(line)
	switch verb {
	case "LHLO":
		s.lhlo(args)
	case "HELO", "EHLO": // RFC 2033 §4.1
		s.wrong(500, "5.5.1", "this is LMTP: say LHLO")
	case "NOOP":
		s.reply(250, "2.0.0", "ok")
	case "QUIT":
		s.reply(221, "2.0.0", "bye")
		s.quit = true
	case "RSET":
		s.endTransaction()
		s.reply(250, "2.0.0", "ok")
	case "VRFY": // RFC 5321 §3.5.3
		s.reply(252, "2.5.0", "cannot verify: send the message and see")
	case "HELP":
		s.reply(214, "2.0.0", "see RFC 2033")
	case "MAIL", "RCPT", "DATA", "BDAT", "XFORWARD":
		s.transaction(verb, args)
	case "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT": // a browser was talked into this
		s.reply(421, "4.7.0", "this is LMTP, not HTTP")
		s.errors, s.quit = s.errors+1, true
	default:
		s.wrong(500, "5.5.1", "unknown command")
	}
}

// cutVerb splits a command line at its first blank. The verb comes in upper
// case (RFC 5321 §2.4).
func cutVerb(line string) (verb, args string) {
	verb, args, _ = strings.Cut(line, " ")
	return strings.ToUpper(verb), args
}

func (s *session) lhlo(args string) {
	name := strings.TrimRight(args, " ")
	if !helloName(name) {
		s.wrong(501, "5.5.4", "cannot read LHLO: expected the name or the address literal of the client")
		return
	}
	s.endTransaction() // RFC 5321 §4.1.4
	s.hello, s.peer.Helo = true, name
	keywords := []string{s.o.Hostname, "PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8", "DSN",
		"SIZE " + strconv.FormatInt(s.o.MaxSize, 10), "ENHANCEDSTATUSCODES", "XFORWARD IDENT"}
	if s.o.RequireTLS {
		keywords = append(keywords, "REQUIRETLS")
	}
	if s.o.Again {
		keywords = append(keywords, "XAGAIN")
	}
	for i, k := range keywords {
		mark := "250-"
		if i == len(keywords)-1 {
			mark = "250 "
		}
		s.out = append(s.out, mark+k+"\r\n"...)
	}
}

func helloName(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`<>()"\,;`, c) >= 0 {
			return false
		}
	}
	return name != "" && len(name) <= 255
}

// transaction runs the commands that need LHLO before them.
func (s *session) transaction(verb, args string) {
	if !s.hello {
		if verb == "BDAT" {
			s.bdat(args) // which has to use up its octets
			return
		}
		s.wrong(503, "5.5.1", "say LHLO first") // RFC 2033 §4.1
		return
	}
	switch verb {
	case "MAIL":
		s.mail(args)
	case "RCPT":
		s.rcpt(args)
	case "DATA":
		s.data(args)
	case "BDAT":
		s.bdat(args)
	case "XFORWARD":
		s.xforward(args)
	}
}

func (s *session) mail(args string) {
	if s.handler != nil {
		s.wrong(503, "5.5.1", "a transaction is open already: send RSET first") // RFC 5321 §4.1.4
		return
	}
	m, bad := parseMail(args, s.o)
	if bad != nil {
		s.wrong(bad.Code, bad.Enhanced, bad.Text)
		return
	}
	if m.Size > s.o.MaxSize { // RFC 1870 §6.1
		s.reply(552, "5.3.4", "message is larger than "+strconv.FormatInt(s.o.MaxSize, 10)+" octets")
		return
	}
	m.Peer, m.Ident = s.peer, s.ident
	handler, err := s.srv.backend.Begin(s.srv.ctx, m)
	if err != nil {
		s.fail(err, "")
		return
	}
	s.handler, s.utf8 = handler, m.SMTPUTF8
	s.reply(250, "2.1.0", "sender ok")
}

func (s *session) rcpt(args string) {
	if s.handler == nil {
		s.wrong(503, "5.5.1", "send MAIL first")
		return
	}
	if len(s.rcpts) >= s.o.MaxRecipients { // RFC 5321 §4.5.3.1.10
		s.excess++
		s.reply(452, "4.5.3", "too many recipients: send the rest in another transaction")
		return
	}
	r, bad := parseRcpt(args, s.utf8)
	if bad != nil {
		s.wrong(bad.Code, bad.Enhanced, bad.Text)
		return
	}
	if err := s.handler.Rcpt(s.srv.ctx, r); err != nil {
		s.fail(err, r.Address)
		return
	}
	s.rcpts = append(s.rcpts, r.Address)
	s.reply(250, "2.1.5", "recipient ok")
}

// xforward takes the queue id for the next transaction.
func (s *session) xforward(args string) {
	if s.handler != nil {
		s.wrong(503, "5.5.1", "XFORWARD must come before MAIL")
		return
	}
	ident := s.ident
	for word := range strings.SplitSeq(args, " ") {
		name, value, _ := strings.Cut(word, "=")
		decoded, err := envelope.DecodeXtext(value)
		if !strings.EqualFold(name, "IDENT") || err != nil || value == "" || len(value) > 255 || !clean([]byte(decoded)) {
			s.wrong(501, "5.5.4", "cannot read XFORWARD: expected IDENT= and a queue id in xtext")
			return
		}
		if decoded == "[UNAVAILABLE]" || decoded == "[TEMPUNAVAIL]" {
			decoded = ""
		}
		ident = decoded
	}
	s.ident = ident
	s.reply(250, "2.0.0", "ok")
}
