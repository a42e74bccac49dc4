package lmtp

import (
	"errors"
	"io"
	"strconv"
	"strings"
)

// errEndless is a client that does not stop sending what was refused.
var errEndless = errors.New("the message does not end")

// chunkReader reads the message that comes in BDAT chunks (RFC 3030 §2): their
// octets as they are. Between chunks it takes commands.
type chunkReader struct {
	s     *session
	left  int64 // octets of the current chunk
	size  int64 // octets of all chunks so far, as announced
	last  bool
	total int64
	err   error // final
}

// Read implements io.Reader.
func (c *chunkReader) Read(p []byte) (int, error) {
	if err := c.ready(); err != nil {
		return 0, err
	}
	n := copy(p, c.available())
	c.use(n)
	return n, nil
}

// WriteTo implements io.WriterTo, without a copy.
func (c *chunkReader) WriteTo(w io.Writer) (int64, error) {
	return writeTo(w, func() ([]byte, error) {
		if err := c.ready(); err != nil {
			return nil, err
		}
		p := c.available()
		c.use(len(p))
		return p, nil
	})
}

// available returns what the buffer holds of the current chunk.
func (c *chunkReader) available() []byte {
	b := c.s.buffered()
	return b[:min(int64(len(b)), c.left)]
}

func (c *chunkReader) use(n int) {
	c.s.r += n
	c.s.received += int64(n)
	c.left -= int64(n)
	c.total += int64(n)
}

// ready makes at least one octet of content available.
func (c *chunkReader) ready() error {
	for c.err == nil {
		switch {
		case c.left > 0 && c.s.w > c.s.r:
			return nil
		case c.left > 0:
			c.err = c.s.more()
		case c.last:
			c.err = io.EOF
		default:
			c.err = c.next()
		}
	}
	return c.err
}

// next answers the chunk that is complete, and takes commands up to the next
// one.
func (c *chunkReader) next() error {
	c.s.reply(250, "2.0.0", strconv.FormatInt(c.total, 10)+" octets received")
	c.s.setContent(false)
	defer c.s.setContent(true)
	for {
		line, err := c.s.command()
		if err != nil {
			return err
		}
		verb, args := cutVerb(line)
		switch verb {
		case "BDAT":
			return c.begin(args)
		case "NOOP":
			c.s.reply(250, "2.0.0", "ok")
		case "RSET", "QUIT":
			c.s.after = verb
			return ErrAborted
		default:
			c.s.wrong(503, "5.5.1", "only BDAT, NOOP, RSET and QUIT can follow BDAT")
		}
		if c.s.tooWrong() {
			c.s.after = "QUIT"
			return ErrAborted
		}
	}
}

// begin starts the chunk that a BDAT command announces.
func (c *chunkReader) begin(args string) error {
	size, last, ok := parseBDAT(args)
	if !ok {
		return errBadChunk
	}
	c.left, c.last = size, last
	if size > c.s.o.MaxSize-c.size {
		return ErrTooBig
	}
	c.size += size
	return nil
}

// skip reads up to the end of the message, as dataReader.skip. A message that
// is too big ends with the chunk that makes it so.
func (c *chunkReader) skip() error {
	for c.err == nil {
		if c.ready() == nil {
			c.use(len(c.available()))
		}
	}
	if c.err == io.EOF {
		return nil
	}
	if c.err == ErrTooBig {
		if err := c.s.discard(c.left); err != nil {
			return err
		}
	}
	return c.err
}

// single tells a chunk that is not the last (RFC 3030 §2).
func (c *chunkReader) single() bool { return !c.last }

// errBadChunk is a BDAT that does not say how many octets follow: what comes
// next cannot be told from commands, so the connection ends.
var errBadChunk = errors.New("BDAT without a size")

// parseBDAT reads "SIZE [LAST]".
func parseBDAT(args string) (size int64, last, ok bool) {
	digits, rest, more := strings.Cut(args, " ")
	if more {
		if !strings.EqualFold(rest, "LAST") {
			return 0, false, false
		}
		last = true
	}
	size, ok = parseNumber(digits)
	return size, last, ok
}

// parseNumber reads 1 to 20 digits; what does not fit is the largest number.
func parseNumber(s string) (int64, bool) {
	if s == "" || len(s) > 20 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		n = 1<<63 - 1
	}
	return n, true
}
