package mailtext

import "golang.org/x/text/transform"

// base64Decoder decodes base64 in blocks that are cut anywhere. What is no
// base64 is dropped, as RFC 2045 §6.8 wants; padding ends a run, and another
// may follow.
type base64Decoder struct {
	bits uint32
	n    int // digits in bits
}

const (
	noDigit = 0x80
	padding = 0x81
)

// digits are the values of base64, noDigit or padding.
var digits = base64Digits()

func base64Digits() (t [256]byte) {
	for i := range t {
		t[i] = noDigit
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = byte(i)
	}
	t['='] = padding
	return t
}

// append appends what src stands for: at most 3/4 of its length, and 2 octets.
func (b *base64Decoder) append(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		for b.n == 0 && i+4 <= len(src) {
			v0, v1, v2, v3 := digits[src[i]], digits[src[i+1]], digits[src[i+2]], digits[src[i+3]]
			if (v0|v1|v2|v3)&noDigit != 0 {
				break
			}
			dst = append(dst, v0<<2|v1>>4, v1<<4|v2>>2, v2<<6|v3)
			i += 4
		}
		if i == len(src) {
			break
		}
		switch v := digits[src[i]]; {
		case v == padding:
			dst = b.finish(dst)
		case v != noDigit:
			b.bits = b.bits<<6 | uint32(v)
			if b.n++; b.n == 4 {
				dst = append(dst, byte(b.bits>>16), byte(b.bits>>8), byte(b.bits))
				b.n = 0
			}
		}
		i++
	}
	return dst
}

// finish appends the octets of a group that is not full.
func (b *base64Decoder) finish(dst []byte) []byte {
	switch b.n {
	case 2:
		dst = append(dst, byte(b.bits>>4))
	case 3:
		dst = append(dst, byte(b.bits>>10), byte(b.bits>>2))
	}
	b.n = 0
	return dst
}

func (b *base64Decoder) Reset() { *b = base64Decoder{} }

func (b *base64Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	room := len(dst) - 4
	if room < 4 {
		return 0, 0, transform.ErrShortDst
	}
	nSrc = min(len(src), room/3*4)
	out := b.append(dst[:0], src[:nSrc])
	if nSrc < len(src) {
		return len(out), nSrc, transform.ErrShortDst
	}
	if atEOF {
		out = b.finish(out)
	}
	return len(out), nSrc, nil
}

// maxSoftBreak bounds the blanks between the = of a soft line break and its
// line end.
const maxSoftBreak = 80

// quotedPrintable decodes RFC 2045 §6.7; an = that is no escape stands for
// itself.
type quotedPrintable struct{ transform.NopResetter }

func (quotedPrintable) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) && nDst < len(dst) {
		c := src[nSrc]
		if c != '=' {
			dst[nDst] = c
			nDst++
			nSrc++
			continue
		}
		octet, took, is := escape(src[nSrc:], atEOF)
		if took == 0 {
			return nDst, nSrc, transform.ErrShortSrc
		}
		if is {
			dst[nDst] = octet
			nDst++
		}
		nSrc += took
	}
	if nSrc < len(src) {
		return nDst, nSrc, transform.ErrShortDst
	}
	return nDst, nSrc, nil
}

// escape reads what begins with =: an octet, or a soft line break, which is
// none. took is 0 when more must be seen.
func escape(s []byte, atEOF bool) (octet byte, took int, is bool) {
	if len(s) >= 3 && unhex(s[1]) < 16 && unhex(s[2]) < 16 {
		return unhex(s[1])<<4 | unhex(s[2]), 3, true
	}
	i := 1
	for i < len(s) && i < maxSoftBreak && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	switch {
	case i < len(s) && s[i] == '\n':
		return 0, i + 1, false
	case i == len(s) && atEOF && i != 2:
		return 0, i, false // a soft line break at the end
	case i == len(s) && !atEOF, len(s) == 2 && !atEOF && unhex(s[1]) < 16:
		return 0, 0, false
	}
	return '=', 1, true
}
