package mimescan

import (
	"bytes"
	"io"
	"strings"
)

// Fields calls f with each field of a raw header, in order, until f returns
// false. The value is as it stands in the file, folds and all, without its
// last line end and leading blanks. Lines that are no fields are skipped.
func Fields(header []byte, f func(name, value []byte) bool) {
	for len(header) > 0 {
		var x field
		x, header = cutField(header)
		if len(x.name) > 0 && !x.torn && !f(x.name, x.value()) {
			return
		}
	}
}

// RawFields is Fields, but f gets the whole field with its line ends.
func RawFields(header []byte, f func(name, field []byte) bool) {
	for len(header) > 0 {
		var x field
		x, header = cutField(header)
		if len(x.name) > 0 && !f(x.name, x.raw) {
			return
		}
	}
}

// EachField is Fields and RawFields in one.
func EachField(header []byte, f func(name, value, field []byte)) {
	for len(header) > 0 {
		var x field
		if x, header = cutField(header); len(x.name) > 0 {
			f(x.name, x.value(), x.raw)
		}
	}
}

// A field is one of a raw header.
type field struct {
	name []byte // empty: there is no colon
	raw  []byte // with its line ends
	at   int    // after the colon
	torn bool   // the name has line ends in it
}

// value returns what follows the name, without leading blanks and the last
// line end.
func (x *field) value() []byte {
	v := x.raw[x.at:]
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for len(v) > 0 && (v[len(v)-1] == '\n' || v[len(v)-1] == '\r') {
		v = v[:len(v)-1]
	}
	return v
}

// cutField splits the first field from the rest. A field goes on as long as
// lines begin with a blank (RFC 5322 §2.2.3).
func cutField(header []byte) (x field, rest []byte) {
	x.raw = header[:fieldEnd(header)]
	colon := bytes.IndexByte(x.raw, ':')
	if colon < 0 {
		return x, header[len(x.raw):]
	}
	name := x.raw[:colon]
	for len(name) > 0 && (name[len(name)-1] == ' ' || name[len(name)-1] == '\t') {
		name = name[:len(name)-1]
	}
	x.name, x.at = name, colon+1
	x.torn = colon > 0 && (bytes.IndexByte(name, '\n') >= 0 || bytes.IndexByte(name, '\r') >= 0)
	return x, header[len(x.raw):]
}

// fieldEnd returns the length of the first field with its line ends.
func fieldEnd(header []byte) int {
	for end := 0; ; {
		i := bytes.IndexByte(header[end:], '\n')
		if i < 0 {
			return len(header)
		}
		end += i + 1
		if end == len(header) || header[end] != ' ' && header[end] != '\t' {
			return end
		}
	}
}

// Unfold removes the line ends of a field's value. A CR without LF becomes a
// space, and NUL, which no IMAP string can hold, U+FFFD.
func Unfold(value []byte) string {
	if !bytes.ContainsAny(value, "\r\n\x00") {
		return string(value)
	}
	out := make([]byte, 0, len(value)+2)
	for i, c := range value {
		switch {
		case c == 0:
			out = append(out, "\ufffd"...)
		case c == '\r' && (i+1 == len(value) || value[i+1] != '\n'):
			out = append(out, ' ')
		case c != '\r' && c != '\n':
			out = append(out, c)
		}
	}
	return string(out)
}

// ReadHeader reads the header of the message at the beginning of r, at most
// limit octets of it, and the span it really has in the file.
func ReadHeader(r io.ReaderAt, size int64, limit int) ([]byte, Span, error) {
	b := getReader(r, size)
	defer putReader(b)
	s := &scanner{r: b, start: true, budget: limit}
	header, err := s.wholeHeader(limit)
	return header, Span{0, s.at.pos}, err
}

func (s *scanner) wholeHeader(limit int) ([]byte, error) {
	var header []byte
	for {
		line, first := s.line()
		if len(line) == 0 {
			return header, s.err
		}
		if n := min(limit-len(header), len(line)); n > 0 {
			header = append(header, line[:n]...)
		}
		if first && isEmptyLine(line) {
			return header, nil
		}
	}
}

// parseHeader fills in what the header says. A root has an envelope; in a
// digest the default type is message/rfc822 (RFC 2046 §5.1.5).
func (p *Part) parseHeader(header []byte, root, digest bool) {
	var e Envelope
	Fields(header, func(name, value []byte) bool {
		if len(name) > 8 && name[7] == '-' && foldEqual(string(name[:8]), "content-") {
			p.contentField(strings.ToLower(string(name[8:])), value)
		} else if root {
			e.Add(name, value)
		}
		return true
	})
	if p.Type == "" {
		p.Type, p.Subtype = "text", "plain"
		if digest {
			p.Type, p.Subtype = "message", "rfc822"
		}
	}
	p.kind = kindOf(p.Type, p.Subtype)
	if root {
		p.Envelope = e.Append(make([]byte, 0, 512))
	}
}

func kindOf(typ, subtype string) kind {
	switch {
	case foldEqual(typ, "multipart"):
		return multipart
	case foldEqual(typ, "message") && foldEqual(subtype, "rfc822"):
		return message
	}
	return leaf
}

// contentField takes the first field of each name.
func (p *Part) contentField(name string, value []byte) {
	switch name {
	case "type":
		if p.Type == "" {
			p.contentType(Unfold(value))
		}
	case "transfer-encoding":
		if p.Encoding == "" {
			p.Encoding = onlyToken(Unfold(value))
		}
	case "disposition":
		if p.Disposition == "" {
			x := &lexer{s: Unfold(value)}
			p.Disposition = x.mimeToken()
			p.DispParams = x.params()
		}
	case "language":
		if p.Language == nil {
			p.Language = languages(Unfold(value))
		}
	case "id":
		setOnce(&p.ID, value)
	case "description":
		setOnce(&p.Description, value)
	case "md5":
		setOnce(&p.MD5, value)
	case "location":
		setOnce(&p.Location, value)
	}
}

func setOnce(to *string, value []byte) {
	if *to == "" {
		*to = Unfold(value)
	}
}

func (p *Part) contentType(value string) {
	x := &lexer{s: value}
	typ := x.mimeToken()
	x.skip()
	if typ == "" {
		return
	}
	p.Type = typ
	if !x.eat('/') {
		p.Subtype = defaultSubtype(typ)
		return
	}
	if p.Subtype = x.mimeToken(); p.Subtype == "" {
		p.Subtype = defaultSubtype(typ)
		return
	}
	p.Params = x.params()
}

func defaultSubtype(typ string) string {
	switch {
	case foldEqual(typ, "text"):
		return "plain"
	case foldEqual(typ, "multipart"):
		return "mixed"
	}
	return "unknown"
}

// onlyToken returns the token that value consists of, else "".
func onlyToken(value string) string {
	x := &lexer{s: value}
	token := x.mimeToken()
	x.skip()
	if !x.done() {
		return ""
	}
	return token
}

func languages(value string) []string {
	x := &lexer{s: value}
	var all []string
	for len(all) < maxParams {
		x.skip()
		tag := x.run(isAtext)
		if tag == "" {
			return all
		}
		all = append(all, tag)
		x.skip()
		if !x.eat(',') {
			return all
		}
	}
	return all
}

func foldEqual(a, b string) bool { return strings.EqualFold(a, b) }
