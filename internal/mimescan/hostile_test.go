package mimescan

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// hostile makes messages of about n octets that mean harm. Each is of a size
// at which work that grows with its square would not end.
var hostile = []struct {
	name string
	text func(n int) string
}{
	{"messages in messages", func(n int) string { return strings.Repeat("Content-Type: message/rfc822\n\n", n/30) }},
	{"multiparts in multiparts", func(n int) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=a%d\n\n--a%d\n", i, i)
		}
		return b.String()
	}},
	{"parts", func(n int) string {
		return "Content-Type: multipart/mixed; boundary=a\n\n" + strings.Repeat("--a\n\n", n/5)
	}},
	{"boundaries that begin each other", func(n int) string {
		var b strings.Builder
		for i := range 200 {
			a := strings.Repeat("a", i+1)
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\n\n--%s\n", a, a)
		}
		return b.String() + strings.Repeat("--"+strings.Repeat("a", 99)+"b\n", n/102)
	}},
	{"one boundary at each level", func(n int) string {
		return strings.Repeat("Content-Type: multipart/mixed; boundary=a\n\n--a\n", n/46)
	}},
	{"a long boundary", func(n int) string {
		a := strings.Repeat("a", n/2)
		return "Content-Type: multipart/mixed; boundary=" + a + "\n\n--" + a + "\n"
	}},
	{"lines like boundaries", func(n int) string {
		return "Content-Type: multipart/mixed; boundary=" + strings.Repeat("-", 70) + "x\n\n" + strings.Repeat("--\n", n/3)
	}},
	{"a long header", func(n int) string { return "Subject: " + strings.Repeat("x", n) + "\n\nbody\n" }},
	{"a header of folds", func(n int) string { return "Subject: x\n" + strings.Repeat(" \n", n/2) + "\nbody\n" }},
	{"many fields", func(n int) string { return strings.Repeat("To: a@b\n", n/8) + "\nbody\n" }},
	{"encoded words", func(n int) string { return "Subject: " + strings.Repeat("=?utf-8?q?", n/10) + "\n\n" }},
	{"pieces of a parameter", func(n int) string {
		var b strings.Builder
		b.WriteString("Content-Type: text/plain")
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, "; filename*%d*=%%41", i)
		}
		return b.String() + "\n\n"
	}},
	{"groups in groups", func(n int) string { return "To: " + strings.Repeat("a:", n/2) + ";\n\n" }},
	{"comments", func(n int) string { return "To: " + strings.Repeat("(a)", n/3) + "a@b\n\n" }},
	{"comments in comments", func(n int) string { return "To: " + strings.Repeat("(", n) + "\n\n" }},
	{"a long domain literal", func(n int) string { return "To: a@[" + strings.Repeat("a", n) + "\n\n" }},
	{"many domain literals", func(n int) string { return "To: " + strings.Repeat("a@[b,", n/5) + "\n\n" }},
	{"open quotes", func(n int) string { return "To: " + strings.Repeat("\"\\", n/2) + "\n\n" }},
	{"angles", func(n int) string { return "To: " + strings.Repeat("<", n) + "\n\n" }},
	{"routes", func(n int) string { return "To: " + strings.Repeat("<@a,", n/4) + "\n\n" }},
	{"message/partial", func(n int) string {
		return "Content-Type: message/partial; id=\"x\"; number=1; total=1\n\n" + strings.Repeat("Content-Type: message/partial; id=\"x\"\n\n", n/40)
	}},
}

// allocated returns what f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// octets counts what is read of a message.
type octets struct {
	r io.ReaderAt
	n int
}

func (o *octets) ReadAt(p []byte, at int64) (int, error) {
	n, err := o.r.ReadAt(p, at)
	o.n += n
	return n, err
}

// TestHostileMessages: what is kept of a message is bounded, and each octet is
// read once.
func TestHostileMessages(t *testing.T) {
	const n = 4 << 20
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			text := c.text(n)
			r := &octets{r: strings.NewReader(text)}
			var p *Part
			used := allocated(func() { p, _ = Scan(r, int64(len(text))) })
			if r.n > len(text)+4096 {
				t.Errorf("%d octets were read of %d", r.n, len(text))
			}
			if used > 64<<20 {
				t.Errorf("%d octets of memory for %d", used, len(text))
			}
			if d, k := depth(p), count(p); d > MaxDepth+1 || k > MaxParts+1 {
				t.Errorf("depth %d, %d parts", d, k)
			}
			if out := len(p.AppendBodyStructure(nil, true)); out > 16<<20 {
				t.Errorf("a structure of %d octets", out)
			}
			in := ScanBytes([]byte(text))
			if !bytes.Equal(in.AppendBodyStructure(nil, true), p.AppendBodyStructure(nil, true)) {
				t.Error("another structure in memory than from the file")
			}
		})
	}
}

// TestMemoryGrowsLinearly compares what a message of double the size takes.
func TestMemoryGrowsLinearly(t *testing.T) {
	for _, c := range hostile {
		small, large := []byte(c.text(60_000)), []byte(c.text(120_000))
		a := allocated(func() { ScanBytes(small).AppendBodyStructure(nil, true) })
		b := allocated(func() { ScanBytes(large).AppendBodyStructure(nil, true) })
		if b > 3*a+1<<20 {
			t.Errorf("%s: %d octets for one, %d for two", c.name, a, b)
		}
	}
}

// TestStrangeMessages: each has a structure and an envelope, whatever it is.
func TestStrangeMessages(t *testing.T) {
	for _, text := range []string{"", "\n", "\x00", "x", "\r", "\r\n", "From a@b Mon Jan 1\nSubject: x\n\nb\n", "\n\n\n", ":", ": x\n\n", "a\n b\n\n"} {
		p := scan(t, text)
		if rest := parseValue(t, p.AppendBodyStructure(nil, true)); len(rest) > 0 {
			t.Errorf("%q: rest %q", text, rest)
		}
		if rest := parseValue(t, append(AppendEnvelope([]byte{'('}, []byte(text)), ')')); len(rest) > 0 {
			t.Errorf("%q: rest %q", text, rest)
		}
	}
	mbox := scan(t, "From a@b Mon Jan 1\nSubject: x\n\nb\n")
	if mbox.BodySize != 3 {
		t.Errorf("the body after a From_ line has %d octets", mbox.BodySize)
	}
}

// TestWhereDovecotDiffers: Dovecot 2.3 gives the same ENVELOPE and
// BODYSTRUCTURE for all well-formed messages of our corpora. These are the
// kinds of broken ones that it answers otherwise, with its answers.
func TestWhereDovecotDiffers(t *testing.T) {
	for _, c := range []struct{ why, header, dovecot, want string }{
		{"only commas: no address, so no list", "Cc: ,,,\n", `((NIL NIL "MISSING_MAILBOX" "MISSING_DOMAIN")(NIL NIL "MISSING_MAILBOX" "MISSING_DOMAIN")(NIL NIL "MISSING_MAILBOX" "MISSING_DOMAIN"))`, `NIL`},
		{"an empty place in a list is none (RFC 5322 §4.4)", "Cc: a@b,,c@d\n", `((NIL NIL "a" "b")(NIL NIL "MISSING_MAILBOX" "MISSING_DOMAIN")(NIL NIL "c" "d"))`, `((NIL NIL "a" "b")(NIL NIL "c" "d"))`},
		{"a quote that is not closed still has words", "Cc: \"unterminated\n", `((NIL NIL "MISSING_MAILBOX" "MISSING_DOMAIN"))`, `((NIL NIL "unterminated" "MISSING_DOMAIN"))`},
		{"blanks in a local part: the address is told", "Cc: \"woie\" q@hotmail.com\n", `(("woie q" NIL "MISSING_MAILBOX" "MISSING_DOMAIN"))`, `((NIL NIL "woieq" "hotmail.com"))`},
		{"what cannot be in an address: the word for it", "Cc: <C:x@a.net>\n", `((NIL NIL "C" "SYNTAX_ERROR"))`, `((NIL NIL "C" "MISSING_DOMAIN"))`},
		{"text after the angle: the rest of the list is told", "Cc: <a@b>c.com, <d@e>f.com\n", `((NIL NIL "a" "b"))`, `((NIL NIL "a" "b")(NIL NIL "d" "e"))`},
		{"nothing before a domain literal", "Cc: [h.com]@b.net\n", `((NIL NIL "MISSING_MAILBOX" "MISSING_DOMAIN"))`, `NIL`},
		{"a domain that ends in a dot", "Cc: k@web.de.\n", `((NIL NIL "k" "MISSING_DOMAIN"))`, `((NIL NIL "k" "web.de."))`},
		{"an empty name is none", "Cc: \"\" <a@b>\n", `(("" NIL "a" "b"))`, `((NIL NIL "a" "b"))`},
	} {
		want := "NIL NIL NIL NIL NIL NIL " + c.want + " NIL NIL NIL"
		if got := string(AppendEnvelope(nil, []byte(c.header))); got != want || c.want == c.dovecot {
			t.Errorf("%s: got %s, want %s", c.why, got, want)
		}
	}
	for _, c := range []struct{ why, text, dovecot, want string }{
		{"the encoding is told without MIME-Version too", "Content-Transfer-Encoding: 8bit\n\n", `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)`, `("text" "plain" ("charset" "us-ascii") NIL NIL "8bit" 0 0)`},
		{"no empty type, which clients cannot read", "Content-Type: ;;;\n\nx", `("" "" NIL NIL NIL "7bit" 1)`, `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0)`},
		{"no empty subtype", "Content-Type: text\n\nx", `("text" "" ("charset" "us-ascii") NIL NIL "7bit" 1 0)`, `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0)`},
		{"a boundary without quotes may have an equals sign", "Content-Type: multipart/mixed; boundary=--=x\n\n----=x\n\ny\n----=x--\n", `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0)("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")`, `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0) "mixed")`},
		{"an empty boundary divides nothing", "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\ny\n", `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0) "mixed")`, `(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0) "mixed")`},
	} {
		if got := string(scan(t, c.text).AppendBodyStructure(nil, false)); got != c.want || c.want == c.dovecot {
			t.Errorf("%s: got %s, want %s", c.why, got, c.want)
		}
	}
}
