package imapd

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"peyk/internal/casemap"
	"peyk/internal/mailtext"
	"peyk/internal/mimescan"
)

// letterOf is a letter in memory, or one that is read.
func letterOf(text string, small bool) *letter {
	l := &letter{r: strings.NewReader(text), size: int64(len(text))}
	if small {
		l.data = []byte(text)
	}
	return l
}

// naive is what a finder should find: the definition, at whatever cost.
func naive(text, needle string) (f found) {
	needle = casemap.Fold(needle)
	f.body = needle == ""
	root, err := mimescan.Scan(strings.NewReader(text), int64(len(text)))
	if err != nil {
		panic(err)
	}
	inHeader := func(span mimescan.Span) (has bool) {
		header := text[span.Start:span.End]
		mimescan.Fields([]byte(header[:min(len(header), mimescan.MaxHeader)]), func(name, value []byte) bool {
			plain := mailtext.Field(strings.NewReplacer("\x00", "\ufffd").Replace(unfoldSlowly(string(value))))
			has = has || strings.Contains(casemap.Fold(string(name)+": "+plain), needle)
			return true
		})
		return has && needle != ""
	}
	f.header = inHeader(root.Header)
	var walk func(p *mimescan.Part)
	walk = func(p *mimescan.Part) {
		for _, child := range p.Parts {
			f.body = f.body || inHeader(child.Header)
			walk(child)
		}
		if p.Text() {
			var r mailtext.Reader
			r.Reset(strings.NewReader(text[p.Body.Start:p.Body.End]), mailtext.Part{Subtype: p.Subtype, Encoding: p.Encoding, Charset: p.Param("charset")})
			var b bytes.Buffer
			io.CopyBuffer(struct{ io.Writer }{&b}, struct{ io.Reader }{&r}, make([]byte, 100))
			f.body = f.body || strings.Contains(casemap.Fold(b.String()), needle)
		}
	}
	walk(root)
	return f
}

func unfoldSlowly(s string) string { return mimescan.Unfold([]byte(s)) }

func compareFinder(t *testing.T, text string, needles []string) {
	t.Helper()
	for _, small := range []bool{true, false} {
		f := &finder{}
		index := make([]int, len(needles))
		for i, n := range needles {
			index[i] = f.need(n, i%2 == 0)
		}
		for range 2 { // the second time with used buffers
			got, err := f.search(letterOf(text, small))
			if err != nil {
				t.Fatal(err)
			}
			for i, n := range needles {
				want := naive(text, n)
				g := got[index[i]]
				if f.inBody[index[i]] && g.body != want.body || (g.body || g.header) != (want.body || want.header) {
					t.Fatalf("%q in %q: %+v, want %+v (of %d needles, in memory: %v)", n, text, g, want, len(needles), small)
				}
			}
		}
	}
}

const mixed = "Subject: =?utf-8?B?2LPZhNin2YU=?= Gr\xfc\xdfe\r\n folded\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n" +
	"Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>caf=E9 <b>au</b> l=\r\nait\r\n--b\r\n" +
	"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$BF|K\\8l\x1b(B\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" +
	"Subject: inner\r\nContent-Transfer-Encoding: base64\r\n\r\n2KrbjNmH2LHYp9mG\r\n--b\r\nContent-Type: application/x\r\nContent-Disposition: attachment;\r\n filename*=utf-8''%D8%B3%D9%84\r\n\r\nhidden\r\n--b--\r\n"

func TestFinder(t *testing.T) {
	for needle, want := range map[string]found{
		"سلام":           {header: true},
		"SUBJECT: سلام":  {header: true, body: false},
		"grusse FOLDED":  {header: true},
		"Cafe AU LAIT":   {body: true},
		"<p>":            {},
		"日本":             {body: true},
		"تيهران":         {body: true},
		"inner":          {header: true},
		"hidden":         {},
		"preamble":       {},
		"filename=سل":    {header: true},
		"multipart":      {header: true},
		"":               {body: true},
		"\u0640":         {body: true}, // folds to nothing
		"inner\x00":      {},
		"ABSENT":         {},
		"text/plain":     {header: true},
		"folded\r\n":     {},
		"boundary=b\x00": {},
	} {
		if strings.IndexByte(needle, 0) >= 0 {
			continue // an IMAP string has none
		}
		f := &finder{}
		f.need(needle, true)
		got, err := f.search(letterOf(mixed, true))
		if err != nil || got[0] != want {
			t.Errorf("%q: %+v, %v, want %+v", needle, got[0], err, want)
		}
	}
}

// TestFinderFindsAcrossBlocks: a needle may lie across any two blocks of a
// decoded text, and in the middle of a letter of several octets.
func TestFinderFindsAcrossBlocks(t *testing.T) {
	for _, at := range []int{0, blockSize - 3, blockSize - 1, blockSize, 2*blockSize - 7, 2*blockSize + 3} {
		text := "\r\n" + strings.Repeat("é", at/2) + strings.Repeat("-", at%2) + "İÄ NEEDLE پیک" + strings.Repeat("x", 3*blockSize)
		needles := []string{"ä needle پ", "absent", "EPEYK"}
		compareFinder(t, text, needles)
		for i := range 2 * manyNeedles {
			needles = append(needles, fmt.Sprint("absent ", i))
		}
		compareFinder(t, text, needles)
		encoded := "Content-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(text[2:]))
		compareFinder(t, encoded, needles)
	}
}

func TestAutomatonFindsWhatContainsFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func(n, letters int) []byte {
		w := make([]byte, 1+r.IntN(n))
		for i := range w {
			w[i] = byte('A' + r.IntN(letters))
		}
		return w
	}
	for round := range 300 {
		letters := 1 + round%4
		seen := map[string]bool{}
		var needles [][]byte
		for range 1 + r.IntN(400) {
			if n := word(9, letters); !seen[string(n)] {
				seen[string(n)] = true
				needles = append(needles, n)
			}
		}
		text := word(200, letters)
		a := newAutomaton(needles)
		hits := make([]bool, len(needles))
		for from := 0; from < len(text); {
			to := min(len(text), from+1+r.IntN(40))
			a.scan(text[from:to], func(i int32) bool {
				was := hits[i]
				hits[i] = true
				return !was
			})
			from = to
		}
		for i, n := range needles {
			if hits[i] != bytes.Contains(text, n) {
				t.Fatalf("%q in %q: %v", n, text, hits[i])
			}
		}
	}
}

func FuzzFinder(f *testing.F) {
	f.Add(mixed, "سلام", "lait")
	f.Add("a: b\n\nc", "A: b", "")
	f.Add("Content-Type: text/html\n\n&eacute;<b>", "e", "é")
	f.Fuzz(func(t *testing.T, text, one, two string) {
		if len(text) > 64<<10 || strings.ContainsAny(one+two, "\x00*") || strings.Contains(text, "*") {
			return // RFC 2231 is not in the naive definition
		}
		needles := []string{one, two}
		compareFinder(t, text, needles)
		for i := range manyNeedles {
			needles = append(needles, fmt.Sprint(two, one, i), one[min(i, len(one)):], one[:max(0, len(one)-i)])
		}
		compareFinder(t, text, needles)
	})
}

// A search through hostile mail holds little, whatever the mail looks like.
func TestFinderHoldsLittle(t *testing.T) {
	deep := strings.Repeat("Content-Type: message/rfc822\r\nX: "+strings.Repeat("=?utf-8?q?=FC?= ", 600)+"\r\n\r\n", 90)
	var nested strings.Builder
	for i := range 95 {
		fmt.Fprintf(&nested, "Content-Type: multipart/mixed; boundary=%d; a=\"%s\"\r\n\r\n--%d\r\n", i, strings.Repeat("x", 9000), i)
	}
	for name, text := range map[string]string{
		"parts":     "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nYWJj\r\n", 60_000),
		"words":     "Subject: " + strings.Repeat("=?iso-8859-1?B?6enp?=\r\n ", 80_000) + "\r\n\r\nx",
		"addresses": "To: " + strings.Repeat("a,", 2<<20) + "\r\n\r\nx",
		"deep":      deep,
		"nested":    nested.String(),
		"latin":     "\r\n" + strings.Repeat("\xfc", 8<<20),
	} {
		f := &finder{}
		f.need("absent", true)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		most := uint64(0)
		f.late = func() error {
			runtime.ReadMemStats(&after)
			most = max(most, after.HeapAlloc-min(after.HeapAlloc, before.HeapAlloc))
			return nil
		}
		start := time.Now()
		if _, err := f.search(letterOf(text, false)); err != nil {
			t.Error(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		t.Logf("%s: %d KB held, %d KB with garbage, %d KB allocated, %v", name, held>>10, most>>10, (after.TotalAlloc-before.TotalAlloc)>>10, time.Since(start))
		if held > 1<<20 {
			t.Errorf("%s: %d octets are held", name, held)
		}
		runtime.KeepAlive(f)
	}
}

func BenchmarkFinder(b *testing.B) {
	text := "Subject: x\r\n\r\n" + strings.Repeat("The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs.\r\n", 46)
	for _, n := range []int{1, 4, 8, 12, 16, 32, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := &finder{}
			for i := range n {
				f.need(fmt.Sprintf("%cbsent needle %d", 'a'+i%26, i), true)
			}
			l := letterOf(text, true)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				f.search(l)
			}
		})
	}
}
