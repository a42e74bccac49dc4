package smtpd

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// Sizes of the input buffer, in octets: what a session holds while it waits
// for commands, and what it borrows for a message.
const (
	smallInput = 4 << 10
	largeInput = 64 << 10
)

var errLongLine = errors.New("the line is too long")

// largeBuffers are lent to sessions in the midst of a message.
var largeBuffers = sync.Pool{New: func() any { return new([largeInput]byte) }}

// input is what the client sent and nobody has used yet: buf[r:w].
type input struct {
	buf   []byte
	r, w  int
	small []byte            // the session's own
	large *[largeInput]byte // borrowed
	bulk  bool              // a message is being read
}

func (in *input) waiting() []byte { return in.buf[in.r:in.w] }

func (in *input) use(n int) { in.r += n }

func (in *input) discard() { in.r, in.w = 0, 0 }

// line returns the next line without its LF, but with the CR before it; ok is
// false when it is not complete. It is valid until the next fill.
func (in *input) line(limit int) (line []byte, ok bool, err error) {
	i := bytes.IndexByte(in.waiting(), '\n')
	if i >= limit || i < 0 && in.w-in.r >= limit {
		return nil, false, errLongLine
	}
	if i < 0 {
		return nil, false, nil
	}
	line = in.buf[in.r : in.r+i]
	in.r += i + 1
	return line, true, nil
}

// fill reads more.
func (in *input) fill(r io.Reader) error {
	in.makeRoom()
	n, err := r.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// makeRoom leaves space behind w.
func (in *input) makeRoom() {
	if !in.bulk {
		in.giveBack()
	}
	if in.buf == nil {
		in.small = make([]byte, smallInput)
		in.buf = in.small
	}
	if in.r > 0 && (in.r == in.w || in.r >= len(in.buf)/2 || in.w == len(in.buf)) {
		in.w = copy(in.buf, in.waiting())
		in.r = 0
	}
	if in.w == len(in.buf) { // a line that is longer than the buffer, but within its limit
		in.buf = append(in.buf, make([]byte, len(in.buf))...)
	}
}

// beginBulk gets the large buffer, for a message.
func (in *input) beginBulk() {
	in.bulk = true
	if in.large != nil || in.w-in.r > largeInput/2 {
		return
	}
	in.large = largeBuffers.Get().(*[largeInput]byte)
	n := copy(in.large[:], in.waiting())
	in.buf, in.r, in.w = in.large[:], 0, n
}

func (in *input) endBulk() {
	in.bulk = false
	in.giveBack()
}

// giveBack returns the large buffer as soon as what waits fits the small one.
func (in *input) giveBack() {
	if in.large == nil || in.w-in.r > len(in.small) {
		return
	}
	n := copy(in.small, in.waiting())
	largeBuffers.Put(in.large)
	in.buf, in.r, in.w, in.large = in.small, 0, n, nil
}

// release gives everything back at the end of the session.
func (in *input) release() {
	if in.large != nil {
		largeBuffers.Put(in.large)
	}
	*in = input{}
}
