package mailbox

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"peyk/internal/mimescan"
)

func preview(text string) string {
	return previewOf(strings.NewReader(text), mimescan.ScanBytes([]byte(text)))
}

func TestPreview(t *testing.T) {
	multi := func(kind string, parts ...string) string {
		return "Content-Type: multipart/" + kind + "; boundary=b\n\n--b\n" + strings.Join(parts, "\n--b\n") + "\n--b--\n"
	}
	for _, c := range []struct{ name, text, want string }{
		{"plain", "Subject: x\n\nHello,\n\n  world\t!\n", "Hello, world !"},
		{"empty", "Subject: x\n\n", ""},
		{"blank", "Subject: x\n\n \n\t\n", ""},
		{"html", "Content-Type: text/html\n\n<html><head><style>p{}</style></head><body><p>Dear&nbsp;you,<br>one &lt;two&gt;</p></body></html>\n", "Dear you, one <two>"},
		{"base64 and charset", "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: base64\n\nR3L832U=\n", "Grüße"},
		{"quoted-printable", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n=D8=B3=D9=84=D8=A7=D9=85=\n you\n", "سلام you"},
		{"alternative", multi("alternative", "Content-Type: text/html\n\n<p>rich", "Content-Type: text/plain\n\npoor"), "poor"},
		{"empty plain part", multi("alternative", "\n \n", "Content-Type: text/html\n\n<p>rich"), "rich"},
		{"attachment", multi("mixed", "Content-Disposition: attachment\n\nno", "\nyes"), "yes"},
		{"only an image", "Content-Type: image/png\n\nxxxx", ""},
		{"message inside", "Content-Type: message/rfc822\n\nSubject: inner\n\nfar inside\n", "far inside"},
		{"controls and invisible", "Subject: x\n\na\x01b\u200b\u00adc\n", "abc"},
		{"not UTF-8", "Subject: x\n\nab\xffcd\n", "ab\ufffdcd"},
	} {
		if got := preview(c.text); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	for _, c := range []string{"x", "س", "x ", "😀"} {
		got := preview("Content-Type: text/plain; charset=utf-8\n\n" + strings.Repeat(c, 50_000))
		if n := utf8.RuneCountInString(got); n > previewChars || n < previewChars-1 {
			t.Errorf("%q: %d characters", c, n)
		}
	}
}

// TestPreviewReadsLittle counts what is read of a message with a large text
// that has no words.
func TestPreviewReadsLittle(t *testing.T) {
	text := []byte("Content-Type: text/html\n\n" + strings.Repeat("\n ", 1<<20))
	r := &countedReader{r: bytes.NewReader(text)}
	if got := previewOf(r, mimescan.ScanBytes(text)); got != "" || r.n > 1<<20 {
		t.Errorf("%q after %d octets", got, r.n)
	}
}

type countedReader struct {
	r *bytes.Reader
	n int
}

func (c *countedReader) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.r.ReadAt(p, at)
	c.n += n
	return n, err
}

func FuzzPreview(f *testing.F) {
	f.Add([]byte("Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<p>=D8=B3&amp;<script>x"))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\xff\xfe\n--b\nContent-Type: text/html\n\n<a"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got := previewOf(bytes.NewReader(text), mimescan.ScanBytes(text))
		if utf8.RuneCountInString(got) > previewChars || !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00") {
			t.Fatalf("%q", got)
		}
	})
}
