package mailtext

import (
	"bytes"
	"io"
	"strings"

	"peyk/internal/mimescan"
)

// A Sink gets the text of a message, one text after the other: the header, in
// which the fields end with NUL, then the text parts, reports, and the headers of parts
// and of messages inside. Their errors end the walk.
type Sink interface {
	Begin(body bool) // false: a header
	Text(piece []byte) error
	End() error
}

// A Walker shows all text of messages, decoded. The zero value is ready; what
// it holds does not grow with the messages.
type Walker struct {
	field   FieldText
	parts   Reader
	section io.SectionReader
	block   []byte

	r    io.ReaderAt
	data []byte
	sink Sink
}

// walkBlock is how much of a part is read at once.
const walkBlock = 32 << 10

// Walk shows a message of size octets. It may be in memory, in data.
func (w *Walker) Walk(r io.ReaderAt, size int64, data []byte, sink Sink) error {
	w.r, w.data, w.sink = r, data, sink
	defer func() { w.r, w.data, w.sink = nil, nil, nil }()
	v := mimescan.Visitor{Header: w.header, Body: w.part}
	if data != nil {
		return mimescan.VisitBytes(data, v)
	}
	return mimescan.Visit(r, size, v)
}

func (w *Walker) header(_ *mimescan.Part, header []byte) (err error) {
	w.sink.Begin(false)
	mimescan.Fields(header, func(name, value []byte) bool {
		for _, piece := range [...][]byte{name, []byte(": "), w.field.Decode(name, value), {0}} {
			if err = w.sink.Text(piece); err != nil {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	return w.sink.End()
}

func (w *Walker) part(p *mimescan.Part) error {
	if !p.Text() && !p.Report() {
		return nil
	}
	w.sink.Begin(true)
	if err := w.body(p); err != nil {
		return err
	}
	return w.sink.End()
}

func (w *Walker) body(p *mimescan.Part) error {
	how := Part{Subtype: p.Subtype, Encoding: p.Encoding, Charset: p.Param("charset")}
	if w.data != nil && how.Plain() {
		return w.sink.Text(w.data[p.Body.Start:p.Body.End])
	}
	if w.block == nil {
		w.block = make([]byte, walkBlock)
	}
	w.section = *io.NewSectionReader(w.r, p.Body.Start, p.Body.Len())
	w.parts.Reset(&w.section, how)
	for {
		n, err := w.parts.Read(w.block)
		if n > 0 {
			if err := w.sink.Text(w.block[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// FieldText decodes header fields as a search sees them, in buffers that stay.
// The zero value is ready.
type FieldText struct {
	raw, text []byte
	words     Words
}

// Decode returns the text of a field. It is valid until the next one.
func (f *FieldText) Decode(name, value []byte) []byte {
	if bytes.IndexByte(value, '\n') >= 0 || bytes.IndexByte(value, '\r') >= 0 {
		value = f.unfold(value)
	}
	if bytes.IndexByte(value, '*') >= 0 && isParameterField(name) {
		value = f.parameters(value)
	}
	if !bytes.Contains(value, []byte("=?")) {
		return value
	}
	if f.words.Emit == nil {
		f.words.Emit = func(text []byte) { f.text = append(f.text, text...) }
	}
	f.text = f.text[:0]
	f.words.Decode(value)
	return f.text
}

// unfold is mimescan.Unfold into a buffer that stays.
func (f *FieldText) unfold(value []byte) []byte {
	f.raw = f.raw[:0]
	for len(value) > 0 {
		i := bytes.IndexAny(value, "\r\n")
		if i < 0 {
			break
		}
		f.raw = append(f.raw, value[:i]...)
		if value[i] == '\r' && (i+1 == len(value) || value[i+1] != '\n') {
			f.raw = append(f.raw, ' ')
		}
		value = value[i+1:]
	}
	f.raw = append(f.raw, value...)
	return f.raw
}

func isParameterField(name []byte) bool {
	return bytes.EqualFold(name, []byte("Content-Type")) || bytes.EqualFold(name, []byte("Content-Disposition"))
}

// parameters appends to a field its extended parameters, decoded.
func (f *FieldText) parameters(value []byte) []byte {
	out := value
	for _, p := range mimescan.Params(string(value)) {
		if strings.HasSuffix(p.Name, "*") {
			out = append(append(append(out[:len(out):len(out)], "; "...), p.Name[:len(p.Name)-1]+"="...), Extended(p.Value)...)
		}
	}
	return out
}
