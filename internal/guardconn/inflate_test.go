package guardconn

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// inflateAll decodes a stream that comes in pieces of these sizes, in turn.
func inflateAll(stream []byte, sizes ...int) (out []byte, err error) {
	z := &inflater{}
	buf := make([]byte, 1000)
	for i := 0; ; i++ {
		n, err := z.read(buf)
		out = append(out, buf[:n]...)
		if err != nil || len(out) > 1<<22 {
			return out, err
		}
		if n > 0 {
			continue
		}
		if len(stream) == 0 {
			return out, io.ErrUnexpectedEOF
		}
		z.rest()
		k := min(sizes[i%len(sizes)], len(stream))
		z.feed(stream[:k])
		stream = stream[k:]
	}
}

func deflated(t testing.TB, level int, flush int, text []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for len(text) > 0 {
		n := min(flush, len(text))
		w.Write(text[:n])
		text = text[n:]
		w.Flush()
	}
	w.Close()
	return b.Bytes()
}

func TestInflate(t *testing.T) {
	random := make([]byte, 50_000)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(random)
	words := []byte(strings.Repeat("a FETCH 1:* (FLAGS UID)\r\nb NOOP\r\n", 2000))
	mixed := append(append(bytes.Clone(words), random...), words...)
	for _, text := range [][]byte{nil, []byte("x"), words, random, mixed, make([]byte, 300_000)} {
		for _, level := range []int{0, 1, 6, 9, flate.HuffmanOnly} {
			for _, flush := range []int{1000, 40_000, 1 << 20} {
				stream := deflated(t, level, flush, text)
				for _, sizes := range [][]int{{1 << 20}, {4096}, {1, 2, 3, 100}} {
					got, err := inflateAll(stream, sizes...)
					if err != io.EOF || !bytes.Equal(got, text) {
						t.Fatalf("level %d, flushed each %d, pieces %v: %d of %d octets, %v", level, flush, sizes, len(got), len(text), err)
					}
				}
			}
		}
	}
}

// What a silent client costs is what it sent, 32 KB at most.
func TestInflaterAtRest(t *testing.T) {
	z := &inflater{}
	buf := make([]byte, 4096)
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	for range 20_000 {
		w.Write([]byte("a NOOP\r\n"))
		w.Flush()
		z.feed(b.Bytes())
		b.Reset()
		for n := 1; n > 0; {
			var err error
			if n, err = z.read(buf); err != nil {
				t.Fatal(err)
			}
		}
		z.rest()
		if cap(z.hist) > historySize*2 || z.in != nil || z.codes != nil {
			t.Fatalf("%d octets of history, %d of input, codes %v", cap(z.hist), cap(z.in), z.codes != nil)
		}
	}
}

// FuzzInflate: the same as compress/flate, wherever the stream is cut.
func FuzzInflate(f *testing.F) {
	for _, level := range []int{0, 1, 6} {
		f.Add(deflated(f, level, 10, []byte(strings.Repeat("hello hello, ", 20))), byte(3))
	}
	f.Add([]byte{5, 0xe0, 0x81, 8, 0, 0, 0, 0, 0x20, 0x7f, 0xeb, 0xb}, byte(1))
	f.Fuzz(func(t *testing.T, stream []byte, size byte) {
		got, err := inflateAll(stream, int(size)+1)
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(stream)), 1<<22))
		n := min(len(got), len(want))
		if (err == io.EOF) != (wantErr == nil) && len(got) < 1<<22 || !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("%d octets and %v, not %d and %v", len(got), err, len(want), wantErr)
		}
	})
}
