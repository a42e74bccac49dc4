package mimescan

import (
	"bufio"
	"bytes"
	"io"
	"sync"
)

func getReader(r io.ReaderAt, size int64) *bufio.Reader {
	b := readers.Get().(*bufio.Reader)
	b.Reset(io.NewSectionReader(r, 0, size))
	return b
}

func putReader(b *bufio.Reader) {
	b.Reset(nil)
	readers.Put(b)
}

// AppendWire appends src with each line end as CRLF. cr tells that the octet
// before src is a CR.
func AppendWire(dst, src []byte, cr bool) []byte {
	for len(src) > 0 {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			return append(dst, src...)
		}
		dst = append(dst, src[:i]...)
		if i == 0 && !cr || i > 0 && src[i-1] != '\r' {
			dst = append(dst, '\r')
		}
		dst = append(dst, '\n')
		src, cr = src[i+1:], false
	}
	return dst
}

// WireLen returns the length that AppendWire gives src.
func WireLen(src []byte, cr bool) int64 {
	if len(src) == 0 {
		return 0
	}
	return mark{}.plus(src, cr).wire
}

// blocks of files are read through buffers of one size.
const blockSize = 64 << 10

var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }}

// EachBlock reads a span in order; f gets each block and whether a CR stands
// before it, and may stop the walk with an error. A file that is shorter than
// the span gives io.ErrUnexpectedEOF.
func EachBlock(r io.ReaderAt, span Span, f func(block []byte, cr bool) error) error {
	buf := blocks.Get().(*[blockSize]byte)
	defer blocks.Put(buf)
	cr := false
	for at := span.Start; at < span.End; {
		n := min(blockSize, span.End-at)
		got, err := r.ReadAt(buf[:n], at)
		if int64(got) < n {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := f(buf[:n], cr); err != nil {
			return err
		}
		cr = buf[n-1] == '\r'
		at += n
	}
	return nil
}

// WireSize returns how many octets a span of the file has with CRLF line
// ends.
func WireSize(r io.ReaderAt, span Span) (int64, error) {
	var size int64
	err := EachBlock(r, span, func(block []byte, cr bool) error {
		size += WireLen(block, cr)
		return nil
	})
	return size, err
}
