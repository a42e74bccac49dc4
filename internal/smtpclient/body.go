package smtpclient

import (
	"bytes"
	"io"
	"time"
)

const (
	readSize = 32 << 10 // octets of a message held at a time
	sendSize = 64 << 10 // octets sent in one write; stuffing at most doubles readSize
)

// guard watches the octets of a message for what must not be sent.
type guard struct {
	eight bool // octets above 127 are forbidden
	utf8  bool // likewise, in the header
	head  bool // still in the header
	last  byte // the octet before
	empty bool // the line so far has no octet
}

// check returns why p must not be sent. RFC 5321 §2.3.8: CR and LF occur
// together only; one alone is a line end to some servers and not to others,
// which is what smuggles messages.
func (g *guard) check(p []byte) error {
	for _, b := range p {
		switch {
		case b == '\n':
			if g.last != '\r' {
				return errBare
			}
			g.head = g.head && !g.empty
			g.empty = true
		case g.last == '\r', b == 0:
			return errBare
		case b >= 0x80 && g.eight:
			return errEight
		case b >= 0x80 && g.utf8 && g.head:
			return errUTF8
		case b != '\r':
			g.empty = false
		}
		g.last = b
	}
	return nil
}

// bodyWriter sends a message with its dots stuffed (RFC 5321 §4.5.2).
type bodyWriter struct {
	c     *Client
	guard guard
	out   []byte
}

// copy sends what r holds, of which size octets are expected (0 = unknown):
// most messages need no large buffers.
func (w *bodyWriter) copy(r io.Reader, size int64) error {
	n := int64(readSize)
	if size > 0 {
		n = min(n, size)
	}
	in := make([]byte, n)
	w.out = make([]byte, 0, n+n/8)
	for {
		n, err := r.Read(in)
		if err := w.add(in[:n]); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &SourceError{err}
		}
	}
}

// add checks p, which has at most readSize octets, stuffs it, and sends what
// has gathered.
func (w *bodyWriter) add(p []byte) error {
	last := w.guard.last
	if err := w.guard.check(p); err != nil {
		return err
	}
	if len(w.out)+2*len(p) > sendSize {
		if err := w.send(); err != nil {
			return err
		}
	}
	w.stuff(p, last)
	return nil
}

func (w *bodyWriter) stuff(p []byte, last byte) {
	for len(p) > 0 {
		if last == '\n' && p[0] == '.' {
			w.out = append(w.out, '.')
		}
		n := bytes.IndexByte(p, '\n') + 1
		if n == 0 {
			n = len(p)
		}
		w.out = append(w.out, p[:n]...)
		last = p[n-1]
		p = p[n:]
	}
}

// send writes what has gathered. Each write has a deadline of its own: a
// server that stops reading does not hold us (RFC 5321 §4.5.3.2.5).
func (w *bodyWriter) send() error {
	w.c.deadline(w.c.o.Timeouts.Block)
	_, err := w.c.conn.Write(w.out)
	w.out = w.out[:0]
	if err != nil {
		return w.c.early(err)
	}
	return nil
}

// end sends the rest and the final dot.
func (w *bodyWriter) end() error {
	switch w.guard.last {
	case '\r':
		return errBare
	case '\n':
	default:
		w.out = append(w.out, '\r', '\n') // RFC 5321 §4.1.1.4: the last line needs its end
	}
	w.out = append(w.out, ".\r\n"...)
	return w.send()
}

// early looks whether a server that stopped taking the message has said why:
// some answer in the middle of it and close.
func (c *Client) early(cause error) error {
	lost := &ConnError{Doing: "sending the message", Err: cause}
	c.deadline(time.Second)
	r, err := ReadReply(c.r)
	if err != nil || r.Positive() {
		return lost
	}
	return &ReplyError{Command: "message", Reply: r}
}
