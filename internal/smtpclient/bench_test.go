package smtpclient

import (
	"io"
	"strings"
	"testing"
)

// BenchmarkBody stuffs and checks a message of 1 MiB.
func BenchmarkBody(b *testing.B) {
	text := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 1<<20/72)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		conn := &sink{}
		conn.Buffer.Grow(len(text) + 10)
		c := New(b.Context(), conn, Options{})
		c.ext = map[string]string{"8BITMIME": ""}
		if _, err := c.Body(&Mail{}, strings.NewReader(text)); err != nil && !isEOF(err) {
			b.Fatal(err)
		}
	}
}

func isEOF(err error) bool { return strings.Contains(err.Error(), io.ErrUnexpectedEOF.Error()) }
