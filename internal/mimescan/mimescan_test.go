package mimescan

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func scan(t testing.TB, text string) *Part {
	t.Helper()
	p, err := Scan(strings.NewReader(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	data := []byte(text)
	if in := ScanBytes(data); !reflect.DeepEqual(in, p) || string(data) != text {
		t.Errorf("in memory %.1000s, from a file %.1000s", in.AppendBodyStructure(nil, true), p.AppendBodyStructure(nil, true))
	}
	return p
}

func lf(lines ...string) string   { return strings.Join(lines, "\n") + "\n" }
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

// nested is a message with most of what MIME has.
var nested = []string{
	"From: user@domain.example",
	"Date: Sat, 24 Mar 2017 23:00:00 +0200",
	"Mime-Version: 1.0",
	`Content-Type: multipart/mixed; boundary="foo`,
	` bar"`,
	"",
	"prologue",
	"--foo bar",
	`Content-Type: text/x-myown; charset=us-ascii; foo="quoted\"string"`,
	"Content-ID: <foo@example.com>",
	"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==",
	"Content-Disposition: inline; foo=bar",
	"Content-Description: hellodescription",
	"Content-Language: en, fi, se",
	"Content-Location: http://example.com/test.txt",
	"",
	"hello",
	"",
	"--foo bar",
	"Content-Type: message/rfc822",
	"",
	"From: sub@domain.example",
	"To: one@domain.example, Two <two@domain.example>",
	"Date: Sun, 12 Aug 2012 12:34:56 +0300",
	"Subject: submsg",
	`Content-Type: multipart/alternative; boundary="sub1"`,
	"",
	"Sub MIME prologue",
	"--sub1",
	"Content-Type: text/html",
	"Content-Transfer-Encoding: 8bit",
	"",
	"<p>Hello world</p>",
	"",
	"--sub1",
	"Content-Type: text/plain",
	"Content-Transfer-Encoding: ?invalid",
	"",
	"Hello another world",
	"",
	"--sub1--",
	"Sub MIME epilogue",
	"",
	"--foo bar--",
	"Root MIME epilogue",
}

func TestBodyStructureOfNestedMessage(t *testing.T) {
	want := `(("text" "x-myown" ("charset" "us-ascii" "foo" "quoted\"string") "<foo@example.com>" "hellodescription" "7bit" 7 1 "Q2hlY2sgSW50ZWdyaXR5IQ==" ("inline" ("foo" "bar")) ("en" "fi" "se") "http://example.com/test.txt")` +
		`("message" "rfc822" NIL NIL NIL "7bit" 412 ("Sun, 12 Aug 2012 12:34:56 +0300" "submsg" ((NIL NIL "sub" "domain.example")) ((NIL NIL "sub" "domain.example")) ((NIL NIL "sub" "domain.example")) ((NIL NIL "one" "domain.example")("Two" NIL "two" "domain.example")) NIL NIL NIL NIL) ` +
		`(("text" "html" ("charset" "us-ascii") NIL NIL "8bit" 20 1 NIL NIL NIL NIL)("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 21 1 NIL NIL NIL NIL) "alternative" ("boundary" "sub1") NIL NIL NIL) 21 NIL NIL NIL NIL) ` +
		`"mixed" ("boundary" "foo bar") NIL NIL NIL)`
	inner := crlf(nested[21:43]...)
	want = strings.Replace(want, " 412 ", fmt.Sprintf(" %d ", len(inner)-2), 1)
	for _, text := range []string{lf(nested...), crlf(nested...)} {
		if got := string(scan(t, text).AppendBodyStructure(nil, true)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestSectionsByOffset(t *testing.T) {
	text := lf(nested...)
	root := scan(t, text)
	for _, c := range []struct {
		path []int
		want string
	}{
		{nil, text[strings.Index(text, "prologue"):]},
		{[]int{1}, "hello\n"},
		{[]int{2, 1}, "<p>Hello world</p>\n"},
		{[]int{2, 2}, "Hello another world\n"},
	} {
		p := root.Find(c.path)
		if p == nil {
			t.Errorf("no part %v", c.path)
			continue
		}
		if got := text[p.Body.Start:p.Body.End]; got != c.want {
			t.Errorf("part %v is %q, want %q", c.path, got, c.want)
		}
	}
	for _, none := range [][]int{{0}, {3}, {1, 1}, {2, 3}, {2, 1, 1}} {
		if root.Find(none) != nil {
			t.Errorf("there is a part %v", none)
		}
	}
	one := scan(t, "A: b\n\nbody")
	if one.Find([]int{1}) != one || one.Find([]int{1, 1}) != nil || one.Find([]int{2}) != nil {
		t.Error("a message without parts has exactly part 1")
	}
}

func TestEnvelope(t *testing.T) {
	for _, c := range []struct{ header, want string }{
		{"", "NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL"},
		{"From: A B <a@b.example>\nSubject: x \"y\"\n z\nTo: list: c@d.example, \"E, F\" <e@f.example>;, g@h.example (G)\n",
			"NIL {7}\r\n" + `x "y" z (("A B" NIL "a" "b.example")) (("A B" NIL "a" "b.example")) (("A B" NIL "a" "b.example")) ((NIL NIL "list" NIL)(NIL NIL "c" "d.example")("E, F" NIL "e" "f.example")(NIL NIL NIL NIL)("G" NIL "g" "h.example")) NIL NIL NIL NIL`},
		{"To: undisclosed-recipients:;\n", `NIL NIL NIL NIL NIL ((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL`},
		{"To: <@r1.example,@r2.example:a@b.example>, \"q u\"@[192.0.2.1]\n", `NIL NIL NIL NIL NIL ((NIL "@r1.example,@r2.example" "a" "b.example")(NIL NIL "qu" "[192.0.2.1]")) NIL NIL NIL NIL`},
		{"Cc: joe\nMessage-ID: <1@x>\nIn-Reply-To: <0@x>\nDate: today\n", `"today" NIL NIL NIL NIL NIL ((NIL NIL "joe" "MISSING_DOMAIN")) NIL "<0@x>" "<1@x>"`},
		{"Subject: \xd8\xb3\n", "NIL {2}\r\n\xd8\xb3 NIL NIL NIL NIL NIL NIL NIL NIL"},
	} {
		if got := string(AppendEnvelope(nil, []byte(c.header))); got != c.want {
			t.Errorf("%q\ngot  %s\nwant %s", c.header, got, c.want)
		}
	}
}

func TestBrokenMail(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)`},
		{"only an empty line", "\n", `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)`},
		{"no empty line", "Subject: x", `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)`},
		{"no boundary parameter", "Content-Type: multipart/mixed\n\n--a\n\nx\n", `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")`},
		{"boundary that never comes", "Content-Type: multipart/mixed; boundary=a\n\nx\n", `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")`},
		{"never closed", "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n", `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1) "mixed")`},
		{"part without a header end", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/html\n--a--\n", `(("text" "html" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")`},
		{"message without anything", "Content-Type: message/rfc822\n\n", `("message" "rfc822" NIL NIL NIL "7bit" 0 (NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) 0)`},
		{"type without subtype", "Content-Type: text\n\nx", `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0)`},
		{"digest", "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: s\n\nx\n--a--\n", `(("message" "rfc822" NIL NIL NIL "7bit" 15 (NIL "s" NIL NIL NIL NIL NIL NIL NIL NIL) ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0) 2) "digest")`},
	} {
		if got := string(scan(t, c.text).AppendBodyStructure(nil, false)); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// depth returns how deep the tree below p is.
func depth(p *Part) int {
	deepest := 0
	for _, c := range p.Parts {
		deepest = max(deepest, depth(c))
	}
	return deepest + 1
}

func count(p *Part) int {
	n := 1
	for _, c := range p.Parts {
		n += count(c)
	}
	return n
}

func TestLimits(t *testing.T) {
	deep := strings.Repeat("Content-Type: message/rfc822\n\n", 10_000)
	if d := depth(scan(t, deep)); d > MaxDepth+1 {
		t.Errorf("depth %d", d)
	}
	var multi strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&multi, "Content-Type: multipart/mixed; boundary=a%d\n\n--a%d\n", i, i)
	}
	if d := depth(scan(t, multi.String())); d > MaxDepth+1 {
		t.Errorf("depth %d", d)
	}
	wide := "Content-Type: multipart/mixed; boundary=a\n\n" + strings.Repeat("--a\n\n", 100_000)
	if n := count(scan(t, wide)); n > MaxParts {
		t.Errorf("%d parts", n)
	}
	huge := "Subject: " + strings.Repeat("x", 10<<20) + "\n\nbody\n"
	p := scan(t, huge)
	if got := huge[p.Body.Start:p.Body.End]; got != "body\n" {
		t.Errorf("body %.20q after a huge header", got)
	}
	if len(p.Envelope) > 2*MaxHeader {
		t.Errorf("envelope of %d octets", len(p.Envelope))
	}
	params := "Content-Type: text/plain" + strings.Repeat("; a*0*=x", 100_000) + "\n\n"
	if n := len(scan(t, params).Params); n > maxParams {
		t.Errorf("%d parameters", n)
	}
}

func TestLongLinesKeepTheirOffsets(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	text := "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a" + long + "\r\n\r\n" + long + "\r\n--a\r\n\r\ny\r\n--a--" + long
	p := scan(t, text)
	if len(p.Parts) != 2 {
		t.Fatalf("%d parts", len(p.Parts))
	}
	if got := text[p.Parts[0].Body.Start:p.Parts[0].Body.End]; got != long {
		t.Errorf("first part has %d octets", len(got))
	}
	if got := text[p.Parts[1].Body.Start:p.Parts[1].Body.End]; got != "y" {
		t.Errorf("second part is %.20q", got)
	}
}

// check tests what holds for any input.
func check(t *testing.T, p *Part, text []byte, outer Span) {
	t.Helper()
	for _, s := range []Span{p.Header, p.Body} {
		if s.Start < outer.Start || s.End > outer.End || s.Start > s.End {
			t.Fatalf("span %v outside of %v", s, outer)
		}
	}
	if p.Header.End > p.Body.Start {
		t.Fatalf("header %v and body %v overlap", p.Header, p.Body)
	}
	if got := int64(len(AppendWire(nil, text[p.Body.Start:p.Body.End], false))); got != p.BodySize {
		t.Fatalf("body size %d, want %d", p.BodySize, got)
	}
	if got := int64(bytes.Count(text[p.Body.Start:p.Body.End], []byte("\n"))); got != p.Lines {
		t.Fatalf("%d lines, want %d", p.Lines, got)
	}
	at := p.Body.Start
	for _, c := range p.Parts {
		check(t, c, text, Span{at, p.Body.End})
		at = c.Body.End
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte(lf(nested...)))
	f.Add([]byte(crlf(nested...)))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=a\n\n--a\r\r\n\n--aa\n\n--a--"))
	f.Add([]byte("To: a:b:;<@x:>,\"\\\nContent-Type: message/rfc822\n\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Scan(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		check(t, p, text, Span{0, int64(len(text))})
		before := bytes.Clone(text)
		if in := ScanBytes(text); !reflect.DeepEqual(in, p) || !bytes.Equal(text, before) {
			t.Fatalf("in memory %s, from a file %s", in.AppendBodyStructure(nil, true), p.AppendBodyStructure(nil, true))
		}
		compareVisit(t, string(text))
		out := p.AppendBodyStructure(nil, true)
		if len(out) > 64*len(text)+4096 {
			t.Fatalf("a structure of %d octets for a message of %d", len(out), len(text))
		}
		if rest := parseValue(t, out); len(rest) != 0 {
			t.Fatalf("a strict reader leaves %q of %q", rest, out)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	f.Add([]byte("From: a <b@c>\nTo: g: x@y, \"z\" <z@z>;;\nSubject: \"\\\n"))
	f.Fuzz(func(t *testing.T, header []byte) {
		out := AppendEnvelope([]byte("("), header)
		if rest := parseValue(t, append(out, ')')); len(rest) != 0 {
			t.Fatalf("a strict reader leaves %q of %q", rest, out)
		}
	})
}

func FuzzWire(f *testing.F) {
	f.Add([]byte("a\nb\r\nc\r\r\n\n"), 3)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		want := bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		cut = int(uint(cut) % uint(len(text)+1))
		got := AppendWire(nil, text[:cut], false)
		got = AppendWire(got, text[cut:], cut > 0 && text[cut-1] == '\r')
		if !bytes.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if n := WireLen(text, false); n != int64(len(want)) {
			t.Fatalf("length %d, want %d", n, len(want))
		}
	})
}

// parseValue reads one value of the IMAP response grammar, strictly: a list,
// a quoted string, a literal, a number or NIL. It returns what follows.
func parseValue(t testing.TB, s []byte) []byte {
	if len(s) == 0 {
		t.Fatal("value expected at the end")
	}
	switch c := s[0]; {
	case c == '(':
		s = s[1:]
		for len(s) > 0 && s[0] != ')' {
			s = parseValue(t, bytes.TrimPrefix(s, []byte(" ")))
		}
		if len(s) == 0 {
			t.Fatal("list is not closed")
		}
		return s[1:]
	case c == '"':
		return parseQuoted(t, s[1:])
	case c == '{':
		var n int
		if _, err := fmt.Sscanf(string(s[:min(len(s), 20)]), "{%d}\r\n", &n); err != nil {
			t.Fatalf("bad literal %.20q", s)
		}
		s = s[bytes.IndexByte(s, '\n')+1:]
		if n > len(s) || bytes.IndexByte(s[:n], 0) >= 0 {
			t.Fatalf("bad literal of %d in %q", n, s)
		}
		return s[n:]
	case bytes.HasPrefix(s, []byte("NIL")):
		return s[3:]
	case c >= '0' && c <= '9':
		return bytes.TrimLeft(s, "0123456789")
	}
	t.Fatalf("no value: %.40q", s)
	return nil
}

func parseQuoted(t testing.TB, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
			if i == len(s) || s[i] != '"' && s[i] != '\\' {
				t.Fatalf("bad escape in %q", s)
			}
		case c == '"':
			return s[i+1:]
		case c == 0 || c == '\r' || c == '\n' || c >= 0x80:
			t.Fatalf("octet %#x in a quoted string", c)
		}
	}
	t.Fatal("string is not closed")
	return nil
}

// TestVisitSeesWhatScanSees: the same entities, without keeping them.
func TestVisitSeesWhatScanSees(t *testing.T) {
	for _, text := range []string{lf(nested...), crlf(nested...), "", "\n", "a: b", "Content-Type: message/rfc822\n", "Content-Type: multipart/x; boundary=a\n\n--a\n\nb\n--a\nC: d"} {
		compareVisit(t, text)
	}
}

func compareVisit(t *testing.T, text string) {
	t.Helper()
	compareVisitBy(t, text, func(v Visitor) error { return Visit(strings.NewReader(text), int64(len(text)), v) })
	compareVisitBy(t, text, func(v Visitor) error { return VisitBytes([]byte(text), v) })
}

func compareVisitBy(t *testing.T, text string, visit func(Visitor) error) {
	t.Helper()
	var want, got []string
	var walk func(p *Part)
	walk = func(p *Part) {
		for _, child := range p.Parts {
			walk(child)
		}
		want = append(want, fmt.Sprint(p.Type, p.Subtype, p.Encoding, p.Header, p.Body, p.Text()))
	}
	walk(scan(t, text))
	headers := 0
	err := visit(Visitor{
		Header: func(p *Part, header []byte) error {
			headers++
			if h := text[p.Header.Start:p.Header.End]; !strings.HasPrefix(h, string(header)) && len(header) <= len(h) {
				t.Errorf("%q: header %q", h, header)
			}
			return nil
		},
		Body: func(p *Part) error {
			got = append(got, fmt.Sprint(p.Type, p.Subtype, p.Encoding, p.Header, p.Body, p.Text()))
			return nil
		},
	})
	if err != nil {
		t.Error(err)
	}
	for _, v := range want { // the empty message that Scan puts into an empty part is not shown
		if len(got) > 0 && got[0] == v {
			got = got[1:]
		}
	}
	if len(got) > 0 || headers == 0 {
		t.Errorf("%q: %d headers; not in the structure: %v", text, headers, got)
	}
}

func TestVisitStops(t *testing.T) {
	text := lf(nested...)
	enough := errors.New("enough")
	for stopAt := 1; stopAt < 12; stopAt++ {
		n := 0
		step := func() error {
			if n++; n == stopAt {
				return enough
			}
			return nil
		}
		err := Visit(strings.NewReader(text), int64(len(text)), Visitor{
			Header: func(*Part, []byte) error { return step() },
			Body:   func(*Part) error { return step() },
		})
		if err != enough && n >= stopAt || n > stopAt {
			t.Errorf("stop at %d: %d steps, %v", stopAt, n, err)
		}
	}
}
