package imapd

import (
	"bytes"
	"errors"

	"peyk/internal/casemap"
	"peyk/internal/mailtext"
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
	body    bool   // the region that is looked at, not the header
	left    int    // needles that are not found in the region
	text    []byte // folded, and not searched yet but for its beginning
	fold    casemap.Folder
	walker  mailtext.Walker
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
	f.gaveUp = nil
	f.region(false)
	err := f.walker.Walk(l.r, l.size, l.data, f)
	switch {
	case f.gaveUp != nil:
		return nil, f.gaveUp
	case err != nil && err != errAllFound:
		return nil, stored(err)
	}
	return f.found, nil
}

// region begins to look at a header, or at what is none, where every message
// has the empty needle. What counts only as TEXT need not be found twice.
func (f *finder) region(body bool) {
	f.body, f.left = body, 0
	for i, n := range f.needles {
		switch is := f.found[i]; {
		case len(n) == 0:
			f.found[i].body = true
		case is.body || is.header && (!body || !f.inBody[i]):
		default:
			f.left++
		}
	}
}

// hit notes a needle; false tells that it was found before.
func (f *finder) hit(i int32) bool {
	n := &f.found[i]
	switch {
	case n.body, !f.body && n.header:
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

// Begin begins a text that has nothing to do with the one before.
func (f *finder) Begin(body bool) {
	if body != f.body {
		f.region(body)
	}
	f.text = f.text[:0]
	f.fold = casemap.Folder{}
	if f.auto != nil {
		f.auto.reset()
	}
}

// Text takes a piece of the text.
func (f *finder) Text(piece []byte) error {
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
		if err := f.tooLate(); err != nil {
			return err
		}
	}
	return nil
}

// End ends the text.
func (f *finder) End() error {
	if f.left > 0 {
		f.text = f.fold.Flush(f.text)
		f.look()
	}
	if !f.body {
		f.region(true)
	}
	if f.left == 0 {
		return errAllFound
	}
	return f.tooLate()
}

func (f *finder) tooLate() error {
	if f.gaveUp == nil && f.late != nil {
		f.gaveUp = f.late()
	}
	return f.gaveUp
}

// look searches what is in f.text.
func (f *finder) look() {
	if f.auto != nil {
		f.auto.scan(f.text, f.hit)
		return
	}
	for i, n := range f.needles {
		if n := f.found[i]; n.body || !f.body && n.header || len(f.needles[i]) == 0 {
			continue
		}
		if bytes.Contains(f.text, n) {
			f.hit(int32(i))
		}
	}
}
