// Package mimescan finds the MIME structure of a stored message by byte
// offsets, in one pass and in linear time, whatever the message looks like. It
// never fails on broken mail: what cannot be understood becomes text or
// octets, and every offset stays true to the file.
//
// Files may end their lines with LF, CRLF or a mixture. Offsets are those of
// the file; sizes that IMAP speaks of count each line end as CRLF, as the
// wire form has it.
package mimescan

import (
	"bufio"
	"bytes"
	"io"
	"sync"
)

// Limits of the parser. What lies beyond them is still fetched byte for byte,
// it is only not looked into.
const (
	MaxDepth   = 100       // nested multiparts and messages
	MaxParts   = 10_000    // parts of one message
	MaxHeader  = 256 << 10 // octets of one header that are parsed
	maxHeaders = 1 << 20   // octets of all headers of a message that are parsed
	maxParams  = 100       // parameters of one field
	// maxBoundary is longer than RFC 2046 §5.1.1 allows a boundary to be; a
	// longer one is compared by its beginning.
	maxBoundary = 80
)

// Span is a range of bytes of the file, End not included.
type Span struct{ Start, End int64 }

// Len returns the length in bytes of the file.
func (s Span) Len() int64 { return s.End - s.Start }

// Param is one parameter of a Content-Type or Content-Disposition field.
type Param struct{ Name, Value string }

// Part is a MIME entity: the message itself, a body part, or a message inside.
type Part struct {
	Header Span // up to and with the empty line
	Body   Span

	HeaderSize int64 // octets with CRLF line ends
	BodySize   int64 // octets with CRLF line ends
	Lines      int64 // line ends in the body

	Type, Subtype string // as the field spells them; defaults filled in
	Params        []Param
	ID            string // the following are "" when absent
	Description   string
	Encoding      string // Content-Transfer-Encoding
	MD5           string
	Disposition   string
	DispParams    []Param
	Language      []string
	Location      string

	// Envelope is set on the root of a message: the IMAP envelope without its
	// parentheses, ready to send.
	Envelope []byte

	// Parts are the body parts of a multipart, or, of a message/rfc822, the
	// one message inside.
	Parts []*Part

	kind kind
}

type kind uint8

const (
	leaf kind = iota
	multipart
	message
)

// Multipart reports whether Parts are the parts of a multipart. Such a part
// may have none.
func (p *Part) Multipart() bool { return p.kind == multipart }

// Message reports whether the part is a message/rfc822 that was looked into.
func (p *Part) Message() bool { return p.kind == message && len(p.Parts) == 1 }

// Text reports whether the part is of type text.
func (p *Part) Text() bool { return p.kind == leaf && foldEqual(p.Type, "text") }

// Report reports whether the part is of type message and holds none: a
// delivery status (RFC 3464) and its like, which are lines of text.
func (p *Part) Report() bool { return p.kind == leaf && foldEqual(p.Type, "message") }

// Find returns the part that an IMAP section path names (RFC 3501 §6.4.5),
// nil when there is none. The empty path is p itself, which must be the root
// of a message.
func (p *Part) Find(path []int) *Part {
	top := true // p is a message, whose parts are numbered by its content
	for _, n := range path {
		if !top && p.Message() {
			p, top = p.Parts[0], true
		}
		switch {
		case p.Multipart():
			if n < 1 || n > len(p.Parts) {
				return nil
			}
			p = p.Parts[n-1]
		case !top || n != 1:
			return nil
		}
		top = false // a message that is no multipart is its own part 1
	}
	return p
}

// A mark is a place in the file with the counts up to it.
type mark struct{ pos, wire, lines int64 }

// A hit is what ended a part: a boundary line, or the end of the file.
type hit struct {
	level   int  // index into scanner.open of the boundary; -1 is the end of the file
	closing bool // the boundary was followed by --
	end     mark // where the part's body ends: before the line end that belongs to the boundary
}

type scanner struct {
	r      *bufio.Reader // nil: the message is in data
	data   []byte        // what is left of it
	err    error
	at     mark
	before mark // before the end of the last line
	prev   mark // before the end of the line before it
	cr     bool // the last byte was CR
	start  bool // at is the beginning of a line
	open   []string
	parts  int
	budget int
	header []byte // of the last part
	copied []byte // memory for one that is not taken as it stands

	visitor *Visitor // nil: the structure is kept
	size    int64    // of the message, for a visitor
	stopped bool     // the visitor wants no more
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 32<<10) }}

// Scan reads a message of size bytes and returns its structure. The error is
// one of reading; there is no other.
func Scan(r io.ReaderAt, size int64) (*Part, error) {
	b := getReader(r, size)
	defer putReader(b)
	s := &scanner{r: b, start: true, budget: maxHeaders}
	root := &Part{}
	s.part(root, 0, true, false)
	return root, s.err
}

// ScanBytes is Scan of a message in memory.
func ScanBytes(data []byte) *Part {
	s := &scanner{data: data, start: true, budget: maxHeaders}
	root := &Part{}
	s.part(root, 0, true, false)
	return root
}

// part scans one entity from its header on.
func (s *scanner) part(p *Part, depth int, root, digest bool) hit {
	s.parts++
	from := s.at
	h, ended := s.readHeader()
	p.Header = Span{from.pos, s.at.pos}
	p.HeaderSize = s.at.wire - from.wire
	if ended {
		h.end = later(from, h.end)
		p.Header.End = h.end.pos
		p.HeaderSize = h.end.wire - from.wire
	}
	p.parseHeader(s.header, root && s.visitor == nil, digest)
	s.visitHeader(p)
	if depth >= MaxDepth && p.kind != leaf {
		p.seal()
	}
	if ended {
		p.Body = Span{p.Header.End, p.Header.End}
		if p.kind == message {
			p.Parts = []*Part{emptyMessage(p.Body)}
		}
		s.visitBody(p)
		return h
	}
	body := s.at
	switch p.kind {
	case multipart:
		h = s.multipart(p, depth)
	case message:
		inner := &Part{}
		h = s.part(inner, depth+1, true, false)
		p.Parts = []*Part{inner}
	default:
		h = s.skip()
	}
	h.end = later(body, h.end)
	p.setBody(body, h.end)
	s.visitBody(p)
	return h
}

// later returns end, but not less than from: the line end before a boundary
// belongs to the boundary, unless it is the one that ended the header.
func later(from, end mark) mark {
	if end.pos < from.pos {
		return from
	}
	return end
}

func (p *Part) setBody(from, to mark) {
	p.Body = Span{from.pos, to.pos}
	p.BodySize = to.wire - from.wire
	p.Lines = to.lines - from.lines
}

// seal makes a part that must not be looked into opaque.
func (p *Part) seal() {
	p.kind = leaf
	p.Type, p.Subtype, p.Params = "application", "octet-stream", nil
}

func emptyMessage(at Span) *Part {
	p := &Part{Header: at, Body: at}
	p.parseHeader(nil, true, false)
	return p
}

// multipart scans the preamble, the parts and the epilogue.
func (s *scanner) multipart(p *Part, depth int) hit {
	boundary := s.boundaryOf(p)
	if boundary == "" {
		return s.skip()
	}
	level := len(s.open)
	s.open = append(s.open, boundary)
	digest := foldEqual(p.Subtype, "digest")
	h := s.skip()
	for h.level == level && !h.closing && s.parts < MaxParts {
		child := &Part{}
		if s.visitor == nil {
			p.Parts = append(p.Parts, child)
		}
		h = s.part(child, depth+1, false, digest)
	}
	s.open = s.open[:level]
	if h.level == level {
		return s.skip() // the epilogue, or parts beyond the limit
	}
	return h
}

// readHeader reads up to the empty line into s.header, as far as the limits
// allow. ended tells that a boundary or the end of the file came first.
func (s *scanner) readHeader() (h hit, ended bool) {
	if s.r == nil && len(s.open) == 0 {
		return s.headerInMemory()
	}
	s.copied = s.copied[:0]
	defer func() { s.header = s.copied }()
	room := min(MaxHeader, s.budget)
	for {
		line, first := s.line()
		if len(line) == 0 {
			return s.eof(), true
		}
		if first && isEmptyLine(line) {
			break
		}
		if h, ok := s.boundary(line, first); ok {
			return h, true
		}
		if n := min(room-len(s.copied), len(line)); n > 0 {
			s.copied = append(s.copied, line[:n]...)
		}
	}
	s.budget -= len(s.copied)
	return hit{}, false
}

// headerInMemory is readHeader where no boundary can end the header.
func (s *scanner) headerInMemory() (h hit, ended bool) {
	n, ended := 0, true
	for n < len(s.data) && ended {
		line := s.data[n:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
			ended = !isEmptyLine(line)
		}
		n += len(line)
	}
	header := s.data[:n]
	if ended {
		s.rest()
		s.header = header[:min(n, MaxHeader, s.budget)]
		return s.eof(), true
	}
	s.pass(n)
	header = bytes.TrimSuffix(header[:n-1], []byte{'\r'})
	s.header = header[:min(len(header), MaxHeader, s.budget)]
	s.budget -= len(s.header)
	return hit{}, false
}

func isEmptyLine(line []byte) bool {
	return line[0] == '\n' || len(line) == 2 && line[0] == '\r' && line[1] == '\n'
}

// skip consumes lines up to a boundary or the end.
func (s *scanner) skip() hit {
	if len(s.open) == 0 {
		s.rest()
		return s.eof()
	}
	for {
		s.leap()
		line, first := s.line()
		if len(line) == 0 {
			return s.eof()
		}
		if h, ok := s.boundary(line, first); ok {
			return h
		}
	}
}

// leap passes the lines, of a message in memory, that do not begin like a
// boundary.
func (s *scanner) leap() {
	if s.r != nil || !s.start || bytes.HasPrefix(s.data, []byte("--")) {
		return
	}
	n := bytes.Index(s.data, []byte("\n--")) + 1
	if n == 0 {
		n = bytes.LastIndexByte(s.data, '\n') + 1
	}
	if n == 0 {
		return
	}
	s.pass(n)
}

// pass consumes n octets of a message in memory, whole lines.
func (s *scanner) pass(n int) {
	block := s.data[:n]
	s.data = s.data[n:]
	s.at = s.at.plus(block, s.cr)
	s.before = mark{s.at.pos - 1, s.at.wire - 2, s.at.lines - 1}
	if n > 1 && block[n-2] == '\r' || n == 1 && s.cr {
		s.before.pos--
	}
	s.cr = false
}

// rest counts all that is left; no boundary can end it.
func (s *scanner) rest() {
	if s.visitor != nil && !s.stopped {
		s.at.pos, s.data, s.r = s.size, nil, nil // nobody asks for the counts
		return
	}
	if s.r == nil {
		if n := len(s.data); n > 0 {
			s.at = s.at.plus(s.data, s.cr)
			s.data = s.data[n:]
		}
		return
	}
	for {
		if _, err := s.r.Peek(1); err != nil {
			s.fail(err)
			return
		}
		block, _ := s.r.Peek(s.r.Buffered())
		s.at = s.at.plus(block, s.cr)
		s.cr = block[len(block)-1] == '\r'
		s.r.Discard(len(block))
	}
}

// plus counts a block; cr tells that a CR came before it.
func (m mark) plus(block []byte, cr bool) mark {
	lf, crlf := bytes.Count(block, []byte{'\n'}), 0
	if bytes.IndexByte(block, '\r') >= 0 {
		crlf = bytes.Count(block, []byte("\r\n"))
	}
	if cr && block[0] == '\n' {
		crlf++
	}
	return mark{m.pos + int64(len(block)), m.wire + int64(len(block)+lf-crlf), m.lines + int64(lf)}
}

// eof is the hit at the end of the file, where no line end is taken away.
func (s *scanner) eof() hit { return hit{level: -1, end: s.at} }

func (s *scanner) fail(err error) {
	if err != io.EOF {
		s.err = err
	}
}

// line consumes and returns the next line with its end, or a piece of one
// that is longer than the buffer; first tells that it begins the line. It is
// empty at the end of the file.
func (s *scanner) line() (line []byte, first bool) {
	line = s.take()
	if len(line) == 0 {
		return nil, false
	}
	first = s.start
	n := int64(len(line))
	s.start = line[n-1] == '\n'
	if !s.start {
		s.at.pos += n
		s.at.wire += n
		s.cr = line[n-1] == '\r'
		return line, first
	}
	s.lineEnd(line)
	return line, first
}

// take returns the octets of line.
func (s *scanner) take() []byte {
	if s.r == nil {
		n := bytes.IndexByte(s.data, '\n') + 1
		if n == 0 {
			n = len(s.data)
		}
		line := s.data[:n]
		s.data = s.data[n:]
		return line
	}
	line, err := s.r.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull {
		s.fail(err)
	}
	return line
}

func (s *scanner) lineEnd(line []byte) {
	n := int64(len(line))
	crlf := n > 1 && line[n-2] == '\r' || n == 1 && s.cr
	s.prev = s.before
	s.before = mark{s.at.pos + n - 1, s.at.wire + n - 1, s.at.lines}
	wire := n + 1
	if crlf {
		s.before.pos--
		s.before.wire--
		wire = n
	}
	s.at = mark{s.at.pos + n, s.at.wire + wire, s.at.lines + 1}
	s.cr = false
}

// boundary reports whether a line is one of the open boundaries. As RFC 2046
// §5.1.1 wants, only the beginning of the line is compared; of several that
// match, the longest one counts, then the innermost.
func (s *scanner) boundary(line []byte, first bool) (hit, bool) {
	if !first || len(line) < 3 || line[0] != '-' || line[1] != '-' || len(s.open) == 0 {
		return hit{}, false
	}
	text := bytes.TrimRight(line[2:], " \t\r\n")
	best, longest := -1, 0
	for i := len(s.open) - 1; i >= 0; i-- {
		b := s.open[i]
		if len(b) <= longest || len(text) < len(b) || string(text[:len(b)]) != b {
			continue
		}
		best, longest = i, len(b)
		if longest == len(text) {
			break
		}
	}
	if best < 0 {
		return hit{}, false
	}
	closing := bytes.HasPrefix(text[longest:], []byte("--"))
	end := s.prev
	if !s.start {
		end = s.before
		s.restOfLine()
	}
	return hit{level: best, closing: closing, end: end}, true
}

// restOfLine drops what is left of a line longer than the buffer.
func (s *scanner) restOfLine() {
	for !s.start {
		if line, _ := s.line(); len(line) == 0 {
			return
		}
	}
}
