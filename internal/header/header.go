// Package header reads and builds the header section of a message (RFC 5322
// §2.2) on bytes.
//
// Mail is what people send, not what the grammar says: reading never fails on
// broken input. Every byte is kept as it came; a line that is neither a field
// nor a continuation is kept as a field without a name. Time is linear and
// memory bounded by the caller's limit.
package header

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// A Field is one field with its folded lines, byte for byte.
type Field struct {
	Raw   []byte // as it came, with the line end (which the last field may lack)
	colon int    // index of the colon in Raw; -1 where there is no name
}

// Name returns the field name as written, without trailing white space; ""
// for a line that is no field.
func (f Field) Name() string {
	if f.colon < 0 {
		return ""
	}
	return string(bytes.TrimRight(f.Raw[:f.colon], " \t"))
}

// Is reports whether the field has this name, in any case.
func (f Field) Is(name string) bool {
	if f.colon < len(name) {
		return false
	}
	if !equalFold(f.Raw[:len(name)], name) {
		return false
	}
	return f.colon == len(name) || len(bytes.TrimRight(f.Raw[len(name):f.colon], " \t")) == 0
}

// Body returns what follows the colon, byte for byte.
func (f Field) Body() []byte { return f.Raw[f.colon+1:] }

// Value returns the body unfolded (RFC 5322 §2.2.3) and trimmed.
func (f Field) Value() string {
	body := f.Body()
	out := make([]byte, 0, len(body))
	for _, c := range body {
		if c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return string(bytes.Trim(out, " \t"))
}

// Header is a header section. The zero value is an empty one.
type Header struct {
	fields    []Field
	end       []byte // the blank line, nil where the section did not end
	truncated bool
}

// Scan reads the header section at the beginning of b, which it keeps, and
// returns it with its length including the blank line. The section also ends
// where b does.
func Scan(b []byte) (h *Header, n int) {
	h = new(Header)
	for n < len(b) {
		line := b[n : n+lineLen(b[n:])]
		if blank(line) {
			h.end = line
			return h, n + len(line)
		}
		n += h.add(b[n:], len(line))
	}
	return h, n
}

// add adds the field at the beginning of b, whose first line has the length
// first, and returns its whole length.
func (h *Header) add(b []byte, first int) int {
	n := first
	for n < len(b) && (b[n] == ' ' || b[n] == '\t') {
		n += lineLen(b[n:])
	}
	h.fields = append(h.fields, Field{Raw: b[:n:n], colon: colon(b[:first])})
	return n
}

// Read reads a header section of at most max octets. A longer one is cut:
// Truncated then says so, and the rest is still in r, where otherwise the body
// begins. The error is one of reading, never io.EOF and never one of syntax.
func Read(r *bufio.Reader, max int) (*Header, error) {
	var buf []byte
	line := 0 // where the current line begins
	for len(buf) < max {
		part, err := readSome(r, max-len(buf))
		buf = append(buf, part...)
		if errors.Is(err, io.EOF) {
			h, _ := Scan(buf)
			return h, nil
		}
		if err != nil {
			return nil, err
		}
		if buf[len(buf)-1] != '\n' {
			continue
		}
		if blank(buf[line:]) {
			h, _ := Scan(buf)
			return h, nil
		}
		line = len(buf)
	}
	h, _ := Scan(buf)
	h.truncated = true
	return h, nil
}

// readSome reads a line, or a part of one that is longer than r's buffer or
// than max.
func readSome(r *bufio.Reader, max int) ([]byte, error) {
	part, err := r.Peek(1)
	if len(part) == 0 {
		return nil, err
	}
	part, _ = r.Peek(min(r.Buffered(), max))
	if i := bytes.IndexByte(part, '\n'); i >= 0 {
		part = part[:i+1]
	}
	r.Discard(len(part)) // bytes that are buffered: cannot fail
	return part, nil
}

// Truncated reports whether Read stopped at its limit.
func (h *Header) Truncated() bool { return h.truncated }

// Complete reports whether a blank line ended the section.
func (h *Header) Complete() bool { return h.end != nil }

// Fields returns the fields in order. The slice must not be changed.
func (h *Header) Fields() []Field { return h.fields }

// Get returns the value of the first field of this name, "" without one.
func (h *Header) Get(name string) string {
	for _, f := range h.fields {
		if f.Is(name) {
			return f.Value()
		}
	}
	return ""
}

// Values returns the values of all fields of this name, top first.
func (h *Header) Values(name string) []string {
	var values []string
	for _, f := range h.fields {
		if f.Is(name) {
			values = append(values, f.Value())
		}
	}
	return values
}

// Count returns the number of fields of this name. Count("Received") is the
// number of hops (RFC 5321 §6.3).
func (h *Header) Count(name string) int {
	n := 0
	for _, f := range h.fields {
		if f.Is(name) {
			n++
		}
	}
	return n
}

// Remove takes out all fields of this name and returns how many there were.
func (h *Header) Remove(name string) int {
	kept := h.fields[:0]
	for _, f := range h.fields {
		if !f.Is(name) {
			kept = append(kept, f)
		}
	}
	n := len(h.fields) - len(kept)
	h.fields = kept
	return n
}

// Append appends the section as it came, less what was removed, with the
// blank line that ended it.
func (h *Header) Append(dst []byte) []byte {
	for _, f := range h.fields {
		dst = append(dst, f.Raw...)
	}
	return append(dst, h.end...)
}

// Len returns the length of what Append appends.
func (h *Header) Len() int {
	n := len(h.end)
	for _, f := range h.fields {
		n += len(f.Raw)
	}
	return n
}

func lineLen(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

// blank reports whether line is an empty line. A lone CR at the end of the
// input is one too: its LF was cut off.
func blank(line []byte) bool {
	switch len(line) {
	case 1:
		return line[0] == '\n' || line[0] == '\r'
	case 2:
		return line[0] == '\r' && line[1] == '\n'
	}
	return false
}

// colon returns the index of the colon that ends a field name, or -1: a name
// is printable ASCII (RFC 5322 §2.2), with white space allowed before the
// colon (§4.5.8). 8-bit names occur and are let through.
func colon(line []byte) int {
	for i, c := range line {
		switch {
		case c == ':' && i > 0:
			return i
		case c == ' ' || c == '\t':
			return colonAfterSpace(line, i)
		case c <= ' ' || c == 0x7f || c == ':':
			return -1
		}
	}
	return -1
}

func colonAfterSpace(line []byte, i int) int {
	if i == 0 {
		return -1
	}
	for ; i < len(line); i++ {
		if line[i] == ':' {
			return i
		}
		if line[i] != ' ' && line[i] != '\t' {
			return -1
		}
	}
	return -1
}

// equalFold compares in ASCII, without allocation.
func equalFold(b []byte, s string) bool {
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
