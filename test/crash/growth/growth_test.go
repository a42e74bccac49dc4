// Package growth_test measures that no parser takes more than its share when
// what it reads grows.
package growth_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/address"
	"peyk/internal/casemap"
	"peyk/internal/dsn"
	"peyk/internal/envelope"
	"peyk/internal/header"
	"peyk/internal/mailtext"
	"peyk/internal/mimescan"
)

// families are what people send who mean harm, of about n octets.
var families = []struct {
	name string
	text func(n int) string
}{
	{"folds", func(n int) string { return "Subject: x\r\n" + strings.Repeat(" y\r\n", n/4) + "\r\nb\r\n" }},
	{"fields", func(n int) string { return strings.Repeat("To: a@b.example\r\n", n/17) + "\r\nb\r\n" }},
	{"one line", func(n int) string { return "Subject: " + strings.Repeat("x", n) + "\r\n\r\nb\r\n" }},
	{"no colon", func(n int) string { return strings.Repeat("x", n) }},
	{"line feeds", func(n int) string { return strings.Repeat("\n", n) }},
	{"carriage returns", func(n int) string { return "\r\n" + strings.Repeat("\r", n) }},
	{"NULs", func(n int) string { return strings.Repeat("\x00", n) }},
	{"encoded words", func(n int) string { return "Subject: " + strings.Repeat("=?utf-8?q?", n/10) + "\r\n\r\n" }},
	{"words of base64", func(n int) string {
		return "Subject: " + strings.Repeat("=?utf-8?b?2LPZhNin2YU=?= ", n/25) + "\r\n\r\n"
	}},
	{"comments", func(n int) string { return "To: " + strings.Repeat("(a)", n/3) + "a@b\r\n\r\n" }},
	{"open comments", func(n int) string { return "To: " + strings.Repeat("(", n) + "a@b\r\n\r\n" }},
	{"groups", func(n int) string { return "To: " + strings.Repeat("a:", n/2) + ";\r\n\r\n" }},
	{"brackets", func(n int) string { return "To: a@" + strings.Repeat("[a", n/2) + "\r\n\r\n" }},
	{"quotes", func(n int) string { return "To: \"" + strings.Repeat("\\\"", n/2) + "\"\r\n\r\n" }},
	{"commas", func(n int) string { return "To: " + strings.Repeat(",", n) + "\r\n\r\n" }},
	{"parameters", func(n int) string {
		return "Content-Type: text/plain" + strings.Repeat("; filename*1*=%41", n/17) + "\r\n\r\n"
	}},
	{"messages in messages", func(n int) string { return strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n/32) }},
	{"one boundary", func(n int) string {
		return strings.Repeat("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n", n/52)
	}},
	{"parts", func(n int) string {
		return "Content-Type: multipart/mixed; boundary=a\r\n\r\n" + strings.Repeat("--a\r\n\r\n", n/7)
	}},
	{"almost boundaries", func(n int) string {
		return "Content-Type: multipart/mixed; boundary=" + strings.Repeat("-", 69) + "x\r\n\r\n" + strings.Repeat("--\r\n", n/4)
	}},
	{"a long boundary", func(n int) string {
		a := strings.Repeat("a", n/2)
		return "Content-Type: multipart/mixed; boundary=" + a + "\r\n\r\n--" + a + "\r\n"
	}},
	{"tags", func(n int) string { return "Content-Type: text/html\r\n\r\n" + strings.Repeat("<a ", n/3) }},
	{"entities", func(n int) string { return "Content-Type: text/html\r\n\r\n" + strings.Repeat("&amp", n/4) }},
	{"quoted-printable", func(n int) string {
		return "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("=\r\n=D8=", n/7)
	}},
	{"base64", func(n int) string {
		return "Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("AAAA\r\n", n/6)
	}},
	{"envelopes", func(n int) string {
		return "MAIL FROM:<a@b.example>\r\n" + strings.Repeat("RCPT TO:<a@b.example> NOTIFY=NEVER\r\n", n/36) + "BDAT 0 LAST\r\n"
	}},
	{"combining marks", func(n int) string { return strings.Repeat("a\u0301\u0316", n/5) }},
}

// parsers are all that read what a stranger wrote, as whole messages or words.
var parsers = []struct {
	name string
	read func(text []byte)
}{
	{"header.Read", func(b []byte) { header.Read(bufio.NewReader(bytes.NewReader(b)), len(b)) }},
	{"header.Scan", func(b []byte) { header.Scan(b) }},
	{"mimescan.Scan", func(b []byte) { mimescan.Scan(bytes.NewReader(b), int64(len(b))) }},
	{"mimescan.AppendEnvelope", func(b []byte) { mimescan.AppendEnvelope(nil, b) }},
	{"mimescan.Params", func(b []byte) { mimescan.Params(string(b)) }},
	{"mimescan.FirstAddress", func(b []byte) { mimescan.FirstAddress(b) }},
	{"mimescan.AppendWire", func(b []byte) { mimescan.AppendWire(nil, b, false) }},
	{"mimescan.AppendHuman", func(b []byte) { mimescan.AppendHuman(nil, string(b)) }},
	{"mailtext.Field", func(b []byte) { mailtext.Field(string(b)) }},
	{"mailtext.Extended", func(b []byte) { mailtext.Extended(string(b)) }},
	{"casemap.Fold", func(b []byte) { casemap.Fold(string(b)) }},
	{"casemap.Key", func(b []byte) { casemap.Key(string(b)) }},
	{"address.Parse", func(b []byte) { address.Parse(string(b), true) }},
	{"address.ParsePath", func(b []byte) { address.ParsePath("<"+string(b)+">", true) }},
	{"envelope.Parse", func(b []byte) { envelope.Parse(b) }},
	{"envelope.Read", func(b []byte) { envelope.Read(bufio.NewReader(bytes.NewReader(b))) }},
	{"envelope.DecodeXtext", func(b []byte) { envelope.DecodeXtext(string(b)) }},
	{"dsn.Read", func(b []byte) { dsn.Read(bytes.NewReader(b)) }},
}

// cpu is the lesser processor time of two runs.
func cpu(read func()) time.Duration {
	best := time.Hour
	for range 2 {
		runtime.GC()
		before := spent()
		read()
		best = min(best, spent()-before)
	}
	return best
}

func spent() time.Duration {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Twice the input takes at most 2.3 times the processor's time, up to 64 MiB.
// Without PEYK_CRASH nothing is measured, as machines that run tests are
// busy: each parser gets 64 KiB of each family, and must come back.
func TestTimeGrowsLinearly(t *testing.T) {
	full := os.Getenv("PEYK_CRASH") != ""
	for _, family := range families {
		t.Run(family.name, func(t *testing.T) {
			if full {
				measure(t, family.text)
				return
			}
			for _, parser := range parsers {
				parser.read([]byte(family.text(64 << 10)))
			}
		})
	}
}

// limit is the greatest ratio for twice the input; floor is the time below
// which a ratio is noise.
const (
	limit = 2.3
	floor = 20 * time.Millisecond
)

// measure compares 16 with 32 MiB, and 32 with 64. What looks wrong is
// measured twice more: a busy machine takes processor time as well.
func measure(t *testing.T, text func(int) string) {
	worst, where := 0.0, "nothing that took long enough"
	var sizes [][]byte
	for n := 16 << 20; n <= 64<<20; n *= 2 {
		sizes = append(sizes, []byte(text(n)))
	}
	for _, parser := range parsers {
		last := cpu(func() { parser.read(sizes[0]) })
		for i, b := range sizes[1:] {
			took := cpu(func() { parser.read(b) })
			ratio := float64(took) / float64(last)
			for again := 0; last > floor && ratio > limit && again < 2; again++ {
				half := cpu(func() { parser.read(sizes[i]) })
				ratio = min(ratio, float64(cpu(func() { parser.read(b) }))/float64(half))
			}
			if last > floor && ratio > worst {
				worst, where = ratio, fmt.Sprintf("%s at %d MiB", parser.name, len(b)>>20)
			}
			if last > floor && ratio > limit {
				t.Errorf("%s: %d MiB take %.2f times as long as half of it", parser.name, len(b)>>20, ratio)
				break // it would only take longer
			}
			last = took
		}
	}
	t.Logf("at worst %.2f: %s", worst, where)
}
