package smtpd

import (
	"bytes"
	"strings"
	"testing"
)

// decode runs the decoder over input in pieces of the given sizes, the last
// of which repeats, keeping what a feed leaves over as conn does.
func decode(d decoder, input []byte, sizes []byte) (out []byte, used int, end bool, f fault) {
	d.sink = func(p []byte) { out = append(out, p...) }
	var buf []byte
	for i := 0; used < len(input) && !end; i++ {
		size := 1 << 20
		if len(sizes) > 0 {
			size = int(sizes[min(i, len(sizes)-1)]) + 1
		}
		upTo := min(used+len(buf)+size, len(input))
		if upTo == used+len(buf) {
			break // the end of input within a marker
		}
		buf = input[used:upTo]
		var n int
		n, end = d.feed(buf)
		used += n
		buf = buf[n:]
	}
	if !d.dots {
		d.finish()
	}
	return out, used, end, d.fault
}

func TestEndOfData(t *testing.T) {
	for in, want := range map[string]string{
		".\r\n":                    "",
		"a\r\n.\r\n":               "a\r\n",
		"a\r\n..\r\n.\r\n":         "a\r\n.\r\n",
		"a\r\n..b\r\n...\r\n.\r\n": "a\r\n.b\r\n..\r\n",
		"a\r\n.b\r\n.\r\n":         "a\r\nb\r\n",
		"a.\r\n. \r\n.\r\n":        "a.\r\n \r\n",
		"\r\n\r\n.\r\nQUIT\r\n":    "\r\n\r\n",
	} {
		for size := range byte(5) {
			out, used, end, f := decode(decoder{dots: true}, []byte(in), []byte{size})
			if !end || string(out) != want || f != "" || used != strings.Index(in+"Q", ".\r\nQ")+3 && used != len(in) {
				t.Errorf("%q in pieces of %d: %q %d %v %q", in, size+1, out, used, end, f)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	for in, want := range map[string]fault{
		"a\nb\r\n.\r\n": bareLF, "\n.\r\n\r\n.\r\n": bareLF, "a\rb\r\n.\r\n": bareCR, "a\r\r\n.\r\n": bareCR,
		"a\r\n.\r\r\n.\r\n": bareCR, "\x00\r\n.\r\n": nul, "a\r\n.\x00\r\n.\r\n": nul, "\n": bareLF,
	} {
		for size := range byte(4) {
			if _, _, _, f := decode(decoder{dots: true}, []byte(in), []byte{size}); f != want {
				t.Errorf("%q in pieces of %d: %q", in, size+1, f)
			}
		}
	}
}

// FuzzDecoder compares the decoder with the definition of transparency, and
// pieces of any size with the whole.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("a\r\n..b\r\n.\r\nQUIT\r\n"), []byte{0, 3}, true, false)
	f.Add([]byte("a\nb\r.\r\n\r\n.\r\n"), []byte{1}, true, true)
	f.Add([]byte("x\r"), []byte{0}, false, true)
	f.Fuzz(func(t *testing.T, input, sizes []byte, dots, normalize bool) {
		d := decoder{dots: dots, normalize: normalize}
		out, used, end, fault := decode(d, input, nil)
		out2, used2, end2, fault2 := decode(d, input, sizes)
		if !bytes.Equal(out, out2) || used != used2 || end != end2 || fault != fault2 {
			t.Fatalf("pieces differ: %q %d %v %q and %q %d %v %q", out, used, end, fault, out2, used2, end2, fault2)
		}
		if fault == "" && (end || !dots) {
			checkClean(t, out)
		}
		if end && fault == "" && !normalize {
			checkTransparent(t, input[:used], out)
		}
	})
}

func checkClean(t *testing.T, out []byte) {
	rest := strings.ReplaceAll(string(out), "\r\n", "")
	if strings.ContainsAny(rest, "\r\n\x00") {
		t.Fatalf("not clean: %q", out)
	}
	if len(out) > 0 && !bytes.HasSuffix(out, crlf) {
		t.Fatalf("the last line has no end: %q", out)
	}
}

// checkTransparent decodes by the words of RFC 5321 §4.5.2.
func checkTransparent(t *testing.T, wire, out []byte) {
	body := strings.TrimSuffix("\r\n"+string(wire), "\r\n.\r\n") + "\r\n"
	want := strings.TrimPrefix(strings.ReplaceAll(body, "\r\n.", "\r\n"), "\r\n")
	if want != string(out) {
		t.Fatalf("%q decodes to %q, not %q", wire, out, want)
	}
}
