package header

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

func TestScan(t *testing.T) {
	const text = "From x\r\nReceived: a\r\n\tb\r\n c\r\nreceived : d\nno field here\r\nSubject:\r\nX-\xff: \xfe\r\n:empty\r\n\r\nbody: y\r\n"
	h, n := Scan([]byte(text))
	if rest := text[n:]; rest != "body: y\r\n" {
		t.Errorf("the body is %q", rest)
	}
	var names []string
	for _, f := range h.Fields() {
		names = append(names, f.Name())
	}
	if want := []string{"", "Received", "received", "", "Subject", "X-\xff", ""}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	if got := h.Values("RECEIVED"); !slices.Equal(got, []string{"a\tb c", "d"}) || h.Count("received") != 2 {
		t.Errorf("values %q", got)
	}
	if h.Get("x-\xff") != "\xfe" || h.Get("subject") != "" || h.Get("Date") != "" {
		t.Error("Get")
	}
	if n := h.Remove("Received"); n != 2 {
		t.Errorf("removed %d", n)
	}
	if got := string(h.Append(nil)); got != "From x\r\nno field here\r\nSubject:\r\nX-\xff: \xfe\r\n:empty\r\n\r\n" || h.Len() != len(got) {
		t.Errorf("left %q", got)
	}
}

func TestIsAgreesWithName(t *testing.T) {
	for _, line := range []string{"To: x", "To : x", "To\t: x", "Tox: x", "T: x", "to:", "To", " To: x", "To x: y", "To : "} {
		h, _ := Scan([]byte(line))
		f := h.Fields()[0]
		if got, want := f.Is("to"), strings.EqualFold(f.Name(), "to"); got != want {
			t.Errorf("%q: Is = %v, Name = %q", line, got, f.Name())
		}
	}
}

func TestReadLeavesTheBody(t *testing.T) {
	const text = "A: b\r\n c\r\n\r\nbody"
	for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader} {
		r := bufio.NewReaderSize(wrap(strings.NewReader(text)), 16)
		h, err := Read(r, 100)
		if err != nil || !h.Complete() || h.Truncated() {
			t.Fatal(h, err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "body" {
			t.Errorf("the body is %q", rest)
		}
	}
}

func TestReadStopsAtItsLimit(t *testing.T) {
	text := "A: " + strings.Repeat("x", 1000)
	r := bufio.NewReader(strings.NewReader(text))
	h, err := Read(r, 100)
	if err != nil || !h.Truncated() || h.Len() != 100 {
		t.Fatal(h.Len(), err)
	}
	if rest, _ := io.ReadAll(r); len(rest) != len(text)-100 {
		t.Errorf("%d octets are left", len(rest))
	}
}

func TestReadReportsErrorsOfReading(t *testing.T) {
	r := bufio.NewReader(io.MultiReader(strings.NewReader("A: b\r\n"), iotest.ErrReader(io.ErrClosedPipe)))
	if _, err := Read(r, 100); err != io.ErrClosedPipe {
		t.Error(err)
	}
}

var when = time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3*3600+1800))

func TestReceived(t *testing.T) {
	r := Received{Helo: "mx.far.test", Name: "real.far.test", Addr: "192.0.2.1", TLS: "TLSv1.3 TLS_AES_128_GCM_SHA256",
		By: "here.test", With: "ESMTPS", ID: "06dzs3nyd", For: "bob@here.test", Date: when}
	want := "Received: from mx.far.test (real.far.test [192.0.2.1])\r\n" +
		"\t(TLSv1.3 TLS_AES_128_GCM_SHA256) by here.test (Peyk) with ESMTPS id 06dzs3nyd\r\n" +
		"\tfor <bob@here.test>; Wed, 04 Mar 2026 05:06:07 +0330\r\n"
	if got := string(r.Append(nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := string(Received{By: "h", ID: "i", Date: when}.Append(nil)); got != "Received: by h (Peyk) id i; Wed, 04 Mar 2026 05:06:07 +0330\r\n" {
		t.Errorf("short: %q", got)
	}
	v6 := string(Received{Helo: "x", Addr: "2001:db8::1", By: "h", Date: when}.Append(nil))
	if !strings.Contains(v6, "from x ([IPv6:2001:db8::1])") {
		t.Errorf("IPv6: %q", v6)
	}
}

// checkOneField fails unless b is exactly one well-formed field.
func checkOneField(t *testing.T, b []byte, name string) {
	t.Helper()
	h, n := Scan(b)
	if n != len(b) || len(h.Fields()) != 1 || h.Fields()[0].Name() != name || h.Complete() {
		t.Fatalf("not one field: %q", b)
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(b), "\r\n"), "\r\n") {
		controls := strings.ContainsFunc(strings.TrimPrefix(line, "\t"), func(r rune) bool { return r < ' ' || r == 0x7f })
		if controls || len(line) > 998 || !utf8.ValidString(line) {
			t.Fatalf("bad line %q", line)
		}
	}
}

func FuzzReceived(f *testing.F) {
	f.Add("a\rReceived: x", "\n", "]", "(((", "h", "i", "a>\r\nX: y")
	f.Add(strings.Repeat("x", 10000), "", "::1", ")", "", "", strings.Repeat("y", 600))
	f.Add("<script>", "ü", "IPv6:::1", "\\", "", "", `"a\>b"@x`)
	f.Fuzz(func(t *testing.T, helo, name, addr, tls, by, id, rcpt string) {
		r := Received{Helo: helo, Name: name, Addr: addr, TLS: tls, By: by, ID: id, For: rcpt, Date: when}
		checkOneField(t, r.Append(nil), "Received")
		checkOneField(t, AppendReturnPath(nil, rcpt), "Return-Path")
		if b := AppendDeliveredTo(nil, rcpt); len(b) > 0 {
			checkOneField(t, b, "Delivered-To")
		}
	})
}

// Fuzzing the scanner: nothing is lost or added, reading gives what scanning
// gives whatever the buffer, and a field is never more than one.
func FuzzScan(f *testing.F) {
	f.Add([]byte("A: b\r\n c\r\n\r\nbody"), 5)
	f.Add([]byte("\r\n"), 1)
	f.Add([]byte("a\r\r\n\n\r"), 3)
	f.Add([]byte(" x\n\ty:z\n"), 2)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		h, n := Scan(b)
		if got := h.Append(nil); !bytes.Equal(got, b[:n]) || h.Len() != n {
			t.Fatalf("%q became %q", b[:n], got)
		}
		if !h.Complete() && n != len(b) {
			t.Fatalf("stopped at %d of %q", n, b)
		}
		for i, field := range h.Fields() {
			if c := field.Raw[0]; i > 0 && (c == ' ' || c == '\t') {
				t.Fatalf("%q begins with white space", field.Raw)
			}
			if name := field.Name(); name != "" && (!field.Is(name) || !field.Is(strings.ToUpper(name)) && isASCII(name)) {
				t.Fatalf("%q is not %q", field.Raw, name)
			}
			_ = field.Value()
		}
		r := bufio.NewReaderSize(bytes.NewReader(b), 16+max(size, 0)%64)
		read, err := Read(r, len(b)+1)
		if err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(r)
		if !bytes.Equal(read.Append(nil), b[:n]) || !bytes.Equal(rest, b[n:]) {
			t.Fatalf("Read: %q and %q", read.Append(nil), rest)
		}
	})
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func BenchmarkScan(b *testing.B) {
	for _, lines := range []int{30, 100000} {
		text := []byte(strings.Repeat("To: somebody@example.org,\r\n\tanother@example.org\r\n", lines) + "\r\n")
		b.Run(fmt.Sprint(lines), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for range b.N {
				h, _ := Scan(text)
				h.Count("Received")
			}
		})
	}
}
