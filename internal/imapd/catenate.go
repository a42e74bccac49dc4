package imapd

import (
	"errors"
	"io"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
	"peyk/internal/mimescan"
)

// maxParts bounds the parts of one message that CATENATE makes.
const maxParts = 1000

// catenate: RFC 4469. A message is made of literals and of parts of messages
// that are here.
func (in *intake) catenate(o imap.AppendOptions) error {
	p := in.p
	if err := p.sp(); err != nil {
		return err
	}
	if err := p.expect('('); err != nil {
		return err
	}
	if err := in.open(); err != nil {
		return err
	}
	return in.put(o, in.parts)
}

// parts writes all parts, up to the closing parenthesis.
func (in *intake) parts(w io.Writer) error {
	bounded := &boundedWriter{w: w, limit: in.s.limits.MessageSize}
	for n := 0; ; n++ {
		if n == maxParts {
			return in.p.fail("more than %d parts", maxParts)
		}
		if err := in.part(bounded); err != nil {
			return err
		}
		if in.p.eat(')') {
			break
		}
		if err := in.p.sp(); err != nil {
			return err
		}
	}
	if bounded.n == 0 {
		return no(imap.ResponseCodeCannot, "cannot keep a message without a single octet")
	}
	return nil
}

func (in *intake) part(w *boundedWriter) error {
	p := in.p
	word, err := p.word()
	if err != nil || word != "TEXT" && word != "URL" {
		return p.fail("expected TEXT or URL")
	}
	if err := p.sp(); err != nil {
		return err
	}
	if word == "URL" {
		text, err := p.astring()
		if err != nil {
			return err
		}
		return in.s.copyURL(w, text)
	}
	h, err := p.head8()
	if err != nil {
		return err
	}
	if h.size < 0 || h.size > w.limit-w.n {
		return tooBig(w.limit)
	}
	return in.copy(h, w, p.afterLiteral)
}

// boundedWriter counts, and refuses what is too much.
type boundedWriter struct {
	w        io.Writer
	n, limit int64
}

func (b *boundedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > b.limit-b.n {
		return 0, tooBig(b.limit)
	}
	b.n += int64(len(p))
	return b.w.Write(p)
}

// copyURL writes what a URL points to; \Seen is not set.
func (s *session) copyURL(w io.Writer, text string) error {
	badURL := func(why string) error {
		return no(imap.ResponseCode("BADURL "+asCode(text)), "%s", why) // RFC 4469 §4.1
	}
	u, ok := parseMessageURL(text)
	if !ok {
		return badURL("this is not the URL of a message here")
	}
	sec, err := s.urlSection(&u)
	if err != nil {
		return badURL("the URL has no valid section")
	}
	folder, err := s.urlFolder(&u)
	if err != nil {
		return badURL("there is no such mailbox")
	}
	defer folder.Close()
	l, err := s.openIn(folder, u.uid)
	if err != nil {
		return badURL("there is no such message")
	}
	defer l.close(s.srv)
	found, err := s.copySection(w, l, sec)
	if err == nil && !found {
		return badURL("the message has no such part")
	}
	return err
}

// urlFolder opens the mailbox of a URL, as it is now.
func (s *session) urlFolder(u *messageURL) (*mailbox.Folder, error) {
	name := mailbox.CanonicalName(u.mailbox)
	if u.mailbox == "" {
		if s.sel == nil {
			return nil, mailbox.ErrNoFolder
		}
		name = s.sel.name
	}
	f, err := s.folder(name, mailbox.RightRead)
	if err != nil {
		return nil, err
	}
	snap, err := f.RefreshReadOnly(s.ctx)
	if err == nil && u.validity != 0 && u.validity != snap.UIDValidity {
		err = mailbox.ErrNoFolder
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// urlSection understands the section of a URL; a URL without one is the whole
// message.
func (s *session) urlSection(u *messageURL) (*section, error) {
	p := &parser{s: s, line: []byte("[" + u.section + "]"), literals: maxLiterals} // none may come
	sec, err := p.section()
	if err != nil {
		return nil, err
	}
	sec.Partial = u.partial
	return &sec, p.end()
}

// copySection writes a section as FETCH would send it.
func (s *session) copySection(w io.Writer, l *letter, sec *section) (found bool, err error) {
	if sec.HeaderFields != nil || sec.HeaderFieldsNot != nil {
		fields, ok, err := l.fields(sec)
		if err != nil || !ok {
			return ok, stored(err)
		}
		return true, stored(writeWithin(w, fields, sec.Partial))
	}
	span, ok, err := l.find(sec)
	if err != nil || !ok {
		return ok, stored(err)
	}
	cut := newCutter(w, sec.Partial)
	var converted []byte
	err = mimescan.EachBlock(l.r, span, func(block []byte, cr bool) error {
		converted = mimescan.AppendWire(converted[:0], block, cr)
		_, err := cut.Write(converted)
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return true, stored(err) // none is one of the connection
}

func writeWithin(w io.Writer, data []byte, partial *imap.SectionPartial) error {
	wire := mimescan.AppendWire(nil, data, false)
	from, to := within(int64(len(wire)), partial)
	_, err := w.Write(wire[from:to])
	return err
}

// A cutter passes on a part of what it gets, and then says errEnough.
type cutter struct {
	w          io.Writer
	skip, left int64
}

func newCutter(w io.Writer, partial *imap.SectionPartial) *cutter {
	c := &cutter{w: w, left: 1<<63 - 1}
	if partial != nil {
		c.skip, c.left = partial.Offset, partial.Size
	}
	return c
}

func (c *cutter) Write(p []byte) (int, error) {
	n := len(p)
	skipped := min(c.skip, int64(n))
	c.skip -= skipped
	p = p[skipped:]
	p = p[:min(int64(len(p)), c.left)]
	c.left -= int64(len(p))
	if _, err := c.w.Write(p); err != nil {
		return 0, err
	}
	if c.left == 0 {
		return n, errEnough
	}
	return n, nil
}
