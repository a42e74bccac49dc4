package mailtext

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

func TestField(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                                   "plain",
		"=?UTF-8?B?2LPZhNin2YU=?=":                "سلام",
		"=?utf-8?q?caf=C3=A9?= au lait":           "café au lait",
		"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=":   "ab", // RFC 2047 §8
		"=?ISO-8859-1?Q?a?=  =?ISO-8859-2?Q?_b?=": "a b",
		"=?ISO-8859-1?Q?a?= b":                    "a b",
		"(=?ISO-8859-1?Q?a?=)":                    "(a)",
		"=?utf-8?B?2LPZhNi=?= =?utf-8?B?p9mF?=":   "سلام", // cut in a character
		"=?utf-8?q?=D8?=\t=?UTF-8?Q?=B3?=":        "س",
		"=?iso-2022-jp?b?GyRCRnxLXDhsGyhC?=":      "日本語",
		"=?Shift_JIS?B?k/qWe4zq?=":                "日本語",
		"=?windows-1256?Q?=D3=E1=C7=E3?=":         "سلام",
		"=?iso-8859-9?Q?=DDstanbul?=":             "İstanbul",
		"=?gb18030?B?1tDOxA==?=":                  "中文",
		"=?utf-8*vi?Q?Ti=E1=BA=BFng?=":            "Tiếng", // RFC 2231 §5
		"=?utf-8?Q?Are you ok??=":                 "Are you ok?",
		"=?utf-8?B?YQ?=":                          "a", // no padding
		"=?nobody-knows?Q?a=20b?=":                "=?nobody-knows?Q?a=20b?=",
		"=?utf-7?Q?+AGE-?=":                       "=?utf-7?Q?+AGE-?=",
		"=?utf-8?X?a?=":                           "=?utf-8?X?a?=",
		"=?utf-8?Q?a":                             "=?utf-8?Q?a",
		"=?utf-8?Q?a?b =?utf-8?Q?c?=":             "=?utf-8?Q?a?b c",
		"=?utf-8?Q?=4?=":                          "=4",
		"=?utf-8?Q?a=0D=0ABcc:_x=00?=":            "a  Bcc: x ", // no field is made of text
		"=?utf-16be?B?AGEADQAKAGI=?=":             "a  b",
		"na\xefve":                                "naïve",
		"a\nb":                                    "a b",
		"":                                        "",
		"=?":                                      "=?",
		"=?=?=?utf-8?q?a?=?=":                     "=?=?a?=",
	} {
		if got := Field(in); got != want {
			t.Errorf("Field(%q) = %q, want %q", in, got, want)
		}
	}
}

// 80,000 words, and as many beginnings of words, take time that grows with
// their number, not with its square.
func TestFieldIsLinear(t *testing.T) {
	for _, piece := range []string{"=?utf-8?B?YWJj?= ", "=?iso-8859-1?q?=E9?= =?koi8-r?q?=E9?= ", "=?", "=?utf-8?q?", "=?utf-8?q??", "=?utf-8?q?===============", "?=", "=", "=?a"} {
		value := strings.Repeat(piece, 80_000)
		start := time.Now()
		got := Field(value)
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("80,000 times %q took %v", piece, d)
		}
		if len(got) > 3*len(value) {
			t.Errorf("%q: %d octets of %d", piece, len(got), len(value))
		}
	}
}

func TestLongWordsAreNotCutAmiss(t *testing.T) {
	text := strings.Repeat("é=_日本", 3000)
	for _, e := range []mime.WordEncoder{mime.QEncoding, mime.BEncoding} {
		words := e.Encode("utf-8", text)
		if got := Field(words); got != text {
			t.Errorf("%c: differs", e)
		}
	}
	one := "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(text)) + "?="
	if Field(one) != text {
		t.Error("one word of base64 differs")
	}
	var q strings.Builder
	for _, c := range []byte(text) {
		q.WriteString("=" + strings.ToUpper(string("0123456789abcdef"[c>>4])+string("0123456789abcdef"[c&15])))
	}
	if Field("=?utf-8?Q?"+q.String()+"?=") != text {
		t.Error("one quoted word differs")
	}
}

func TestExtended(t *testing.T) {
	for in, want := range map[string]string{
		"utf-8'fa'%D8%B3%D9%84%D8%A7%D9%85.pdf": "سلام.pdf",
		"iso-8859-1'en'%A3%20rates":             "£ rates",
		"us-ascii'en-us'This%20is":              "This is",
		"''plain%2":                             "plain%2",
		"it's":                                  "it's",
		"x'y'%0D%0A":                            "  ",
	} {
		if got := Extended(in); got != want {
			t.Errorf("Extended(%q) = %q, want %q", in, got, want)
		}
	}
}

// readAll is io.ReadAll with the room that a Reader wants.
func readAll(r *Reader) (all []byte, err error) {
	for buf := make([]byte, 100); ; {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
	}
}

func read(t *testing.T, body string, p Part) string {
	t.Helper()
	var r Reader
	r.Reset(iotest.OneByteReader(strings.NewReader(body)), p)
	slow, err := readAll(&r)
	if err != nil {
		t.Errorf("%q: %v", body, err)
	}
	r.Reset(strings.NewReader(body), p)
	fast, err := readAll(&r)
	if err != nil || !bytes.Equal(fast, slow) {
		t.Errorf("%q: octet by octet %q, at once %q, %v", body, slow, fast, err)
	}
	return string(fast)
}

func TestReader(t *testing.T) {
	for _, row := range []struct{ body, encoding, charset, subtype, want string }{
		{"text", "", "", "plain", "text"},
		{"c2FsYW0=", "Base64", "utf-8", "plain", "salam"},
		{"c2Fs\r\nYW0=\r\n!*c2FsYW0\r\n", "base64", "", "plain", "salamsalam"},
		{"YQ==YmM=ZGVm", "base64", "", "plain", "abcdef"},
		{"caf=E9 =\r\nau =3D la=  \nit=", "quoted-printable", "iso-8859-1", "plain", "café au = lait"},
		{"a=b =zz =4", "quoted-printable", "", "plain", "a=b =zz =4"},
		{"\xff\xfea\x00b\x00", "8bit", "utf-16", "plain", "ab"},
		{"\x00a\x00b", "", "utf-16be", "plain", "ab"},
		{"\x1b$BF|K\\8l\x1b(B ok", "7bit", "iso-2022-jp", "plain", "日本語 ok"},
		{"\x93\xfa\x96\x7b", "", "shift_jis", "plain", "日本"},
		{"+AGE-", "", "utf-7", "plain", "+AGE-"},
		{"caf\xe9", "", "nobody-knows", "plain", "caf\xe9"},
		{"caf\xe9 \x80", "", "\"windows-1252\"", "plain", "café €"},
		{"<p>Hello,&nbsp;<b>wo</b>rld</p>\r\n\r\n<br>again", "", "", "html", " Hello, world again"},
		{"<style>p{color:red}</style>a<script>if (a<b) x()</scriPT >b<!-- c > - -->d", "", "", "HTML", " a bd"},
		{"a &lt;b&gt; &amp;amp; &eacute;&#233;&#xe9; &bogus; & &#", "", "", "html", "a <b> &amp; ééé &bogus; & &#"},
		{"<a title=\"x>y\" href='>'>link</a><td>1</td><td>2</td>", "", "", "html", "link 1 2 "},
		{"1 < 2 <3> <", "", "", "html", "1 < 2 <3> <"},
		{"=3Cp=3E=E9=3C/p=3E", "quoted-printable", "latin1", "html", " é "},
		{"<!doctype html><html><body>x", "", "", "html", " x"},
		{"<!-->x<!---->y", "", "", "html", "xy"},
		{"unclosed <b", "", "", "html", "unclosed "},
		{"<script>never ends", "", "", "html", ""},
	} {
		if got := read(t, row.body, Part{Subtype: row.subtype, Encoding: row.encoding, Charset: row.charset}); got != row.want {
			t.Errorf("%q as %s %s %s is %q, want %q", row.body, row.encoding, row.charset, row.subtype, got, row.want)
		}
	}
}

func TestReaderTellsOfErrors(t *testing.T) {
	var r Reader
	r.Reset(io.MultiReader(strings.NewReader("YWJj"), iotest.ErrReader(io.ErrUnexpectedEOF)), Part{Encoding: "base64"})
	got, err := readAll(&r)
	if string(got) != "abc" || err != io.ErrUnexpectedEOF {
		t.Errorf("%q, %v", got, err)
	}
}

type repeat struct {
	piece string
	left  int64
}

func (r *repeat) Read(p []byte) (int, error) {
	n := 0
	for r.left > 0 && n+len(r.piece) <= len(p) {
		n += copy(p[n:], r.piece)
		r.left -= int64(len(r.piece))
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// However much there is to decode, no more memory is taken.
func TestReaderTakesNoMemory(t *testing.T) {
	for _, p := range []Part{{"html", "base64", "iso-8859-1"}, {"html", "quoted-printable", "utf-16"}, {"plain", "base64", "iso-2022-jp"}} {
		for _, piece := range []string{"PGEgPD4m", "&<!-- = ", "========", "<script ", "\"'<a b=\""} {
			var r Reader
			n := testing.AllocsPerRun(1, func() {
				r.Reset(&repeat{piece, 4 << 20}, p)
				io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{&r}, make([]byte, 16<<10))
			})
			if n > 400_000 { // an entity is a string of its own, for a moment
				t.Errorf("%v, %q: %v allocations", p, piece, n)
			}
		}
	}
}

func FuzzField(f *testing.F) {
	f.Add("=?utf-8?B?2LPZhNi=?= =?iso-8859-1?Q?p9mF?=")
	f.Add("=?iso-2022-jp?b?GyRCRnxLXDhsGyhC?= =?utf-16?q?=D8?=")
	f.Fuzz(func(t *testing.T, value string) {
		got := Field(value)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00") {
			t.Fatalf("Field(%q) = %q", value, got)
		}
		if len(got) > 3*len(value) {
			t.Fatalf("%d octets became %d", len(value), len(got))
		}
		if got := Extended(value); !utf8.ValidString(got) || strings.ContainsAny(got, "\r\n\x00") {
			t.Fatalf("Extended(%q) = %q", value, got)
		}
	})
}

// The text is the same however the body is cut.
func FuzzReader(f *testing.F) {
	f.Add("<p>a&eacute;=3D=\r\nYWJj<!-- -->", uint8(0), uint8(0), true)
	f.Add("\x1b$BF|K\\8l\x1b(B", uint8(1), uint8(2), false)
	f.Fuzz(func(t *testing.T, body string, encoding, charset uint8, html bool) {
		encodings := []string{"", "base64", "quoted-printable"}
		charsets := []string{"", "iso-8859-1", "iso-2022-jp", "utf-16", "gb18030", "windows-1256"}
		p := Part{Encoding: encodings[int(encoding)%3], Charset: charsets[int(charset)%6]}
		if html {
			p.Subtype = "html"
		}
		read(t, body, p)
	})
}

func BenchmarkReader(b *testing.B) {
	text := strings.Repeat("The quick brown fox jumps over the lazy dog.\r\n", 20000)
	for name, row := range map[string]struct {
		body string
		p    Part
	}{
		"plain":  {text, Part{}},
		"base64": {base64.StdEncoding.EncodeToString([]byte(text)), Part{Encoding: "base64"}},
		"quoted": {text, Part{Encoding: "quoted-printable"}},
		"html":   {strings.ReplaceAll(text, "fox", "<b>fox</b>"), Part{Subtype: "html"}},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(row.body)))
			buf := make([]byte, 16<<10)
			var r Reader
			for b.Loop() {
				r.Reset(strings.NewReader(row.body), row.p)
				for {
					if _, err := r.Read(buf); err != nil {
						break
					}
				}
			}
		})
	}
}

// A textSink keeps all text.
type textSink struct{ text []byte }

func (s *textSink) Begin(bool) {}
func (s *textSink) Text(piece []byte) error {
	s.text = append(s.text, piece...)
	return nil
}
func (s *textSink) End() error { return nil }

// TestReportsAreText: what is in reports, decoded, and once.
func TestReportsAreText(t *testing.T) {
	message := "Content-Type: multipart/report; boundary=x\n\n--x\n\nplain\n" +
		"--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; bob@b.example\n" +
		"--x\nContent-Type: message/disposition-notification\nContent-Transfer-Encoding: base64\n\nRGlzcG9zaXRpb246IGRpc3BsYXllZA==\n" +
		"--x\nContent-Type: message/global-delivery-status; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nFinal-Recipient: utf-8; g=C3=B6t@b.example\n" +
		"--x\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\n" +
		"--x\nContent-Type: message/rfc822\n\nSubject: inner\n\nletter\n" +
		"--x\nContent-Type: application/octet-stream\n\nsecret\n--x--\n"
	for _, data := range [][]byte{nil, []byte(message)} {
		var w Walker
		var s textSink
		if err := w.Walk(strings.NewReader(message), int64(len(message)), data, &s); err != nil {
			t.Fatal(err)
		}
		for text, times := range map[string]int{"plain": 1, "mx.example": 1, "bob@b.example": 1, "Disposition: displayed": 1, "göt@b.example": 1, "Feedback-Type: abuse": 1, "inner": 1, "letter": 1, "secret": 0} {
			if n := strings.Count(string(s.text), text); n != times {
				t.Errorf("%q is there %d times, want %d: %q", text, n, times, s.text)
			}
		}
	}
}
