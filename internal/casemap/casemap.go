// Package casemap makes texts comparable that a reader takes for the same.
//
// Key is the collation i;unicode-casemap of RFC 5051, for sorting. Fold goes
// further, for searching: what differs only in case, in diacritics, in the
// form of an Arabic or Persian letter, in the script of a digit, or in
// characters that nobody sees, is equal.
//
// Both look at one character at a time, so that the fold of a text is the
// fold of its pieces, wherever it is cut between characters. Octets that are
// not UTF-8 count as Latin-1.
package casemap

import (
	"encoding/binary"
	"unicode/utf8"
)

// Fold returns the form of s under which SEARCH compares.
func Fold(s string) string {
	if i := firstOther(s); i < len(s) {
		f := Folder{}
		out := f.Append(make([]byte, 0, len(s)+8), []byte(s))
		return string(f.Flush(out))
	}
	return s
}

// firstOther returns the index of the first octet that Fold changes.
func firstOther(s string) int {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= utf8.RuneSelf || 'a' <= c && c <= 'z' {
			return i
		}
	}
	return len(s)
}

// A Folder folds a text that comes in blocks, cut anywhere. The zero value is
// ready.
type Folder struct {
	cut [utf8.UTFMax]byte // the beginning of a character, from the last block
	n   int
}

// Append folds a block and appends it to dst. What may be half a character
// waits for the next block.
func (f *Folder) Append(dst, block []byte) []byte {
	for f.n > 0 && len(block) > 0 {
		f.cut[f.n] = block[0]
		if f.n++; !utf8.FullRune(f.cut[:f.n]) {
			block = block[1:]
			continue
		}
		r, n := utf8.DecodeRune(f.cut[:f.n])
		if r != utf8.RuneError || n > 1 {
			dst = appendRune(dst, r)
			block, f.n = block[1:], 0
			break
		}
		dst = appendRune(dst, rune(f.cut[0]))
		f.n-- // the new octet is looked at again, after the rest of the old ones
		f.n = copy(f.cut[:], f.cut[1:f.n])
	}
	return f.appendWhole(dst, block)
}

// appendWhole folds a block that begins with a character.
func (f *Folder) appendWhole(dst, block []byte) []byte {
	for {
		var n int
		dst, n = appendASCII(dst, block)
		if block = block[n:]; len(block) == 0 {
			return dst
		}
		for len(block) > 0 && block[0] >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(block)
			if r == utf8.RuneError && n == 1 {
				if !utf8.FullRune(block) {
					f.n = copy(f.cut[:], block)
					return dst
				}
				r = rune(block[0])
			}
			dst = appendRune(dst, r)
			block = block[n:]
		}
	}
}

// Flush appends what was waiting: the text ends in the middle of a character.
func (f *Folder) Flush(dst []byte) []byte {
	for _, c := range f.cut[:f.n] {
		dst = appendRune(dst, rune(c))
	}
	f.n = 0
	return dst
}

// appendASCII appends the ASCII octets that src begins with, in upper case,
// eight at a time, and returns how many they were.
func appendASCII(dst, src []byte) ([]byte, int) {
	i := 0
	for ; i+8 <= len(src); i += 8 {
		x := binary.LittleEndian.Uint64(src[i:])
		if x&0x8080808080808080 != 0 {
			break
		}
		dst = binary.LittleEndian.AppendUint64(dst, upper8(x))
	}
	for ; i < len(src) && src[i] < utf8.RuneSelf; i++ {
		c := src[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst, i
}

// upper8 turns eight ASCII octets to upper case at once: the top bit of each
// octet of (x + 0x7f - 'z') tells that it is above z, of (x + 0x80 - 'a') that
// it is not below a.
func upper8(x uint64) uint64 {
	const ones = 0x0101010101010101
	lower := (x + ones*(0x80-'a')) &^ (x + ones*(0x7f-'z')) & (ones * 0x80)
	return x - lower>>2
}

func appendRune(dst []byte, r rune) []byte {
	if r < utf8.RuneSelf { // an octet that waited
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return append(dst, byte(r))
	}
	if p := folds().page(r); p != nil {
		switch e := p.entries[r&0xff]; {
		case e == 0:
		case e < firstText:
			return utf8.AppendRune(dst, rune(e))
		default:
			e -= firstText
			return append(dst, p.texts[e>>4:e>>4+e&15]...)
		}
	}
	if hangulFirst <= r && r <= hangulLast {
		return appendHangul(dst, r)
	}
	return utf8.AppendRune(dst, r)
}

const (
	hangulFirst, hangulLast = 0xac00, 0xd7a3
	jamoL, jamoV, jamoT     = 0x1100, 0x1161, 0x11a7
	jamoVs, jamoTs          = 21, 28
)

// appendHangul decomposes a syllable (Unicode Standard §3.12).
func appendHangul(dst []byte, r rune) []byte {
	r -= hangulFirst
	dst = utf8.AppendRune(dst, jamoL+r/(jamoVs*jamoTs))
	dst = utf8.AppendRune(dst, jamoV+r/jamoTs%jamoVs)
	if t := r % jamoTs; t > 0 {
		dst = utf8.AppendRune(dst, jamoT+t)
	}
	return dst
}
