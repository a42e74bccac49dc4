package sendmail

import (
	"bufio"
	"io"
)

// wire reads a message as programs write it and gives it in wire form: every
// line ends with CRLF.
//
//   - A line may end with LF, with CRLF, or with several CR and LF.
//   - Any other CR becomes a blank in the header, so that it cannot begin
//     another field, and a line end in the body.
//   - NUL is dropped.
//   - A last line without its end gets one.
//   - With dots, a line of a single dot is the end (-i turns that off).
type wire struct {
	r       *bufio.Reader
	dots    bool
	body    bool // the first blank line was seen
	middle  bool // of a line of the input
	written int  // octets of the current line of the output
	cr      bool // CR came, and nothing yet after it
	out     []byte
	rest    []byte // of out, not yet read
	err     error
}

func newWire(r io.Reader, dots bool) *wire {
	return &wire{r: bufio.NewReaderSize(r, 32<<10), dots: dots}
}

// Read implements io.Reader.
func (w *wire) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		if w.err != nil {
			return 0, w.err
		}
		w.fill()
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

// fill takes one line of the input, or a part of a long one.
func (w *wire) fill() {
	part, err := w.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		err = nil
	}
	w.out = w.out[:0]
	if w.dots && !w.middle && lone(part, err != nil) {
		err, part = io.EOF, nil
	}
	w.middle = len(part) > 0 && part[len(part)-1] != '\n'
	for _, b := range part {
		w.add(b)
	}
	if err == io.EOF && (w.written > 0) {
		w.newline()
	}
	w.err = err
	w.rest = w.out
}

// lone reports a line that is a dot and nothing else.
func lone(line []byte, last bool) bool {
	s := string(line)
	return s == ".\n" || s == ".\r\n" || last && (s == "." || s == ".\r")
}

func (w *wire) add(b byte) {
	switch b {
	case 0:
		return
	case '\r':
		w.cr = true
		return
	case '\n':
		w.newline()
		return
	}
	if w.cr {
		w.stray()
	}
	w.out = append(w.out, b)
	w.written++
}

// stray deals with a CR that no LF followed.
func (w *wire) stray() {
	if w.body {
		w.newline()
		return
	}
	w.cr = false
	w.out = append(w.out, ' ')
	w.written++
}

func (w *wire) newline() {
	w.out = append(w.out, '\r', '\n')
	w.body = w.body || w.written == 0
	w.written, w.cr = 0, false
}
