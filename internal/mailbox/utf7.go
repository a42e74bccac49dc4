package mailbox

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// utf7Alphabet is the base64 of modified UTF-7: "," for "/", no padding
// (RFC 3501 §5.1.3).
const utf7Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,"

// EncodeUTF7 returns s, which must be valid UTF-8, in modified UTF-7 (RFC 3501
// §5.1.3).
func EncodeUTF7(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := asciiRun(s)
		b.WriteString(strings.ReplaceAll(s[:n], "&", "&-"))
		s = s[n:]
		n = shiftedRun(s)
		encodeShifted(&b, s[:n])
		s = s[n:]
	}
	return b.String()
}

func asciiRun(s string) int {
	n := 0
	for n < len(s) && 0x20 <= s[n] && s[n] <= 0x7e {
		n++
	}
	return n
}

func shiftedRun(s string) int {
	n := 0
	for n < len(s) && (s[n] < 0x20 || s[n] > 0x7e) {
		n++
	}
	return n
}

func encodeShifted(b *strings.Builder, s string) {
	if s == "" {
		return
	}
	var raw []byte
	for _, u := range utf16.Encode([]rune(s)) {
		raw = append(raw, byte(u>>8), byte(u))
	}
	b.WriteByte('&')
	b.WriteString(utf7Encoding().EncodeToString(raw))
	b.WriteByte('-')
}

func utf7Encoding() *base64.Encoding {
	return base64.NewEncoding(utf7Alphabet).WithPadding(base64.NoPadding).Strict()
}

// DecodeUTF7 returns the UTF-8 of a modified UTF-7 string. It accepts only
// what EncodeUTF7 writes, so that a folder has exactly one name.
func DecodeUTF7(s string) (string, bool) {
	if strings.IndexByte(s, '&') < 0 {
		return s, asciiRun(s) == len(s)
	}
	var b strings.Builder
	for rest := s; rest != ""; {
		plain, shifted, found := strings.Cut(rest, "&")
		b.WriteString(plain)
		if !found {
			break
		}
		code, after, closed := strings.Cut(shifted, "-")
		if !closed || !decodeShifted(&b, code) {
			return "", false
		}
		rest = after
	}
	out := b.String()
	return out, utf8.ValidString(out) && EncodeUTF7(out) == s
}

func decodeShifted(b *strings.Builder, code string) bool {
	if code == "" {
		b.WriteByte('&')
		return true
	}
	raw, err := utf7Encoding().DecodeString(code)
	if err != nil || len(raw)%2 != 0 {
		return false
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
	}
	b.WriteString(string(utf16.Decode(units)))
	return true
}
