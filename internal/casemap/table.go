package casemap

import (
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// firstText is above every character: a smaller entry of a page is the one
// character that stands for another, 0 is itself, and the others are a place
// and a length, up to 15 octets, in texts.
const firstText = utf8.MaxRune + 1

// A table has a page for each 256 characters, made when a text first has one
// of them: all pages at once are 25 ms of work and 300 KB, and most texts need
// two or three.
type table struct {
	pages [0x2fb00 >> 8]atomic.Pointer[page]
}

type page struct {
	entries [256]uint32
	texts   string
}

// folds is the table of Fold.
var folds = sync.OnceValue(func() *table { return new(table) })

// page returns the page of a character, nil where nothing changes.
func (t *table) page(r rune) *page {
	n := int(r >> 8)
	if n >= len(t.pages) {
		return nil
	}
	if p := t.pages[n].Load(); p != nil || isUnchanged(r) {
		return p
	}
	p := newPage(r &^ 0xff)
	t.pages[n].Store(p) // the same, if two do it at a time
	return p
}

// isUnchanged: whole pages of ideographs, Hangul (see appendHangul),
// surrogates and private use.
func isUnchanged(r rune) bool {
	return 0x3400 <= r && r < 0xa000 || 0xac00 <= r && r < 0xf900 || 0x20000 <= r && r < 0x2f800
}

func newPage(first rune) *page {
	p := &page{}
	var texts []byte
	for i := range p.entries {
		r := first + rune(i)
		out := foldRune(r)
		if r < utf8.RuneSelf || string(r) == out {
			continue
		}
		if one, n := utf8.DecodeRuneInString(out); n > 0 && n == len(out) {
			p.entries[i] = uint32(one)
			continue
		}
		p.entries[i] = firstText + (uint32(len(texts))<<4 | uint32(len(out)))
		texts = append(texts, out...)
	}
	p.texts = string(texts)
	return p
}

// maxText bounds what one character becomes. Only a few ligatures of whole
// Arabic sentences are longer; they stay as they are.
const maxText = 15

// foldRune is the definition of Fold for one character.
func foldRune(r rune) string {
	var out []byte
	for _, c := range casemapRune(nil, r) {
		c = unicode.ToTitle(c) // what was decomposed has a case, too
		if unseen(c) || mark(c) {
			continue
		}
		out = append(out, letter(c)...)
	}
	if len(out) > maxText {
		return string(r)
	}
	return string(out)
}

// casemapRune appends RFC 5051 §2 of one character: its title case, decomposed.
func casemapRune(dst []rune, r rune) []rune {
	title := unicode.ToTitle(r)
	if title < utf8.RuneSelf {
		return append(dst, title)
	}
	return append(dst, []rune(norm.NFKD.String(string(title)))...)
}

// Key returns the form of s under which i;unicode-casemap compares octets
// (RFC 5051 §2).
func Key(s string) string {
	if firstOther(s) == len(s) {
		return s
	}
	var out strings.Builder
	out.Grow(len(s))
	var runes []rune
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			out.WriteByte(c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			r = rune(s[i])
		}
		i += n
		runes = casemapRune(runes[:0], r)
		for _, c := range runes {
			out.WriteRune(c)
		}
	}
	return out.String()
}

// mark reports whether c only decorates the letter before it. The vowel signs
// of India and of Thai, and the voiced marks of kana, are no decoration.
func mark(c rune) bool {
	switch {
	case c == 0x3099, c == 0x309a:
		return false
	case unicode.Is(unicode.Mn, c) && unicode.In(c, unicode.Inherited, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Hebrew, unicode.Arabic, unicode.Syriac):
		return true
	}
	return unicode.Is(unicode.Me, c)
}

// unseen reports whether c has no shape of its own.
func unseen(c rune) bool {
	switch {
	case c == 0x0640, // tatweel only widens a word
		c == 0x00ad, c == 0x034f, c == 0x061c, c == 0xfeff,
		0x200b <= c && c <= 0x200f, // zero width space, ZWNJ, ZWJ, LRM, RLM
		0x202a <= c && c <= 0x202e, 0x2060 <= c && c <= 0x206f,
		0xfe00 <= c && c <= 0xfe0f: // variation selectors
		return true
	}
	return false
}

// letter maps letters that decomposition leaves apart though readers, or
// keyboards, do not tell them apart.
func letter(c rune) string {
	switch {
	case 0x0660 <= c && c <= 0x0669:
		return string('0' + c - 0x0660)
	case 0x06f0 <= c && c <= 0x06f9:
		return string('0' + c - 0x06f0)
	}
	switch c {
	case 'ß', 'ẞ':
		return "SS"
	case 'Æ':
		return "AE"
	case 'Œ':
		return "OE"
	case 'Ø':
		return "O"
	case 'Đ', 'Ð':
		return "D"
	case 'Ħ':
		return "H"
	case 'Ł':
		return "L"
	case 'Ŧ':
		return "T"
	case 'ى', 'ی', 'ې', 'ے':
		return "ي"
	case 'ک', 'ڪ':
		return "ك"
	case 'ة', 'ۀ', 'ە', 'ہ', 'ھ', 'ۃ':
		return "ه"
	case 'ٱ', 'ٲ', 'ٳ':
		return "ا"
	}
	return string(c)
}
