package sendmail

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"peyk/internal/address"
	"peyk/internal/status"
	"peyk/internal/sysexits"
)

const (
	maxLine   = 4096 // octets of a command line
	maxErrors = 20   // wrong commands of a session
)

// session is sendmail -bs: SMTP (RFC 5321) on standard input and output, for
// programs that run it instead of connecting to a port.
//
// A session whose first command ends with a bare LF is one of LF throughout,
// as from a shell script. In any other, a bare CR or LF in a message is
// refused, so that what two programs take for the end of a message cannot
// differ.
type session struct {
	p      *program
	r      *bufio.Reader
	w      *bufio.Writer
	lf     bool // lines end with LF
	first  bool // no command has come yet
	hello  bool
	job    *job
	wrongs int
}

func (p *program) smtp() int {
	s := &session{p: p, r: bufio.NewReaderSize(p.Stdin, maxLine), w: bufio.NewWriter(p.Stdout), first: true}
	defer s.w.Flush()
	s.say(220, "", p.hostname()+" ESMTP Peyk")
	for {
		if s.r.Buffered() == 0 {
			s.w.Flush()
		}
		line, err := s.line()
		if errors.Is(err, bufio.ErrBufferFull) {
			s.say(500, "5.5.2", "line too long")
			return sysexits.Protocol
		}
		if err != nil { // a command that was cut is not obeyed
			return sysexits.OK
		}
		verb, args, _ := strings.Cut(line, " ")
		if strings.EqualFold(verb, "QUIT") {
			s.say(221, "2.0.0", "bye")
			return sysexits.OK
		}
		s.obey(strings.ToUpper(verb), strings.TrimSpace(args))
		if s.wrongs > maxErrors {
			s.say(421, "4.7.0", "too many errors")
			return sysexits.Protocol
		}
	}
}

// line reads a command line without its end.
func (s *session) line() (string, error) {
	b, err := s.r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	line := string(b[:len(b)-1])
	trimmed, crlf := strings.CutSuffix(line, "\r")
	if s.first {
		s.first, s.lf = false, !crlf
	}
	return trimmed, nil
}

func (s *session) say(code int, enhanced, text string) {
	if enhanced != "" {
		enhanced += " "
	}
	fmt.Fprintf(s.w, "%d %s%s\r\n", code, enhanced, strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text))
	if code >= 500 {
		s.wrongs++
	}
}

func (s *session) no(err error) {
	e := status.Of(err)
	s.say(e.Code, e.Enhanced, e.Text)
}

func (s *session) obey(verb, args string) {
	switch verb {
	case "HELO":
		s.greet()
		s.say(250, "", s.p.hostname())
	case "EHLO":
		s.greet()
		fmt.Fprintf(s.w, "250-%s\r\n250-PIPELINING\r\n250-SIZE %d\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n",
			s.p.hostname(), s.p.maxSize())
	case "MAIL":
		s.mail(args)
	case "RCPT":
		s.rcpt(args)
	case "DATA":
		s.data()
	case "RSET":
		s.job = nil
		s.say(250, "2.0.0", "ok")
	case "NOOP", "HELP":
		s.say(250, "2.0.0", "ok; see sendmail(1)")
	case "VRFY":
		s.say(252, "2.0.0", "send mail and see")
	default:
		s.say(500, "5.5.2", "no such command")
	}
}

func (s *session) greet() { s.hello, s.job = true, nil }

func (s *session) mail(args string) {
	if !s.hello || s.job != nil {
		s.say(503, "5.5.1", "not now: say EHLO first, and end one message before the next")
		return
	}
	path, params, err := argument(args, "FROM:")
	if err != nil {
		s.no(err)
		return
	}
	j := &job{p: s.p}
	if err := j.params(params); err != nil {
		s.no(err)
		return
	}
	from, err := address.ParsePath(path, j.smtputf8)
	if err == nil {
		err = s.p.authorship(j)
	}
	if err != nil {
		s.no(err)
		return
	}
	j.from = s.withDomain(from)
	if !j.from.IsZero() {
		j.author, j.fullName = j.from, ""
	}
	s.job = j
	s.say(250, "2.1.0", "ok")
}

// withDomain completes <postmaster>, the one address that may lack a domain.
func (s *session) withDomain(a address.Address) address.Address {
	if a.Local != "" && a.Domain == "" {
		a.Domain = s.p.domain()
	}
	return a
}

// argument splits "FROM:<path> params". The path keeps its brackets.
func argument(args, prefix string) (path string, params []string, err error) {
	bad := status.Newf(501, "5.5.4", "expected %s<address>", prefix)
	if len(args) < len(prefix) || !strings.EqualFold(args[:len(prefix)], prefix) {
		return "", nil, bad
	}
	args = strings.TrimLeft(args[len(prefix):], " ")
	if !strings.HasPrefix(args, "<") {
		return "", nil, bad
	}
	i := 1
	for i < len(args) && args[i] != '>' {
		if args[i] == '"' {
			i += quoted(args[i:])
			continue
		}
		i++
	}
	if i >= len(args) {
		return "", nil, bad
	}
	return args[:i+1], strings.Fields(args[i+1:]), nil
}

// params takes the parameters of MAIL.
func (j *job) params(list []string) error {
	for _, param := range list {
		key, value, _ := strings.Cut(strings.ToUpper(param), "=")
		switch {
		case key == "SMTPUTF8" && value == "":
			j.smtputf8 = true
		case key == "BODY" && (value == "7BIT" || value == "8BITMIME"):
			j.body = value
		case key == "SIZE":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return status.New(501, "5.5.4", "SIZE must be a number")
			}
			if n > j.p.maxSize() {
				return status.Newf(552, "5.3.4", "message is larger than %d octets", j.p.maxSize())
			}
		default:
			return status.New(555, "5.5.4", "unknown parameter") // RFC 5321 §4.1.1.11
		}
	}
	return nil
}

func (s *session) rcpt(args string) {
	if s.job == nil {
		s.say(503, "5.5.1", "send MAIL first")
		return
	}
	path, params, err := argument(args, "TO:")
	if err == nil && len(params) > 0 {
		err = status.New(555, "5.5.4", "unknown parameter")
	}
	var a address.Address
	if err == nil {
		a, err = address.ParsePath(path, s.job.smtputf8)
	}
	if err == nil && a.IsZero() {
		err = status.New(501, "5.1.3", "expected an address")
	}
	if err != nil {
		s.no(err)
		return
	}
	if len(s.job.recipients) >= maxRecipients {
		s.say(452, "4.5.3", "too many recipients")
		return
	}
	s.job.recipients = append(s.job.recipients, s.withDomain(a))
	s.say(250, "2.1.5", "ok")
}

func (s *session) data() {
	if s.job == nil || len(s.job.recipients) == 0 {
		s.say(503, "5.5.1", "send MAIL and RCPT first")
		return
	}
	s.say(354, "", "end the message with a line that is a dot")
	s.w.Flush()
	d := &dataReader{r: s.r, lf: s.lf}
	id, err := s.job.queue(newWire(d, false))
	s.job = nil
	if _, derr := io.Copy(io.Discard, d); derr != nil && d.err != io.EOF {
		s.wrongs = maxErrors + 1 // the input ended in the message
		return
	}
	if err != nil {
		s.no(err)
		return
	}
	s.say(250, "2.0.0", "queued as "+id)
}

// dataReader reads a message up to the line that is a dot, and removes the
// stuffed ones (RFC 5321 §4.5.2).
type dataReader struct {
	r      *bufio.Reader
	lf     bool
	middle bool  // of a line
	last   byte  // the octet before
	bare   bool  // a bare CR or LF was met
	err    error // io.EOF after the end
	rest   []byte
}

var errBareLine = status.New(550, "5.6.11", "message holds a bare CR or LF")

// Read implements io.Reader. After the true end of a message with a bare CR
// or LF the error is errBareLine.
func (d *dataReader) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		if d.err == io.EOF && d.bare {
			return 0, errBareLine
		}
		if d.err != nil {
			return 0, d.err
		}
		d.next()
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

func (d *dataReader) next() {
	part, err := d.r.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull {
		d.err = io.ErrUnexpectedEOF
		return
	}
	begins := !d.middle
	if begins && d.isEnd(part) {
		d.err = io.EOF
		return
	}
	d.check(part)
	if begins && part[0] == '.' {
		part = part[1:]
	}
	d.rest = part
}

func (d *dataReader) isEnd(line []byte) bool {
	return string(line) == ".\r\n" || d.lf && string(line) == ".\n"
}

// check looks for line ends that are none, and notes where part leaves off:
// unless the session is one of LF, only CRLF begins a line in which a dot
// counts.
func (d *dataReader) check(part []byte) {
	begins := false
	for _, b := range part {
		crlf := b == '\n' && d.last == '\r'
		if !d.lf && !crlf && (b == '\n' || d.last == '\r') {
			d.bare = true
		}
		begins = crlf || d.lf && b == '\n'
		d.last = b
	}
	d.middle = !begins
}
