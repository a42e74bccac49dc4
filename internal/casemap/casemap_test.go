package casemap

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

func TestFoldEquals(t *testing.T) {
	for _, row := range [][]string{
		{"Hello, World", "hELLO, wORLD"},
		{"Größe", "GRÖSSE", "grosse", "gro\u0308ße", "GRÖẞE"},
		{"Straße", "STRASSE"},
		{"İstanbul", "ISTANBUL", "istanbul", "ıstanbul"},
		{"ΣΊΣΥΦΟΣ", "Σίσυφος", "σισυφοσ"},
		{"Tiếng Việt", "TIENG VIET", "tiê\u0301ng viê\u0323t"},
		{"Đường", "duong"},
		{"Łódź", "lodz"},
		{"Ærøskøbing", "AEROSKOBING"},
		{"ﬁnd", "FIND"},
		{"Ǆungla", "ǆungla", "ǅungla", "dzungla"},
		{"ｆｕｌｌ ｗｉｄｔｈ", "FULL WIDTH"},
		{"ｶﾞｷﾞ", "ガギ", "ガギ"},
		{"한국어", "한국어"},
		{"а́лый ёж", "АЛЫЙ ЕЖ"},
		{"كتاب", "کتاب", "كِتَابٌ", "كـتاب"},
		{"علي", "على", "علی"},
		{"می\u200cروم", "مي\u200dروم", "ميروم"},
		{"مدرسة", "مدرسه"},
		{"أحمد", "احمد", "إحمد", "آحمد", "ٱحمد"},
		{"خانۀ", "خانه", "خانة"},
		{"۱۲۳", "١٢٣", "123"},
		{"ﻻ", "لا"},
		{"שָׁלוֹם", "שלום"},
		{"co\u00adoperate", "cooperate"},
		{"\xe4\xf6", "äö", "AO"},
	} {
		for _, s := range row[1:] {
			if Fold(s) != Fold(row[0]) {
				t.Errorf("%q folds to %q, %q to %q", row[0], Fold(row[0]), s, Fold(s))
			}
		}
	}
}

func TestFoldTellsApart(t *testing.T) {
	for _, row := range [][2]string{
		{"か", "が"}, {"は", "ぱ"}, {"ก", "กิ"}, {"क", "कि"}, {"ب", "پ"}, {"漢", "字"}, {"がく", "かく"}, {"a", "b"}, {"", "a"},
	} {
		if Fold(row[0]) == Fold(row[1]) {
			t.Errorf("%q and %q fold to the same", row[0], row[1])
		}
	}
}

// RFC 5051 §2: title case, then decomposition; nothing is dropped.
func TestKey(t *testing.T) {
	for in, want := range map[string]string{
		"":          "",
		"Abc [1]":   "ABC [1]",
		"é":         "E\u0301",
		"ß":         "ß",
		"ﬁ":         "fi",
		"ǆ":         "Dz\u030c",
		"각":         "\u1100\u1161\u11a8",
		"\xe9":      "E\u0301",
		"ａ":         "A",
		"٣":         "٣",
		"ﷺ":         "صلى الله عليه وسلم",
		"naïve\x00": "NAI\u0308VE\x00",
	} {
		if got := Key(in); got != want {
			t.Errorf("Key(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTableIsTheDefinition(t *testing.T) {
	for r := rune(0); r <= 0x30000; r++ {
		if r >= 0xd800 && r < 0xe000 {
			continue
		}
		if got, want := Fold(string(r)), foldRune(r); got != want {
			t.Fatalf("%U folds to %q, want %q", r, got, want)
		}
	}
}

// A text folds to the same however it is cut, and folding twice changes
// nothing more.
func FuzzFold(f *testing.F) {
	f.Add("Grüße \xe4 an ۱۲۳ がく \xe2\x82", 3)
	f.Add("\xf0\x9f\x98A\xf0\x9f\x98\x80", 2)
	f.Add("ﷺ ǆ 각", 1)
	f.Fuzz(func(t *testing.T, s string, step int) {
		want := Fold(s)
		if !utf8.ValidString(want) {
			t.Fatalf("%q is not UTF-8", want)
		}
		step = max(1, step%7)
		var folder Folder
		var got []byte
		for rest := []byte(s); len(rest) > 0; {
			n := min(step, len(rest))
			got = folder.Append(got, rest[:n])
			rest = rest[n:]
		}
		if got = folder.Flush(got); string(got) != want {
			t.Fatalf("in blocks of %d: %q, at once: %q", step, got, want)
		}
		if again := Fold(want); again != want {
			t.Fatalf("%q folds to %q, and that to %q", s, want, again)
		}
		if len(want) > 8*len(s) {
			t.Fatalf("%d octets became %d", len(s), len(want))
		}
		if k := Key(s); !utf8.ValidString(k) {
			t.Fatalf("the key %q of %q is not UTF-8", k, s)
		}
	})
}

func BenchmarkFold(b *testing.B) {
	for name, text := range map[string]string{
		"ascii":   "The quick brown fox jumps over the lazy dog.\r\n",
		"german":  "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.\r\n",
		"persian": "می\u200cخواهم که تو را ببینم و با تو سخن بگویم.\r\n",
		"chinese": "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			block := bytes.Repeat([]byte(text), 16<<10/len(text))
			dst := make([]byte, 0, 64<<10)
			b.SetBytes(int64(len(block)))
			for b.Loop() {
				f := Folder{}
				dst = f.Append(dst[:0], block)
			}
		})
	}
}

func BenchmarkPage(b *testing.B) {
	for b.Loop() {
		newPage(0x600)
	}
}
