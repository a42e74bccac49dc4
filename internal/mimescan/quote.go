package mimescan

import (
	"strconv"
	"strings"
)

// maxEscapes is how many backslashes a quoted string may need before a
// literal is the shorter form.
const maxEscapes = 4

// AppendString appends s as an IMAP quoted string or, where that form cannot
// hold it, as a literal (RFC 3501 §4.3).
func AppendString(dst []byte, s string) []byte {
	escapes := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			if escapes++; escapes > maxEscapes {
				return AppendLiteral(dst, s)
			}
		case c >= 0x80 || c == '\r' || c == '\n' || c == 0:
			return AppendLiteral(dst, s)
		}
	}
	dst = append(dst, '"')
	if escapes == 0 {
		dst = append(dst, s...)
		return append(dst, '"')
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// AppendLiteral appends s as a literal. A NUL, which no literal may hold,
// becomes the octet 0x80.
func AppendLiteral(dst []byte, s string) []byte {
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, "}\r\n"...)
	from := len(dst)
	dst = append(dst, s...)
	for i := from; i < len(dst); i++ {
		if dst[i] == 0 {
			dst[i] = 0x80
		}
	}
	return dst
}

// AppendNString is AppendString, with NIL for the empty string.
func AppendNString(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "NIL"...)
	}
	return AppendString(dst, s)
}

// AppendHuman is AppendString for text that people read: runs of blanks
// become one space. What this changes, or what would need a backslash, is
// sent as a literal.
func AppendHuman(dst []byte, s string) []byte {
	text := s
	blanks, quotes := looks(s)
	if blanks {
		text = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' }), " ")
	}
	if text != "" && text != s || quotes {
		return AppendLiteral(dst, text)
	}
	return AppendString(dst, text)
}

// looks reports whether text has other blanks than single spaces between
// words, and whether it has quotes or backslashes.
func looks(s string) (blanks, quotes bool) {
	last := byte(' ')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\t', c == ' ' && last == ' ':
			blanks = true
		case c == '"', c == '\\':
			quotes = true
		}
		last = s[i]
	}
	return blanks || last == ' ' && s != "", quotes
}
