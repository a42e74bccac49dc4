package imapd

import (
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// append: RFC 3501 §6.3.11. The message goes from the connection to the disk;
// it is asked for only once nothing speaks against it.
func (s *session) append(p *parser) (reply, error) {
	name, o, h, err := p.appendArguments()
	if err != nil {
		return reply{}, err
	}
	if h.size > s.limits.MessageSize || h.size < 0 {
		return reply{}, no(imap.ResponseCodeTooBig, "cannot take a message of more than %d octets", s.limits.MessageSize)
	}
	if h.size == 0 {
		return reply{}, no(imap.ResponseCodeCannot, "cannot keep a message without a single octet")
	}
	f, err := s.destination(name)
	if err != nil {
		return reply{}, err
	}
	defer f.Close()
	return s.receive(p, f, o, h)
}

// receive takes the message. Whatever happens to it, its octets are read, and
// it is kept only if the command ends where it should.
func (s *session) receive(p *parser, f *mailbox.Folder, o imap.AppendOptions, h literalHead) (reply, error) {
	if err := p.accept(h); err != nil {
		return reply{}, err
	}
	in := &literalReader{r: s.in, left: h.size}
	flags, keywords := split(o.Flags)
	flags, keywords = s.allowedFlags(f, flags, keywords)
	var ending error
	uid, err := f.Append(flags, keywords, o.Time, func(w io.Writer) error {
		if _, err := io.Copy(w, in); err != nil {
			return err
		}
		ending = p.endOfAppend()
		return ending
	})
	if in.failed == nil && in.left > 0 {
		io.Copy(io.Discard, in)
	}
	switch {
	case in.failed != nil:
		p.ended = true // nothing more will come
		return reply{}, in.failed
	case ending == nil && !p.ended:
		ending = p.endOfAppend()
	}
	if ending != nil {
		return reply{}, ending
	}
	if err != nil {
		return reply{}, stored(err)
	}
	s.count.appended++
	snap, err := f.RefreshReadOnly(s.ctx)
	if err != nil {
		return reply{}, stored(err)
	}
	return reply{code: fmt.Sprintf("APPENDUID %d %d", snap.UIDValidity, uid)}, nil // RFC 4315 §3
}

// endOfAppend takes the end of the command, after the message.
func (p *parser) endOfAppend() error {
	if err := p.afterLiteral(); err != nil {
		return err
	}
	return p.end()
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

func (p *parser) appendArguments() (name string, o imap.AppendOptions, h literalHead, err error) {
	if err = p.sp(); err != nil {
		return
	}
	raw, err := p.astring()
	if err != nil {
		return
	}
	if err = p.sp(); err != nil {
		return
	}
	if p.peek() == '(' {
		if o.Flags, err = p.flagList(); err != nil {
			return
		}
		if err = p.sp(); err != nil {
			return
		}
	}
	if p.peek() == '"' {
		if o.Time, err = p.dateTime(); err != nil {
			return
		}
		if err = p.sp(); err != nil {
			return
		}
	}
	if h, err = p.head(); err != nil {
		return
	}
	name, err = decodeName(raw)
	return
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
	t, err := time.Parse(dateTimeLayout, text)
	if err != nil || len(text) != len(dateTimeLayout) {
		p.pos = from
		return time.Time{}, p.fail("expected a date and time such as %q", " 7-Feb-1994 21:52:25 -0800")
	}
	return t, nil
}
