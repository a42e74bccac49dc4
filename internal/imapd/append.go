package imapd

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// maxAppended bounds the messages of one APPEND (RFC 3502).
const maxAppended = 10_000

// append: RFC 3501 §6.3.11, with several messages (RFC 3502). A message goes
// from the connection to the disk; it is asked for only once nothing speaks
// against it. All of them appear together, or none.
func (s *session) append(p *parser) (reply, error) {
	in := &intake{s: s, p: p}
	defer in.close()
	if err := in.readName(); err != nil {
		return reply{}, err
	}
	for n := 0; n == 0 || !p.done(); n++ {
		if n == maxAppended {
			return reply{}, no(imap.ResponseCodeLimit, "cannot take more than %d messages at once", maxAppended)
		}
		if err := in.message(); err != nil {
			return reply{}, err
		}
		p.spent = 0 // the limit of a line is one for each message
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	var uids []uint32
	if err := s.doing.during(in.add.Len(), func() (err error) {
		uids, err = in.add.Commit()
		return stored(err)
	}); err != nil {
		return reply{}, err
	}
	s.count.appended += len(uids)
	s.made(in.folder, uids...)
	return reply{code: appendUID(in.folder, uids)}, nil
}

// appendUID: RFC 4315 §3, RFC 3502.
func appendUID(f *mailbox.Folder, uids []uint32) string {
	return string(appendSet(fmt.Appendf(nil, "APPENDUID %d ", f.UIDValidity()), uids))
}

// An intake takes messages for one mailbox from a command.
type intake struct {
	s      *session
	p      *parser
	name   string
	folder *mailbox.Folder
	add    *mailbox.Addition
}

// readName takes the name of the mailbox.
func (in *intake) readName() error {
	raw, err := in.p.nextAstring()
	if err != nil {
		return err
	}
	in.name, err = in.p.s.on.decodeName(raw)
	return err
}

func (in *intake) close() {
	if in.folder != nil {
		in.add.Abort()
		in.folder.Close()
	}
}

// open makes the mailbox ready, if it is there.
func (in *intake) open() (err error) {
	if in.folder != nil {
		return nil
	}
	if in.folder, err = in.s.destination(in.name); err != nil {
		in.folder = nil
		return err
	}
	in.add = in.folder.Begin()
	return nil
}

// message takes one append-message (RFC 4466 §6).
func (in *intake) message() error {
	p := in.p
	var o imap.AppendOptions
	if err := p.appendOptions(&o); err != nil {
		return err
	}
	if c := p.peek(); c == '{' || c == '~' {
		h, err := p.head8()
		if err != nil {
			return err
		}
		return in.literal(o, h)
	}
	word, err := p.word()
	if err != nil {
		return p.fail("expected a literal")
	}
	switch word {
	case "CATENATE":
		return in.catenate(o)
	case "UTF8":
		if !in.s.on.utf8() {
			return bad("say ENABLE UTF8=ACCEPT before this") // RFC 6855 §4
		}
		return in.utf8Literal(o)
	}
	return p.fail("expected a literal, CATENATE or UTF8")
}

// appendOptions takes the flags and the date, each with the space after it.
func (p *parser) appendOptions(o *imap.AppendOptions) (err error) {
	if err = p.sp(); err != nil {
		return err
	}
	if p.peek() == '(' {
		if o.Flags, err = p.flagList(); err != nil {
			return err
		}
		if err = p.sp(); err != nil {
			return err
		}
	}
	if p.peek() == '"' {
		if o.Time, err = p.dateTime(); err != nil {
			return err
		}
		return p.sp()
	}
	return nil
}

// literal takes a message that is one literal.
func (in *intake) literal(o imap.AppendOptions, h literalHead) error {
	if err := in.may(h); err != nil {
		return err
	}
	if h.binary {
		return in.binary(o, h, in.p.afterLiteral)
	}
	return in.put(o, func(w io.Writer) error { return in.copy(h, w, in.p.afterLiteral) })
}

// may says whether a message of this size may come.
func (in *intake) may(h literalHead) error {
	limit := in.s.limits.MessageSize
	if h.size > limit || h.size < 0 {
		return tooBig(limit)
	}
	if h.size == 0 { // RFC 3502: the client has thought better of it
		return no(imap.ResponseCodeCannot, "cannot keep a message without a single octet")
	}
	if err := in.open(); err != nil {
		return err
	}
	// On disk a message is smaller by its CRs, half of it at most.
	return stored(in.folder.Room(h.size/2, int64(in.add.Len()+1)))
}

func tooBig(limit int64) error {
	return no(imap.ResponseCodeTooBig, "cannot take a message of more than %d octets", limit)
}

// put writes one message by write. Errors of write come back as they are.
func (in *intake) put(o imap.AppendOptions, write func(io.Writer) error) error {
	flags, keywords := split(o.Flags)
	flags, keywords = in.s.allowedFlags(in.folder, flags, keywords)
	var failed error
	err := in.add.Add(mailbox.NewMessage{Flags: flags, Keywords: keywords, Date: o.Time, Write: func(w io.Writer) error {
		failed = write(w)
		return failed
	}})
	if failed != nil {
		return failed
	}
	return stored(err)
}

// utf8Literal takes a message as UTF8 (literal8) (RFC 6855 §4).
func (in *intake) utf8Literal(o imap.AppendOptions) error {
	p := in.p
	if err := p.sp(); err != nil {
		return err
	}
	if err := p.expect('('); err != nil {
		return err
	}
	h, err := p.head8()
	if err != nil {
		return err
	}
	if !h.binary {
		return p.fail("expected a literal8")
	}
	if err := in.may(h); err != nil {
		return err
	}
	return in.binary(o, h, func() error {
		if err := p.afterLiteral(); err != nil {
			return err
		}
		return p.expect(')')
	})
}

// copy takes the octets of a literal, then what must follow it. Whatever w
// does with them, they are read.
func (in *intake) copy(h literalHead, w io.Writer, after func() error) error {
	p, s := in.p, in.s
	if err := p.accept(h); err != nil {
		p.ended = true
		return err
	}
	octets := &literalReader{r: s.in, left: h.size}
	buf := s.srv.buffer()
	_, err := io.CopyBuffer(w, octets, *buf)
	if err != nil && octets.failed == nil {
		io.CopyBuffer(io.Discard, struct{ io.Reader }{octets}, *buf)
	}
	s.srv.buffers.Put(buf)
	if octets.failed != nil {
		p.ended = true // nothing more will come
		return octets.failed
	}
	next := after()
	if err != nil {
		return stored(err)
	}
	return next
}

// literalReader reads a literal and remembers an error of the connection, so
// that it is told from one of the disk.
type literalReader struct {
	r      io.Reader
	left   int64
	failed error
}

func (l *literalReader) Read(b []byte) (int, error) {
	if l.failed != nil {
		return 0, l.failed
	}
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.r.Read(b[:min(int64(len(b)), l.left)])
	l.left -= int64(n)
	if err == io.EOF && l.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		l.failed = err
	}
	return n, err
}

// dateTimeLayout: date-time of RFC 3501 §9; the day may have a space before
// it.
const dateTimeLayout = "_2-Jan-2006 15:04:05 -0700"

// dateTime takes a date-time.
func (p *parser) dateTime() (time.Time, error) {
	from := p.pos
	text, err := p.quoted()
	if err != nil {
		return time.Time{}, err
	}
	t, ok := parseDateTime(text)
	if !ok {
		p.pos = from
		return time.Time{}, p.fail("expected a date and time such as %q", " 7-Feb-1994 21:52:25 -0800")
	}
	return t, nil
}

// parseDateTime understands a leap second, which package time does not: it is
// the first second of the next minute.
func parseDateTime(text string) (time.Time, bool) {
	const seconds = len(" 7-Feb-1994 21:52:")
	leap := len(text) == len(dateTimeLayout) && text[seconds:seconds+2] == "60"
	if leap {
		text = text[:seconds] + "59" + text[seconds+2:]
	}
	t, err := time.Parse(dateTimeLayout, text)
	if err != nil || len(text) != len(dateTimeLayout) {
		return t, false
	}
	if leap {
		t = t.Add(time.Second)
	}
	return t, true
}

// intakeCaps are the extensions about what comes in.
func (s *session) intakeCaps() []imap.Cap {
	limit := strconv.FormatInt(s.appendLimit(), 10)
	return []imap.Cap{
		imap.CapMultiAppend,
		"REPLACE",    // RFC 8508
		"INPROGRESS", // RFC 9585
		imap.CapBinary,
		"COMPRESS=DEFLATE", // RFC 4978
		"UTF8=ACCEPT",      // RFC 9755
		s.unauthenticateCap(),
		"CATENATE",                       // RFC 4469
		"URL-PARTIAL",                    // RFC 5550 §5.7.1
		imap.Cap("APPENDLIMIT=" + limit), // RFC 7889 §4: one limit for all mailboxes
	}
}

// appendLimit is a number of 32 bits on the wire.
func (s *session) appendLimit() int64 { return min(s.limits.MessageSize, math.MaxUint32) }
