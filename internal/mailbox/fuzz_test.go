package mailbox

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

const fuzzLimit = 16 << 10

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"1.M2P3.h,S=5,W=6:2,FSab", "x", "x:2,", "x:2,SX,more", "a;2,S", ":2,S", "x:1,S:2,T", "x:2"} {
		f.Add(s, uint8(5), uint32(9))
	}
	f.Fuzz(func(t *testing.T, name string, flags uint8, keywords uint32) {
		if len(name) > 255 {
			return
		}
		base, info := splitName(name)
		if base+info != name || strings.Contains(base, ":") {
			t.Fatalf("%q: %q %q", name, base, info)
		}
		bf, bk := parseInfo([]byte(base), []byte(info))
		sf, sk := parseInfo(base, info)
		if bf != sf || bk != sk {
			t.Fatal("octets and text differ")
		}
		wantF, wantK := Flags(flags)&(1<<6-1), uint64(keywords)&(1<<maxKeywords-1)
		merged := mergeInfo(info, wantF, wantK)
		if gf, gk := parseInfo(base, merged); gf != wantF || gk != wantK {
			t.Fatalf("%q gives %b %b, want %b %b", merged, gf, gk, wantF, wantK)
		}
		if again := mergeInfo(merged, wantF, wantK); again != merged {
			t.Fatalf("%q, then %q", merged, again)
		}
		if size, wire := sizesOf(base); size > maxMessage || wire > maxMessage || size < -1 {
			t.Fatal(size, wire)
		}
	})
}

func FuzzFolderName(f *testing.F) {
	for _, s := range []string{"INBOX", "A.B", "Äußeres & Büro", ".&AMQ-", ".&-", ".&AMQ", ".a..b", "日本", "\xff", "~peter/mail"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1000 {
			return
		}
		if utf8.ValidString(s) {
			enc := EncodeUTF7(s)
			if back, ok := DecodeUTF7(enc); !ok || back != s {
				t.Fatalf("%q → %q → %q %v", s, enc, back, ok)
			}
			if asciiRun(enc) != len(enc) {
				t.Fatalf("%q is not printable ASCII", enc)
			}
		}
		if dec, ok := DecodeUTF7(s); ok && EncodeUTF7(dec) != s {
			t.Fatalf("two encodings of %q", dec)
		}
		if CheckName(s) == nil && CanonicalName(s) != Inbox {
			dir := dirOf(s)
			if strings.ContainsAny(dir, "/\x00") || strings.Contains(dir, "..") || len(dir) > 255 {
				t.Fatalf("directory %q", dir)
			}
			if name, ok := nameOf(dir); !ok || name != s {
				t.Fatalf("%q → %q → %q", s, dir, name)
			}
		}
		if name, ok := nameOf(s); ok && CheckName(name) != nil {
			t.Fatalf("directory %q gives the bad name %q", s, name)
		}
	})
}

func FuzzUidlist(f *testing.F) {
	f.Add("3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1\n25006 :1276528487.M364837P9451.host,S=1355,W=1394:2,\n25017 W2481 :1276533073.M242911P3632.host,F=2409\n")
	f.Add("1 1275660208 5\n1 name\n4 other name\n")
	f.Add("3 V1 N2 Xq\n1 G0 Pu :a\n2 S1 W2 :b")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > fuzzLimit {
			return
		}
		var u uidReader
		n, err := u.readLines(strings.NewReader(text))
		if err != nil || n > int64(len(text)) {
			t.Fatal(n, err)
		}
		h, err := u.header()
		if err != nil {
			return
		}
		out := h.append(nil)
		var records []uidRecord
		for {
			r, err := u.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return
			}
			records = append(records, r)
			out = appendUidRecord(out, r.uid, r.base, r.size, r.wire)
		}
		var v uidReader
		v.readLines(bytes.NewReader(out))
		g, err := v.header()
		if err != nil || g != h || v.torn {
			t.Fatalf("header %+v, then %+v, %v", h, g, err)
		}
		for _, want := range records {
			r, err := v.next()
			if err != nil || r.uid != want.uid || r.base != want.base || r.message() != want.message() {
				t.Fatalf("%+v, then %+v, %v", want, r, err)
			}
		}
	})
}

func FuzzKeywords(f *testing.F) {
	f.Add("0 Junk\n25 x\n26 no\n-1 no\nx\n3 $Label1\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > fuzzLimit {
			return
		}
		names := parseKeywords(text)
		if len(names) > maxKeywords {
			t.Fatal(len(names))
		}
		if again := parseKeywords(string(formatKeywords(names))); !slices.Equal(again, names) {
			t.Fatalf("%q, then %q", names, again)
		}
	})
}

func FuzzSubscriptions(f *testing.F) {
	f.Add("V\t2\n\nINBOX\nA\tB\n", "C.D")
	f.Add("INBOX\nA.B\n&AMQ-\n", "Ä")
	f.Add("V\t2\n\nx\x01ty\n", "inbox")
	f.Fuzz(func(t *testing.T, text, name string) {
		if len(text) > fuzzLimit || badName(name) != "" {
			return
		}
		s := parseSubscriptions(text)
		names := s.names()
		for _, n := range names {
			if CheckName(n) != nil {
				t.Fatalf("bad name %q", n)
			}
		}
		again := parseSubscriptions(string(s.format()))
		if !slices.Equal(again.names(), names) && len(s.lines) > 0 {
			t.Fatalf("%q, then %q", names, again.names())
		}
		s.lines = append(s.lines, s.line(name))
		if !slices.Contains(s.names(), CanonicalName(name)) {
			t.Fatalf("%q is lost", name)
		}
	})
}

func FuzzSpecialUse(f *testing.F) {
	f.Add("\\Sent\tSent Items\n\\Junk\t&AMQ-\nx\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > fuzzLimit {
			return
		}
		m := parseSpecialUse(text)
		if again := parseSpecialUse(string(formatSpecialUse(m))); !maps.Equal(again, m) {
			t.Fatalf("%q, then %q", m, again)
		}
	})
}

func FuzzMaildirsize(f *testing.F) {
	f.Add("1000000S,100C\n12 1\n-12 -1\n")
	f.Add("\n5 1\n")
	f.Add("S\n9223372036854775807 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > fuzzLimit {
			return
		}
		u, ok := parseMaildirsize(text)
		if !ok {
			return
		}
		if u.bytes < 0 || u.messages < 0 || u.lines == 0 {
			t.Fatalf("%+v", u)
		}
		if q, ok := parseQuota(u.limit.String()); !ok || q != u.limit {
			t.Fatalf("%+v, then %+v", u.limit, q)
		}
	})
}

// The writer stores LF for CRLF however its input is cut, and counts what a
// reader will count.
func FuzzMailWriter(f *testing.F) {
	f.Add([]byte("a\r\nb\nc\r\r\nd\r"), uint8(3))
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		if len(in) > fuzzLimit {
			return
		}
		h := newTestHost(t)
		dir := t.TempDir()
		if err := h.makeDirs(dir); err != nil {
			t.Fatal(err)
		}
		step := int(cut)%7 + 1
		w, err := h.writeTmp(dir, "", func(w *mailWriter) error {
			for rest := in; len(rest) > 0; rest = rest[min(step, len(rest)):] {
				w.Write(rest[:min(step, len(rest))])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.ReplaceAll(in, []byte("\r\n"), []byte("\n"))
		size, wire, err := h.measure(w.tmp)
		if err != nil || size != int64(len(want)) || w.size != size || w.wire != wire {
			t.Fatalf("sizes %d %d, counted %d %d, want %d", w.size, w.wire, size, wire, len(want))
		}
	})
}
