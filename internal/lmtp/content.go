package lmtp

import (
	"errors"
	"io"
	"slices"
	"strconv"

	"peyk/internal/status"
)

var (
	errShort = errors.New("the message is shorter than it should be")
	errLong  = errors.New("the message is longer than it should be")
)

// unreadable is a failure of our own message, in the middle of a transaction.
func unreadable(err error) error {
	return status.New(451, "4.3.0", "cannot read the message").Because("read message", err)
}

// bdat sends a message of known size as one chunk (RFC 3030 §2). A small one
// goes out in the same write as the envelope.
func (d *delivery) bdat() error {
	c := d.c
	small := d.t.Size <= chunk && c.ext.pipelining
	if !small {
		if err := d.hearEnvelope(); err != nil || len(d.open) == 0 {
			return err
		}
	}
	c.out = append(c.out, "BDAT "...)
	c.out = strconv.AppendInt(c.out, d.t.Size, 10)
	c.out = append(c.out, " LAST\r\n"...)
	if err := d.copyContent(); err != nil {
		return err
	}
	if !small {
		return d.final()
	}
	if err := d.hearEnvelope(); err != nil {
		return err
	}
	if len(d.open) > 0 {
		return d.final()
	}
	_, err := d.hear(c.timeouts.Final) // one refusal of the chunk; the recipients know why already
	return err
}

// copyContent sends exactly t.Size octets, and makes sure that there are no
// more of them before it sends the last.
func (d *delivery) copyContent() error {
	for left := d.t.Size; left > 0; {
		n := min(left, chunk)
		left -= n
		want := int(n)
		if left == 0 {
			want++
		}
		got, err := d.read(want)
		if err != nil {
			return unreadable(err)
		}
		if got < int(n) {
			return unreadable(errShort)
		}
		if got > int(n) && left == 0 {
			return unreadable(errLong)
		}
		if err := d.c.flush(d.ctx); err != nil {
			return err
		}
	}
	return nil
}

// read appends up to n octets of the message to what waits to be sent; less
// means that the message ended.
func (d *delivery) read(n int) (int, error) {
	out := slices.Grow(d.c.out, n)
	got, err := io.ReadFull(d.t.Message, out[len(out):len(out)+n])
	d.c.out = out[:len(out)+got]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return got, err
}

// bdatUnsized sends a message whose size nobody knows, chunk by chunk.
func (d *delivery) bdatUnsized() error {
	if err := d.hearEnvelope(); err != nil || len(d.open) == 0 {
		return err
	}
	buf := make([]byte, chunk)
	for {
		n, err := io.ReadFull(d.t.Message, buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return unreadable(err)
		}
		if err := d.sendChunk(buf[:n], last); err != nil {
			return err
		}
		if last {
			return d.final()
		}
		r, err := d.hear(d.c.timeouts.Final)
		if err != nil {
			return err
		}
		if !r.ok() { // RFC 3030 §2: the transaction is over, RSET comes next
			d.settle(r.err(), r.String())
			return nil
		}
	}
}

func (d *delivery) sendChunk(p []byte, last bool) error {
	c := d.c
	c.out = append(c.out, "BDAT "...)
	c.out = strconv.AppendInt(c.out, int64(len(p)), 10)
	if last {
		c.out = append(c.out, " LAST"...)
	}
	c.out = append(c.out, "\r\n"...)
	c.out = append(c.out, p...)
	return c.flush(d.ctx)
}

// data sends the message dot-stuffed (RFC 5321 §4.5.2) to a server without
// CHUNKING.
func (d *delivery) data() error {
	c := d.c
	if !c.ext.pipelining && len(d.open) == 0 {
		return nil
	}
	c.out = append(c.out, "DATA\r\n"...) // RFC 2920 §3.1: may be the last of a group
	if err := d.hearEnvelope(); err != nil {
		return err
	}
	r, err := d.hear(c.timeouts.Command)
	if err != nil {
		return err
	}
	if r.code != 354 {
		d.settle(r.err(), r.String())
		return nil
	}
	if len(d.open) == 0 {
		return d.dataForNobody()
	}
	if err := d.stuffContent(); err != nil {
		return err
	}
	return d.final()
}

// dataForNobody ends the message that a server asks for although it accepted
// no recipient. How many replies follow is anybody's guess, so that the
// connection is given up.
func (d *delivery) dataForNobody() error {
	d.c.broken = true
	d.c.out = append(d.c.out, ".\r\n"...)
	return d.c.flush(d.ctx)
}

func (d *delivery) stuffContent() error {
	s := stuffer{start: true}
	buf := make([]byte, chunk/2)
	for {
		n, err := d.t.Message.Read(buf)
		d.c.out = s.append(d.c.out, buf[:n])
		if errors.Is(err, io.EOF) {
			d.c.out = s.finish(d.c.out)
			return d.c.flush(d.ctx)
		}
		if err != nil {
			return unreadable(err)
		}
		if len(d.c.out) < chunk/2 {
			continue
		}
		if err := d.c.flush(d.ctx); err != nil {
			return err
		}
	}
}

// A stuffer turns content into what DATA carries. A bare CR or LF becomes a
// line end: passed on as it is, it could end the message for a lenient server
// and begin another one ("SMTP smuggling").
type stuffer struct {
	start bool // at the beginning of a line
	cr    bool // a CR came, and what follows is not known yet
}

func (s *stuffer) append(dst, p []byte) []byte {
	for _, b := range p {
		if s.cr {
			s.cr = false
			dst = s.newline(dst)
			if b == '\n' {
				continue
			}
		}
		switch {
		case b == '\r':
			s.cr = true
			continue
		case b == '\n':
			dst = s.newline(dst)
			continue
		case b == '.' && s.start:
			dst = append(dst, '.')
		}
		dst = append(dst, b)
		s.start = false
	}
	return dst
}

func (s *stuffer) newline(dst []byte) []byte {
	s.start = true
	return append(dst, '\r', '\n')
}

// finish ends the last line, and the message.
func (s *stuffer) finish(dst []byte) []byte {
	if s.cr || !s.start {
		dst = s.newline(dst)
	}
	return append(dst, ".\r\n"...)
}
