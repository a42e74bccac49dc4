package mimescan

import (
	"io"
	"strings"
)

// A Visitor is shown the entities of a message while they are found, so that
// no more of the structure is held than the parts that are open.
type Visitor struct {
	// Header gets each entity once its header was read; the header is valid
	// until it returns. The first one is the message itself.
	Header func(p *Part, header []byte) error
	// Body gets each entity once the end of its body is known, those inside
	// before the one they are in. Parts, Params of a multipart and the
	// envelopes are not there.
	Body func(p *Part) error
}

// Visit scans a message of size bytes for v. It stops at the first error of v
// or of reading, and returns it.
func Visit(r io.ReaderAt, size int64, v Visitor) error {
	b := getReader(r, size)
	defer putReader(b)
	s := &scanner{r: b, start: true, budget: maxHeaders, visitor: &v, size: size}
	s.part(&Part{}, 0, true, false)
	return s.err
}

// VisitBytes is Visit of a message in memory.
func VisitBytes(data []byte, v Visitor) error {
	s := &scanner{data: data, start: true, budget: maxHeaders, visitor: &v, size: int64(len(data))}
	s.part(&Part{}, 0, true, false)
	return s.err
}

// visitHeader shows an entity whose header was read.
func (s *scanner) visitHeader(p *Part) {
	if s.visitor == nil || s.stopped {
		return
	}
	if err := s.visitor.Header(p, s.header); err != nil {
		s.stop(err)
	}
}

// visitBody shows an entity whose body was read.
func (s *scanner) visitBody(p *Part) {
	if s.visitor == nil || s.stopped {
		return
	}
	if err := s.visitor.Body(p); err != nil {
		s.stop(err)
	}
}

// stop makes the rest of the message be empty.
func (s *scanner) stop(err error) {
	s.stopped, s.err = true, err
	s.r, s.data = nil, nil
}

// boundaryOf takes the boundary of a multipart.
func (s *scanner) boundaryOf(p *Part) string {
	b := param(p.Params, "boundary")
	b = b[:min(len(b), maxBoundary)]
	if s.visitor != nil {
		p.Params = nil // a boundary of its own, or it would hold the whole field
		b = strings.Clone(b)
	}
	return b
}
