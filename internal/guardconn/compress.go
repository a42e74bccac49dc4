package guardconn

import (
	"bytes"
	"compress/flate"
)

// compression is DEFLATE in both directions (RFC 4978).
type compression struct {
	in  inflater
	buf []byte // for reads; small while the client says little
}

// Sizes of a read's buffer.
const (
	smallRead = 512
	largeRead = 4 << 10
)

// Compress begins compression in both directions, above TLS. Flush before it:
// what waits would be sent compressed. ahead is what the client has sent
// already and Read has returned, compressed.
//
// A connection that is silent holds what it needs to go on and no more: the
// last 32 KB that the client sent. The compressor is made anew for each
// output, so it costs nothing in between. All limits count what was
// decompressed.
func (c *Conn) Compress(ahead []byte) {
	z := &compression{}
	z.in.feed(ahead)
	c.compression.Store(z)
}

// Compressed reports whether Compress was called.
func (c *Conn) Compressed() bool { return c.compression.Load() != nil }

// read decompresses. An error of a deadline is not final: nothing is lost.
func (z *compression) read(c *Conn, p []byte) (int, error) {
	for {
		n, err := z.in.read(p)
		if n > 0 {
			c.timing.got(n, c.o.Now)
			return n, nil
		}
		if err != nil {
			c.reading.err = err
			return 0, err
		}
		z.in.rest()
		if z.buf == nil {
			z.buf = make([]byte, smallRead)
		}
		n, err = c.readPlain(z.buf)
		z.in.feed(z.buf[:n])
		if n == len(z.buf) {
			z.buf = make([]byte, largeRead)
		} else if n < smallRead/2 && len(z.buf) > smallRead {
			z.buf = nil
		}
		if n == 0 && err != nil {
			return 0, err
		}
	}
}

// deflater makes compressed output.
type deflater struct {
	out bytes.Buffer
	w   *flate.Writer
}

// deflate returns p compressed, up to a sync marker, so that the client sees
// all of it. Fast compression: its writer is cheap to begin anew.
func (b *buffers) deflate(p []byte) *deflater {
	d, _ := b.deflaters.Get().(*deflater)
	if d == nil {
		d = &deflater{}
		d.w, _ = flate.NewWriter(&d.out, flate.BestSpeed)
	}
	d.out.Reset()
	d.w.Reset(&d.out)
	d.w.Write(p)
	d.w.Flush()
	return d
}
