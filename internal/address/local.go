package address

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"peyk/internal/status"
)

// checkBytes refuses what may stand nowhere in an address: control
// characters, octets that are not UTF-8, and characters that would turn the
// line around on an admin's terminal.
func checkBytes(s string, utf8OK bool) error {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			return bad("not UTF-8")
		case r >= utf8.RuneSelf && !utf8OK:
			return status.New(553, "5.6.7", "cannot use this address: it is not ASCII and SMTPUTF8 was not asked for")
		case unicode.IsControl(r):
			return bad("control character")
		case isFormat(r):
			return bad("character that is not for addresses")
		}
		i += n
	}
	return nil
}

// isFormat reports line separators and bidirectional embeddings, overrides and
// isolates. Joiners stay: Persian needs them.
func isFormat(r rune) bool {
	return r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// parseLocal reads a local part at the start of s and returns it unquoted.
func parseLocal(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		local, rest, err = parseQuoted(s)
	} else {
		local, rest, err = parseDotString(s)
	}
	if err == nil && len(s)-len(rest) > MaxLocal { // RFC 5321 §4.5.3.1.1
		err = bad("local part longer than 64 octets")
	}
	return local, rest, err
}

// parseQuoted reads a Quoted-string: blanks and everything printable,
// backslash and quote only behind a backslash.
func parseQuoted(s string) (local, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			i++
			if i == len(s) || s[i] >= utf8.RuneSelf { // quoted-pairSMTP is ASCII only
				return "", "", bad("backslash before nothing that it can quote")
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", bad("quoted local part without an end")
}

// parseDotString reads a Dot-string: atoms with single dots between them.
func parseDotString(s string) (local, rest string, err error) {
	end := 0
	for end < len(s) && (s[end] == '.' || isAtext(s[end])) {
		end++
	}
	local, rest = s[:end], s[end:]
	if !isDotString(local) {
		return "", "", bad("local part is empty or has a dot too many")
	}
	if rest != "" && rest[0] != '@' {
		return "", "", bad("local part with a character that must be quoted")
	}
	return local, rest, nil
}

// isDotString reports whether local may go on the wire without quotes.
func isDotString(local string) bool {
	afterDot := true
	for i := 0; i < len(local); i++ {
		switch {
		case local[i] != '.':
			if !isAtext(local[i]) {
				return false
			}
			afterDot = false
		case afterDot:
			return false
		default:
			afterDot = true
		}
	}
	return !afterDot
}

// isAtext is atext of RFC 5322 §3.2.3, with the octets of UTF-8 added as
// RFC 6531 §3.3 says; checkBytes has validated those.
func isAtext(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c >= utf8.RuneSelf:
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// quoteLocal returns the wire form of a local part.
func quoteLocal(local string) string {
	if isDotString(local) {
		return local
	}
	b := make([]byte, 0, len(local)+2)
	b = append(b, '"')
	for i := 0; i < len(local); i++ {
		if local[i] == '"' || local[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, local[i])
	}
	return string(append(b, '"'))
}
