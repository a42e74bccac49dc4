package dsn

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the longest text of others that a field holds, in octets.
const maxText = 2000

// printable makes a text that others chose fit for a field: one line, no
// control characters, UTF-8 or, where that cannot be sent, ASCII. Runs of
// blanks become one, so that folding loses nothing.
func printable(s string, utf8ok bool) string {
	if len(s) > maxText {
		s = s[:maxText]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1] // the first part of a rune is cut with its rest
		}
	}
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c), unicode.IsControl(c):
			return ' '
		case c > 0x7e && !utf8ok, !unicode.IsGraphic(c):
			return '?'
		}
		return c
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// folded appends name and value, folded at blanks (RFC 5322 §2.2.3), with its
// CRLF. Continuation lines begin with indent and a blank. A word longer than
// a line may be is cut.
func folded(b []byte, name, value, indent string) []byte {
	b = append(b, name...)
	column := len(name)
	first := true
	for word := range strings.FieldsSeq(value) {
		word = word[:min(len(word), maxLine-100)]
		if !first && column+1+len(word) > foldAt {
			b = append(b, "\r\n"...)
			b = append(b, indent...)
			column, first = len(indent), false
			b = append(b, ' ')
			column++
		} else if !first {
			b = append(b, ' ')
			column++
		}
		b = append(b, word...)
		column += len(word)
		first = false
	}
	return append(b, "\r\n"...)
}
