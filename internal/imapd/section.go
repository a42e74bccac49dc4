package imapd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mimescan"
)

// A section is one BODY[...] of a FETCH.
type section struct {
	imap.FetchItemBodySection
	label  string // what the answer calls it
	binary binaryItem
}

// equal reports whether two sections have the same answer.
func (sec section) equal(other section) bool {
	a, b := sec.Partial, other.Partial
	return sec.label == other.label && (a == b || a != nil && b != nil && *a == *b)
}

// maxPath is the deepest section path; a message has no deeper parts.
const maxPath = mimescan.MaxDepth + 1

// maxFields bounds the names of HEADER.FIELDS.
const maxFields = 200

// section takes [section]<offset.size>.
func (p *parser) section() (section, error) {
	var sec section
	if err := p.expect('['); err != nil {
		return sec, err
	}
	from := p.pos
	if err := p.sectionPath(&sec); err != nil {
		return sec, err
	}
	label := "BODY[" + upper(p.line[from:p.pos])
	if err := p.fieldNames(&sec); err != nil {
		return sec, err
	}
	if names := append(sec.HeaderFields, sec.HeaderFieldsNot...); len(names) > 0 {
		label += fieldLabel(names)
	}
	if err := p.expect(']'); err != nil {
		return sec, err
	}
	sec.label = label + "]"
	return sec, p.partial(&sec)
}

// fieldLabel is the list of names as the answer repeats it.
func fieldLabel(names []string) string {
	b := []byte(" (")
	for i, name := range names {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendAstring(b, name)
	}
	return string(append(b, ')'))
}

// sectionPath takes part numbers and the word after them.
func (p *parser) sectionPath(sec *section) error {
	for isDigit(p.peek()) {
		n, err := p.number()
		if err != nil {
			return err
		}
		if n == 0 || len(sec.Part) >= maxPath {
			return p.fail("no message has such a part")
		}
		sec.Part = append(sec.Part, int(n))
		if !p.eat('.') {
			return nil
		}
	}
	word := upper(p.run(func(c byte) bool { return isItemChar(c) && !isDigit(c) }))
	switch {
	case word == "" && len(sec.Part) == 0:
	case word == "HEADER", word == "HEADER.FIELDS", word == "HEADER.FIELDS.NOT":
		sec.Specifier = imap.PartSpecifierHeader
	case word == "TEXT":
		sec.Specifier = imap.PartSpecifierText
	case word == "MIME" && len(sec.Part) > 0:
		sec.Specifier = imap.PartSpecifierMIME
	default:
		return p.fail("expected a section")
	}
	if strings.HasPrefix(word, "HEADER.") {
		sec.HeaderFields = []string{} // the names follow
	}
	if strings.HasSuffix(word, ".NOT") {
		sec.HeaderFields, sec.HeaderFieldsNot = nil, []string{}
	}
	return nil
}

// fieldNames takes the list after HEADER.FIELDS.
func (p *parser) fieldNames(sec *section) error {
	to := &sec.HeaderFields
	if sec.HeaderFieldsNot != nil {
		to = &sec.HeaderFieldsNot
	}
	if *to == nil {
		return nil
	}
	if err := p.sp(); err != nil {
		return err
	}
	err := p.list(func() error {
		name, err := p.astring()
		if len(*to) >= maxFields {
			return p.fail("more than %d fields", maxFields)
		}
		*to = append(*to, name)
		return err
	})
	if err == nil && len(*to) == 0 {
		return p.fail("expected the name of a field")
	}
	return err
}

// partial takes <offset.size>. Numbers have 63 bits; sums of them are never
// formed.
func (p *parser) partial(sec *section) error {
	if !p.eat('<') {
		return nil
	}
	offset, err := p.number64()
	if err != nil {
		return err
	}
	if err := p.expect('.'); err != nil {
		return err
	}
	size, err := p.number64()
	if err != nil {
		return err
	}
	if size == 0 {
		return p.fail("expected a size from 1") // RFC 3501 §9: nz-number
	}
	sec.Partial = &imap.SectionPartial{Offset: offset, Size: size}
	sec.label += "<" + strconv.FormatInt(offset, 10) + ">"
	return p.expect('>')
}

// brokenError is a message that became shorter while it was sent: the stream
// cannot be saved.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return fmt.Sprintf("message cut short: %v", e.err) }

// sendSection appends one section, or sends it when it is large.
func (s *session) sendSection(l *letter, sec *section) error {
	if sec.binary != notBinary {
		return s.sendBinary(l, sec)
	}
	s.item(sec.label)
	s.out = append(s.out, ' ')
	if sec.HeaderFields != nil || sec.HeaderFieldsNot != nil {
		return s.sendFields(l, sec)
	}
	span, ok, err := l.find(sec)
	if err != nil {
		return stored(err)
	}
	if !ok {
		s.openLiteral(0) // clients expect a string, as from Dovecot, rather than NIL
		return nil
	}
	if l.data != nil {
		s.sendBytes(l.data[span.Start:span.End], sec.Partial)
		return nil
	}
	return s.sendSpan(l, span, sec.Partial)
}

// find returns the place of a section in the file.
func (l *letter) find(sec *section) (span mimescan.Span, ok bool, err error) {
	if len(sec.Part) == 0 {
		return l.findTop(sec.Specifier)
	}
	root, err := l.structure()
	if err != nil {
		return span, false, err
	}
	part := root.Find(sec.Part)
	if part == nil {
		return span, false, nil
	}
	switch sec.Specifier {
	case imap.PartSpecifierNone:
		return part.Body, true, nil
	case imap.PartSpecifierMIME:
		return part.Header, true, nil
	}
	if !part.Message() {
		return span, false, nil // RFC 3501 §6.4.5: only a message has HEADER and TEXT
	}
	if sec.Specifier == imap.PartSpecifierText {
		return part.Parts[0].Body, true, nil
	}
	return part.Parts[0].Header, true, nil
}

func (l *letter) findTop(what imap.PartSpecifier) (mimescan.Span, bool, error) {
	if what == imap.PartSpecifierNone {
		return mimescan.Span{End: l.size}, true, nil
	}
	if err := l.readHeader(); err != nil {
		return mimescan.Span{}, false, err
	}
	if what == imap.PartSpecifierText {
		return mimescan.Span{Start: l.headerSpan.End, End: l.size}, true, nil
	}
	return l.headerSpan, true, nil
}

// sendFields appends HEADER.FIELDS or HEADER.FIELDS.NOT.
func (s *session) sendFields(l *letter, sec *section) error {
	kept, ok, err := l.fields(sec)
	if err != nil {
		return stored(err)
	}
	if !ok {
		s.openLiteral(0)
		return nil
	}
	s.sendBytes(kept, sec.Partial)
	return nil
}

// fields returns what HEADER.FIELDS or HEADER.FIELDS.NOT asks for: the fields
// as they stand, then an empty line.
func (l *letter) fields(sec *section) (kept []byte, ok bool, err error) {
	header, ok, err := l.headerFor(sec)
	if err != nil || !ok {
		return nil, ok, err
	}
	kept = sec.pick(nil, header)
	if len(kept) > 0 && kept[len(kept)-1] != '\n' {
		kept = append(kept, '\n')
	}
	return append(kept, '\n'), true, nil
}

// headerFor returns the header that a HEADER.FIELDS is about.
func (l *letter) headerFor(sec *section) ([]byte, bool, error) {
	if len(sec.Part) == 0 {
		err := l.readHeader()
		return l.header, true, err
	}
	whole := section{FetchItemBodySection: imap.FetchItemBodySection{Part: sec.Part, Specifier: sec.Specifier}}
	span, ok, err := l.find(&whole)
	if err != nil || !ok {
		return nil, ok, err
	}
	header, err := l.bytes(span, headerCap)
	return header, true, err
}

func hasFold(names []string, name []byte) bool {
	for _, n := range names {
		if len(n) == len(name) && strings.EqualFold(n, string(name)) {
			return true
		}
	}
	return false
}

// sendBytes appends a literal of data with CRLF line ends.
func (s *session) sendBytes(data []byte, partial *imap.SectionPartial) {
	size := mimescan.WireLen(data, false)
	if partial != nil && size != int64(len(data)) {
		data = mimescan.AppendWire(make([]byte, 0, size), data, false)
	}
	if partial != nil {
		from, to := within(size, partial)
		data, size = data[from:to], to-from
	}
	s.openLiteral(size)
	if size == int64(len(data)) {
		s.out = append(s.out, data...)
		return
	}
	s.out = mimescan.AppendWire(s.out, data, false)
}

func (s *session) openLiteral(size int64) {
	s.out = append(s.out, '{')
	s.out = strconv.AppendInt(s.out, size, 10)
	s.out = append(s.out, "}\r\n"...)
}

// within returns the part of [0,size) that a partial fetch asks for.
func within(size int64, partial *imap.SectionPartial) (from, to int64) {
	if partial == nil {
		return 0, size
	}
	from = min(partial.Offset, size)
	return from, from + min(partial.Size, size-from)
}

// A cursor remembers how far a large section was fetched in pieces, so that
// the next piece need not begin at the front.
type cursor struct {
	uid   uint32
	span  mimescan.Span
	total int64 // octets of the section with CRLF line ends; 0 is not known
	wire  int64 // octet of the section that stands at file
	file  int64
}

// sendSpan streams a section of a large message.
func (s *session) sendSpan(l *letter, span mimescan.Span, partial *imap.SectionPartial) error {
	c := &s.cursor
	if c.uid != l.uid || c.span != span {
		total, err := mimescan.WireSize(l.r, span)
		if err != nil {
			return stored(err)
		}
		*c = cursor{uid: l.uid, span: span, total: total, file: span.Start}
	}
	from, to := within(c.total, partial)
	s.openLiteral(to - from)
	return s.stream(l, from, to)
}

var errEnough = errors.New("enough")

// stream sends octets [from,to) of the section that the cursor is about.
func (s *session) stream(l *letter, from, to int64) error {
	c := &s.cursor
	if from < c.wire {
		c.wire, c.file = 0, c.span.Start
	}
	skip, left := from-c.wire, to-from
	first := c.file
	done := first
	wire := c.wire
	cr, err := l.crBefore(c.span, first)
	if err != nil {
		return &brokenError{err}
	}
	var converted []byte
	err = mimescan.EachBlock(l.r, mimescan.Span{Start: first, End: c.span.End}, func(block []byte, blockCR bool) error {
		if left == 0 {
			return errEnough
		}
		converted = mimescan.AppendWire(converted[:0], block, blockCR || done == first && cr)
		done += int64(len(block))
		n := int64(len(converted))
		// The next piece begins in this block or after it.
		if wire+n <= to {
			c.wire, c.file = wire+n, done
		}
		wire += n
		piece := converted
		if skip >= n {
			skip -= n
			return nil
		}
		piece = piece[skip:]
		skip = 0
		piece = piece[:min(int64(len(piece)), left)]
		left -= int64(len(piece))
		s.out = append(s.out, piece...)
		return s.relieve()
	})
	if err == errEnough {
		err = nil
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && left > 0 {
		return &brokenError{io.ErrUnexpectedEOF}
	}
	return err
}

// crBefore reports whether the octet before at is a CR of the same section.
func (l *letter) crBefore(span mimescan.Span, at int64) (bool, error) {
	if at <= span.Start {
		return false, nil
	}
	var b [1]byte
	_, err := l.r.ReadAt(b[:], at-1)
	return b[0] == '\r', err
}

func upper(b []byte) string { return string(bytes.ToUpper(b)) }
