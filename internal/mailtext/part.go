package mailtext

import (
	"io"
	"strings"

	"golang.org/x/text/transform"
)

// Part says how the text of a MIME part is encoded.
type Part struct {
	Subtype  string // of text: html is made plain
	Encoding string // Content-Transfer-Encoding
	Charset  string
}

// Plain reports whether the body is the text.
func (p Part) Plain() bool {
	if strings.EqualFold(p.Subtype, "html") || strings.EqualFold(p.Encoding, "base64") || strings.EqualFold(p.Encoding, "quoted-printable") {
		return false
	}
	enc, _ := lookup(p.Charset)
	return enc == nil
}

// A Reader reads the text of parts, one after the other. The zero value is
// ready; its buffers stay for the next part.
type Reader struct {
	src    io.Reader
	stages []*stage
	spare  [3]stage
	base64 base64Decoder
	html   htmlText
}

// Reset makes r read the text of a part whose body is src.
func (r *Reader) Reset(src io.Reader, p Part) {
	r.src, r.stages = src, r.stages[:0]
	switch strings.ToLower(p.Encoding) {
	case "base64":
		r.base64.Reset()
		r.push(&r.base64)
	case "quoted-printable":
		r.push(quotedPrintable{})
	}
	if enc, _ := lookup(p.Charset); enc != nil {
		r.push(enc.NewDecoder())
	}
	if strings.EqualFold(p.Subtype, "html") {
		r.html.Reset()
		r.push(&r.html)
	}
}

// push puts a decoder behind those that are there.
func (r *Reader) push(t transform.Transformer) {
	s := &r.spare[len(r.stages)]
	in := s.in
	if in == nil {
		in = make([]byte, stageSize)
	}
	*s = stage{src: r.src, t: t, in: in}
	r.src, r.stages = s, append(r.stages, s)
}

// Read reads text into a p of at least 64 octets. Its error is io.EOF at the end, or that of the body's
// reader; what cannot be decoded is passed over.
func (r *Reader) Read(p []byte) (int, error) { return r.src.Read(p) }

// stageSize is how much a decoder looks at at once.
const stageSize = 8 << 10

// A stage reads through a decoder.
type stage struct {
	src  io.Reader
	t    transform.Transformer
	in   []byte // what was read lies at from to to
	from int
	to   int
	err  error // of src
}

func (s *stage) Read(p []byte) (int, error) {
	for {
		n, took, err := s.t.Transform(p, s.in[s.from:s.to], s.err != nil)
		s.from += took
		switch {
		case n > 0:
			return n, nil
		case took > 0:
		case s.err != nil && s.from == s.to:
			return 0, s.err
		case err == transform.ErrShortDst && len(p) < 64:
			return 0, io.ErrShortBuffer
		case s.err != nil || s.to-s.from == len(s.in):
			s.from++ // nothing can be made of this octet
		default:
			s.fill()
		}
	}
}

func (s *stage) fill() {
	s.to = copy(s.in, s.in[s.from:s.to])
	s.from = 0
	n, err := s.src.Read(s.in[s.to:])
	s.to += n
	s.err = err
}
