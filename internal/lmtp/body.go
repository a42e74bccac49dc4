package lmtp

import (
	"bytes"
	"io"
)

// dataReader reads the message that follows DATA: it removes the stuffed dots
// and finds the end, which is CRLF "." CRLF and nothing else. A bare CR, a bare
// LF or a NUL is ErrContent (after which the rest can only be skipped), too
// much is ErrTooBig.
type dataReader struct {
	x       *wire
	max     int64
	total   int64
	pending []byte // of the buffer: ready to be read
	middle  bool   // not at the beginning of a line
	err     error  // final: io.EOF, or of the connection
	bad     error  // ErrContent or ErrTooBig: reported instead of content
}

// Read implements io.Reader.
func (d *dataReader) Read(p []byte) (int, error) {
	for len(d.pending) == 0 {
		if d.bad != nil {
			return 0, d.bad
		}
		if d.err != nil {
			return 0, d.err
		}
		d.next()
	}
	n := copy(p, d.pending)
	d.pending = d.pending[n:]
	return n, nil
}

// WriteTo implements io.WriterTo, without a copy.
func (d *dataReader) WriteTo(w io.Writer) (int64, error) {
	return writeTo(w, d.piece)
}

// piece returns the next octets.
func (d *dataReader) piece() ([]byte, error) {
	for len(d.pending) == 0 {
		if d.bad != nil {
			return nil, d.bad
		}
		if d.err != nil {
			return nil, d.err
		}
		d.next()
	}
	p := d.pending
	d.pending = nil
	return p, nil
}

func writeTo(w io.Writer, piece func() ([]byte, error)) (int64, error) {
	var n int64
	for {
		p, err := piece()
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		m, err := w.Write(p)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
}

// skip reads up to the end of the message. It returns ErrContent or ErrTooBig
// where the message is no good, nil where it is, else the error of the
// connection.
func (d *dataReader) skip() error {
	for d.err == nil {
		d.pending = nil
		d.next()
		if d.total > 2*d.max+1<<20 {
			return errEndless
		}
	}
	if d.err != io.EOF {
		return d.err
	}
	return d.bad
}

// next finds the next run of content in the buffer, reading more where it
// must, and makes it pending.
func (d *dataReader) next() {
	n, need := d.run()
	if n > 0 {
		d.take(n)
		return
	}
	if d.err != nil || !need {
		return
	}
	d.err = d.x.more()
}

// take makes n octets of the buffer pending.
func (d *dataReader) take(n int) {
	d.pending = d.x.buf[d.x.r : d.x.r+n]
	d.x.r += n
	d.x.received += int64(n)
	d.total += int64(n)
	if d.total > d.max && d.bad == nil {
		d.bad = ErrTooBig
	}
	if d.bad != nil {
		d.pending = nil
	}
}

// run returns how many octets at the beginning of the buffer are content; with
// 0, need tells that more input is needed. It uses up stuffed dots and the end
// of the message.
func (d *dataReader) run() (n int, need bool) {
	b := d.x.buffered()
	for n < len(b) {
		if !d.middle && b[n] == '.' {
			if n > 0 {
				return n, false
			}
			return 0, d.dot(b)
		}
		more, hold := d.lineOf(b[n:])
		n += more
		if hold {
			break
		}
	}
	return n, n == 0
}

// lineOf returns how many octets at the beginning of b belong to one line. A
// CR at the end of b is held back, with hold set: what follows is not known.
func (d *dataReader) lineOf(b []byte) (n int, hold bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		n = len(b)
		if b[n-1] == '\r' {
			n, hold = n-1, true
		}
		d.check(b[:n])
		if n > 0 {
			d.middle = true
		}
		return n, hold || n == len(b)
	}
	if i == 0 || b[i-1] != '\r' {
		d.bad = ErrContent
		d.check(b[:i])
		d.middle = true // only CRLF ends a line
		return i + 1, false
	}
	d.check(b[:i-1])
	d.middle = false
	return i + 1, false
}

// check looks for what may not stand within a line. It outweighs a size over
// the limit, so that the answer does not depend on how the input is cut.
func (d *dataReader) check(text []byte) {
	if d.bad != ErrContent && (bytes.IndexByte(text, '\r') >= 0 || bytes.IndexByte(text, 0) >= 0) {
		d.bad = ErrContent
	}
}

// dot deals with a dot at the beginning of a line, b[0]: the end of the message
// or a dot to remove (RFC 5321 §4.5.2). It returns whether it needs more input.
func (d *dataReader) dot(b []byte) (need bool) {
	if len(b) == 1 || len(b) == 2 && b[1] == '\r' {
		return true
	}
	if b[1] == '\r' && b[2] == '\n' {
		d.x.r += 3
		d.err = io.EOF
		return false
	}
	d.x.r++
	d.middle = true
	return false
}

func (d *dataReader) single() bool { return false }
