package imapd

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"peyk/internal/casemap"
	"peyk/internal/mailtext"
	"peyk/internal/mimescan"
)

// A finder looks for the needles of BODY and TEXT in one message after the
// other. What it holds does not grow with the messages.
type finder struct {
	needles [][]byte // folded, each once
	inBody  []bool   // a needle counts only in the body, for one key at least
	found   []found
	late    func() error // called now and then: whether to give up
	gaveUp  error

	auto    *automaton // when the needles are many
	longest int
	body    bool // the region that is looked at, not the header
	left    int  // needles that are not found in the region
	letter  *letter
	top     bool   // the message's own header comes next
	text    []byte // folded, and not searched yet but for its beginning
	fold    casemap.Folder
	field   fieldText
	parts   mailtext.Reader
	section io.SectionReader
	block   []byte
	visitor mimescan.Visitor
}

// found says where a needle was found.
type found struct{ header, body bool }

// manyNeedles is from how many needles on an automaton is faster than to look
// for one after the other.
const manyNeedles = 12

// blockSize is how much text is searched at once.
const blockSize = 32 << 10

var errAllFound = errors.New("all is found")

// need adds a needle, and returns its index.
func (f *finder) need(text string, inBody bool) int {
	needle := []byte(casemap.Fold(text))
	for i, n := range f.needles {
		if bytes.Equal(n, needle) {
			f.inBody[i] = f.inBody[i] || inBody
			return i
		}
	}
	f.needles = append(f.needles, needle)
	f.inBody = append(f.inBody, inBody)
	return len(f.needles) - 1
}

// prepare is called once all needles are there.
func (f *finder) prepare() {
	f.found = make([]found, len(f.needles))
	f.visitor = mimescan.Visitor{Header: f.header, Body: f.part}
	many := make([][]byte, 0, len(f.needles))
	for _, n := range f.needles {
		f.longest = max(f.longest, len(n))
		if len(n) > 0 {
			many = append(many, n)
		}
	}
	if len(many) == len(f.needles) && len(many) >= manyNeedles {
		f.auto = newAutomaton(many)
	}
}

// search looks through a message. The answer is valid until the next one.
func (f *finder) search(l *letter) ([]found, error) {
	if f.found == nil {
		f.prepare()
	}
	clear(f.found)
	f.letter, f.top, f.gaveUp = l, true, nil
	err := f.visit(l)
	f.letter = nil
	switch {
	case f.gaveUp != nil:
		return nil, f.gaveUp
	case err != nil && err != errAllFound:
		return nil, stored(err)
	}
	return f.found, nil
}

func (f *finder) visit(l *letter) error {
	if l.data != nil {
		return mimescan.VisitBytes(l.data, f.visitor)
	}
	return mimescan.Visit(l.r, l.size, f.visitor)
}

// region begins to look at the header, or at the body, where every message
// has the empty needle.
func (f *finder) region(body bool) {
	f.body, f.left = body, 0
	for i, n := range f.needles {
		switch {
		case len(n) == 0:
			f.found[i].body = true
		case body && !f.inBody[i] && f.found[i].header: // need not be found again
		default:
			f.left++
		}
	}
}

// hit notes a needle; false tells that it was found before.
func (f *finder) hit(i int32) bool {
	n := &f.found[i]
	switch {
	case f.body && n.body, !f.body && n.header:
		return false
	case f.body:
		n.body = true
		if !f.inBody[i] && n.header {
			return true // it was not counted
		}
	default:
		n.header = true
	}
	f.left--
	return true
}

// header looks at the header of the message, or of a part, which belongs to
// the body.
func (f *finder) header(_ *mimescan.Part, header []byte) error {
	if f.top {
		f.region(false)
	}
	f.begin()
	mimescan.Fields(header, func(name, value []byte) bool {
		f.write(name)
		f.write([]byte(": "))
		f.write(f.field.decode(name, value))
		f.write([]byte{0}) // no needle goes across fields
		return f.left > 0
	})
	f.end()
	if f.top {
		f.top = false
		f.region(true)
	}
	return f.goOn()
}

// part looks at a text part.
func (f *finder) part(p *mimescan.Part) error {
	if !p.Text() {
		return nil
	}
	f.begin()
	err := f.read(p)
	f.end()
	if err != nil {
		return err
	}
	return f.goOn()
}

func (f *finder) goOn() error {
	if f.left == 0 {
		return errAllFound
	}
	if f.late != nil {
		f.gaveUp = f.late()
	}
	return f.gaveUp
}

func (f *finder) read(p *mimescan.Part) error {
	how := mailtext.Part{Subtype: p.Subtype, Encoding: p.Encoding, Charset: p.Param("charset")}
	if f.letter.data != nil && how.Plain() {
		f.write(f.letter.data[p.Body.Start:p.Body.End])
		return nil
	}
	if f.block == nil {
		f.block = make([]byte, blockSize)
	}
	f.section = *io.NewSectionReader(f.letter.r, p.Body.Start, p.Body.Len())
	f.parts.Reset(&f.section, how)
	for {
		n, err := f.parts.Read(f.block)
		f.write(f.block[:n])
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = f.goOn()
		}
		if err != nil {
			return err
		}
	}
}

// begin begins a text that has nothing to do with the one before.
func (f *finder) begin() {
	f.text = f.text[:0]
	f.fold = casemap.Folder{}
	if f.auto != nil {
		f.auto.reset()
	}
}

// write takes a piece of the text.
func (f *finder) write(piece []byte) {
	for len(piece) > 0 && f.left > 0 {
		n := min(len(piece), blockSize)
		f.text = f.fold.Append(f.text, piece[:n])
		piece = piece[n:]
		if len(f.text) < blockSize+f.longest {
			continue
		}
		f.look()
		keep := 0
		if f.auto == nil {
			keep = min(len(f.text), f.longest-1)
		}
		f.text = append(f.text[:0], f.text[len(f.text)-keep:]...)
	}
}

// end ends the text.
func (f *finder) end() {
	if f.left == 0 {
		return
	}
	f.text = f.fold.Flush(f.text)
	f.look()
}

// look searches what is in f.text.
func (f *finder) look() {
	if f.auto != nil {
		f.auto.scan(f.text, f.hit)
		return
	}
	for i, n := range f.needles {
		if n := f.found[i]; f.body && n.body || !f.body && n.header || len(f.needles[i]) == 0 {
			continue
		}
		if bytes.Contains(f.text, n) {
			f.hit(int32(i))
		}
	}
}

// fieldText decodes header fields, in buffers that stay.
type fieldText struct {
	raw, text []byte
	words     mailtext.Words
}

// decode returns the text of a field. It is valid until the next one.
func (f *fieldText) decode(name, value []byte) []byte {
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
func (f *fieldText) unfold(value []byte) []byte {
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
func (f *fieldText) parameters(value []byte) []byte {
	out := value
	for _, p := range mimescan.Params(string(value)) {
		if strings.HasSuffix(p.Name, "*") {
			out = append(append(append(out[:len(out):len(out)], "; "...), p.Name[:len(p.Name)-1]+"="...), mailtext.Extended(p.Value)...)
		}
	}
	return out
}
