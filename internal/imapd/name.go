package imapd

import (
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
	"peyk/internal/mimescan"
)

// Mailbox names are in modified UTF-7 on the wire (RFC 3501 §5.1.3), and in
// UTF-8 once the client has asked for it (RFC 9755 §3, RFC 9051 §5.1). They are
// in UTF-8 everywhere else.

func (on features) utf8() bool { return on.has(utf8Accept | rev2) }

// encodeName returns the wire form of a name.
func encodeName(name string) string { return mailbox.EncodeUTF7(name) }

// decodeName understands a name from the wire.
func (on features) decodeName(wire string) (string, error) {
	name, ok := on.decodePattern(wire)
	if !ok && on.utf8() {
		return "", no(imap.ResponseCodeCannot, "cannot use this mailbox name: it is not valid UTF-8")
	}
	if !ok {
		return "", no(imap.ResponseCodeCannot, "cannot use this mailbox name: it is not valid modified UTF-7")
	}
	return mailbox.CanonicalName(name), nil
}

// decodePattern is decodeName for names with wildcards.
func (on features) decodePattern(wire string) (string, bool) {
	if on.utf8() {
		return wire, utf8.ValidString(wire)
	}
	if !isASCII(wire) {
		// No modified UTF-7. Some clients, go-imap among them, take the word
		// IMAP4rev2 in CAPABILITY for leave to write UTF-8.
		return wire, utf8.ValidString(wire)
	}
	return mailbox.DecodeUTF7(wire)
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// appendName appends a mailbox name as an astring.
func (on features) appendName(dst []byte, name string) []byte {
	if on.utf8() {
		return appendUTF8(dst, name)
	}
	return appendAstring(dst, encodeName(name))
}

// appendQuotedName is appendName for where a string is wanted.
func (on features) appendQuotedName(dst []byte, name string) []byte {
	if on.utf8() {
		return appendUTF8Quoted(dst, name)
	}
	return mimescan.AppendString(dst, encodeName(name))
}

// appendUTF8 appends an astring, as a quoted string where it is not ASCII
// (RFC 9755 §3).
func appendUTF8(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return appendUTF8Quoted(dst, s)
		}
	}
	return appendAstring(dst, s)
}

func appendUTF8Quoted(dst []byte, s string) []byte {
	if !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00") {
		return mimescan.AppendLiteral(dst, s)
	}
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

func appendAstring(dst []byte, s string) []byte {
	if s == "" || strings.EqualFold(s, "NIL") {
		return mimescan.AppendString(dst, s)
	}
	for i := 0; i < len(s); i++ {
		if !isAstringChar(s[i]) {
			return mimescan.AppendString(dst, s)
		}
	}
	return append(dst, s...)
}
