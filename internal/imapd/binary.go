package imapd

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math"
	"os"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailtext"
	"peyk/internal/mimescan"
)

// binaryItem says which item of RFC 3516 a section is.
type binaryItem uint8

const (
	notBinary binaryItem = iota
	binaryContent
	binarySize
)

// codeUnknownCTE: RFC 3516 §4.3.
const codeUnknownCTE imap.ResponseCode = "UNKNOWN-CTE"

// binarySection takes section-binary, and the partial that may follow it
// (RFC 3516 §6).
func (p *parser) binarySection(word string) (section, error) {
	sec := section{binary: binaryContent}
	sec.Peek = word != "BINARY"
	if err := p.expect('['); err != nil {
		return sec, err
	}
	from := p.pos
	for more := p.peek() != ']'; more; more = p.eat('.') {
		n, err := p.number()
		if err != nil {
			return sec, err
		}
		if n == 0 || len(sec.Part) >= maxPath {
			return sec, p.fail("no message has such a part")
		}
		sec.Part = append(sec.Part, int(n))
	}
	label := strings.TrimSuffix(word, ".PEEK")
	sec.label = label + "[" + string(p.line[from:p.pos]) + "]"
	if err := p.expect(']'); err != nil {
		return sec, err
	}
	if label == "BINARY.SIZE" {
		sec.binary = binarySize
		return sec, nil
	}
	return sec, p.partial(&sec)
}

// decodable refuses parts that cannot be decoded before the answer begins.
func (l *letter) decodable(r *request) error {
	for i := range r.sections {
		if r.sections[i].binary == notBinary {
			continue
		}
		if _, _, err := l.findBinary(&r.sections[i]); err != nil {
			return err
		}
	}
	return nil
}

// A piece of a section that is sent decoded.
type piece struct {
	span     mimescan.Span
	encoding string // "" is sent as it stands
	header   bool   // of a part whose body is decoded: says so
}

// sendBinary appends a section without content transfer encodings.
func (s *session) sendBinary(l *letter, sec *section) error {
	pieces, ok, err := l.findBinary(sec)
	if err != nil {
		return err
	}
	if l.data != nil && ok {
		return s.sendSmallBinary(l, pieces, sec)
	}
	var size counted
	if err := l.decode(&size, pieces); err != nil {
		return stored(err)
	}
	s.item(sec.label)
	s.out = append(s.out, ' ')
	if sec.binary == binarySize {
		s.out = appendUint(s.out, uint32(min(int64(size), math.MaxUint32)))
		return nil
	}
	from, to := within(int64(size), sec.Partial)
	s.out = append(s.out, '~') // it may hold NUL
	s.openLiteral(to - from)
	if from == to {
		return nil
	}
	w := &answerWriter{s: s}
	err = l.decode(&cutter{w: w, skip: from, left: to - from}, pieces)
	if err != nil && !errors.Is(err, errEnough) || w.n != to-from {
		return &brokenError{errors.Join(err, io.ErrUnexpectedEOF)}
	}
	return nil
}

// sendSmallBinary is sendBinary for a message in memory.
func (s *session) sendSmallBinary(l *letter, pieces []piece, sec *section) error {
	var data bytes.Buffer
	if err := l.decode(&data, pieces); err != nil {
		return stored(err)
	}
	s.item(sec.label)
	s.out = append(s.out, ' ')
	if sec.binary == binarySize {
		s.out = appendUint(s.out, uint32(data.Len()))
		return nil
	}
	from, to := within(int64(data.Len()), sec.Partial)
	piece := data.Bytes()[from:to]
	if bytes.IndexByte(piece, 0) >= 0 {
		s.out = append(s.out, '~')
	}
	s.openLiteral(int64(len(piece)))
	s.out = append(s.out, piece...)
	return nil
}

// findBinary returns what a section is made of. A multipart, a message in a
// message and the whole message have no encoding of their own (RFC 2045 §6.4),
// but their parts have: all that can be decoded is (RFC 3516 §4.2, §4.3).
func (l *letter) findBinary(sec *section) (pieces []piece, ok bool, err error) {
	root, err := l.structure()
	if err != nil {
		return nil, false, stored(err)
	}
	part := root.Find(sec.Part)
	switch {
	case part == nil:
		return nil, false, nil
	case len(sec.Part) == 0:
		return decodedParts(root, mimescan.Span{End: l.size}), true, nil
	case part.Multipart() || part.Message():
		return decodedParts(part, part.Body), true, nil
	}
	encoding, known := decoding(part)
	if !known {
		return nil, false, no(codeUnknownCTE, "cannot decode the content transfer encoding of this part")
	}
	return []piece{{span: part.Body, encoding: encoding}}, true, nil
}

// decoding returns the encoding that must be undone, "" for none.
func decoding(p *mimescan.Part) (encoding string, known bool) {
	switch encoding = strings.ToLower(p.Encoding); encoding {
	case "base64", "quoted-printable":
		return encoding, true
	case "", "7bit", "8bit", "binary":
		return "", true
	}
	return "", false
}

// decodedParts cuts a span into the parts in it that are decoded and what is
// between them. A part whose encoding is not known, or whose header is too
// long to be changed, stays as it is, and says so.
func decodedParts(p *mimescan.Part, span mimescan.Span) (pieces []piece) {
	at := span.Start
	eachLeaf(p, func(p *mimescan.Part) error {
		encoding, _ := decoding(p)
		if encoding == "" || p.Header.Len() > mimescan.MaxHeader {
			return nil
		}
		pieces = append(pieces, piece{span: mimescan.Span{Start: at, End: p.Header.Start}},
			piece{span: p.Header, header: true}, piece{span: p.Body, encoding: encoding})
		at = p.Body.End
		return nil
	})
	return append(pieces, piece{span: mimescan.Span{Start: at, End: span.End}})
}

// decode writes pieces without their encodings.
func (l *letter) decode(w io.Writer, pieces []piece) error {
	for _, p := range pieces {
		if err := l.decodePiece(w, p); err != nil {
			return err
		}
	}
	return nil
}

func (l *letter) decodePiece(w io.Writer, p piece) error {
	if p.header {
		header, err := headerWith("binary", l.r, p.span)
		if err != nil {
			return err
		}
		_, err = w.Write(mimescan.AppendWire(nil, header, false))
		return err
	}
	wire := &wireReader{r: l.r, at: p.span.Start, end: p.span.End}
	if p.encoding == "" {
		_, err := io.Copy(w, wire)
		return err
	}
	var text mailtext.Reader
	text.Reset(wire, mailtext.Part{Encoding: p.encoding})
	_, err := io.Copy(w, &text)
	return err
}

// headerWith reads a header, with its end, and gives it another content
// transfer encoding.
func headerWith(encoding string, r io.ReaderAt, span mimescan.Span) ([]byte, error) {
	header := make([]byte, span.Len())
	if _, err := r.ReadAt(header, span.Start); err != nil && err != io.EOF {
		return nil, err
	}
	var out []byte
	mimescan.RawFields(header, func(name, field []byte) bool {
		if !strings.EqualFold(string(name), "Content-Transfer-Encoding") {
			out = append(out, field...)
		}
		return true
	})
	return append(out, "Content-Transfer-Encoding: "+encoding+"\r\n\r\n"...), nil
}

// counted counts octets.
type counted int64

func (c *counted) Write(p []byte) (int, error) {
	*c += counted(len(p))
	return len(p), nil
}

// answerWriter makes what is written a part of the answer.
type answerWriter struct {
	s *session
	n int64
}

func (w *answerWriter) Write(p []byte) (int, error) {
	w.n += int64(len(p))
	w.s.out = append(w.s.out, p...)
	return len(p), w.s.relieve()
}

// wireReader reads a part of a file with CRLF line ends.
type wireReader struct {
	r         io.ReaderAt
	at, end   int64
	cr        bool
	raw       []byte
	converted []byte // what is not read yet
}

func (w *wireReader) Read(p []byte) (int, error) {
	if len(w.converted) == 0 {
		if err := w.more(); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.converted)
	w.converted = w.converted[n:]
	return n, nil
}

func (w *wireReader) more() error {
	if w.at >= w.end {
		return io.EOF
	}
	if w.raw == nil {
		w.raw = make([]byte, 16<<10)
	}
	n, err := w.r.ReadAt(w.raw[:min(int64(len(w.raw)), w.end-w.at)], w.at)
	if n == 0 {
		return errors.Join(err, io.ErrUnexpectedEOF)
	}
	w.at += int64(n)
	w.converted = mimescan.AppendWire(w.converted[:0], w.raw[:n], w.cr)
	w.cr = w.raw[n-1] == '\r'
	return nil
}

// binary takes a message that comes as a literal8. A Maildir keeps lines, not
// octets, so parts that say they are binary get the encoding base64, as
// RFC 3516 §4.4 allows.
func (in *intake) binary(o imap.AppendOptions, h literalHead, after func() error) error {
	file, err := in.add.Scratch()
	if err != nil {
		return stored(err)
	}
	defer file.Close()
	if err := in.copy(h, file, after); err != nil {
		return err
	}
	return in.put(o, func(w io.Writer) error {
		bounded := &boundedWriter{w: w, limit: in.s.limits.MessageSize}
		return stored(encodeBinary(bounded, file, h.size))
	})
}

// encodeBinary copies a message, with base64 for its binary parts.
func encodeBinary(w io.Writer, r *os.File, size int64) error {
	root, err := mimescan.Scan(r, size)
	if err != nil {
		return stored(err)
	}
	from := int64(0)
	err = eachLeaf(root, func(p *mimescan.Part) error {
		if !strings.EqualFold(p.Encoding, "binary") {
			return nil
		}
		if err := copySpan(w, r, mimescan.Span{Start: from, End: p.Header.Start}); err != nil {
			return err
		}
		from = p.Body.End
		return encodePart(w, r, p)
	})
	if err == nil {
		err = copySpan(w, r, mimescan.Span{Start: from, End: size})
	}
	return err
}

// eachLeaf calls f with the parts that hold no others, in order.
func eachLeaf(p *mimescan.Part, f func(*mimescan.Part) error) error {
	for _, child := range p.Parts {
		if err := eachLeaf(child, f); err != nil {
			return err
		}
	}
	if len(p.Parts) > 0 || p.Multipart() {
		return nil
	}
	return f(p)
}

func copySpan(w io.Writer, r io.ReaderAt, span mimescan.Span) error {
	_, err := io.Copy(w, io.NewSectionReader(r, span.Start, span.Len()))
	return err
}

// encodePart writes one part as base64, with a header that says so.
func encodePart(w io.Writer, r io.ReaderAt, p *mimescan.Part) error {
	if p.Header.Len() > mimescan.MaxHeader {
		return no(codeUnknownCTE, "cannot encode a binary part with so long a header")
	}
	out, err := headerWith("base64", r, p.Header)
	if err != nil {
		return stored(err)
	}
	if _, err := w.Write(out); err != nil {
		return err
	}
	lines := &lineWriter{w: w}
	encoder := base64.NewEncoder(base64.StdEncoding, lines)
	if err := copySpan(encoder, r, p.Body); err != nil {
		return err
	}
	if err := encoder.Close(); err != nil {
		return err
	}
	return lines.end()
}

// lineWriter breaks base64 into lines of 76 octets (RFC 2045 §6.8).
type lineWriter struct {
	w    io.Writer
	line []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(76-len(l.line), len(rest))
		l.line = append(l.line, rest[:n]...)
		rest = rest[n:]
		if len(l.line) == 76 {
			if err := l.end(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (l *lineWriter) end() error {
	if len(l.line) == 0 {
		return nil
	}
	_, err := l.w.Write(append(l.line, "\r\n"...))
	l.line = l.line[:0]
	return err
}
