package imapd

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
	"peyk/internal/mimescan"
)

// Mailbox names are in modified UTF-7 on the wire (RFC 3501 §5.1.3), in UTF-8
// everywhere else.

// encodeName returns the wire form of a name.
func encodeName(name string) string { return mailbox.EncodeUTF7(name) }

// decodeName understands a name from the wire. A name has one wire form only,
// so that nobody can name a mailbox in two ways.
func decodeName(wire string) (string, error) {
	name, ok := decodePattern(wire)
	if !ok {
		return "", no(imap.ResponseCodeCannot, "cannot use this mailbox name: it is not valid modified UTF-7")
	}
	return mailbox.CanonicalName(name), nil
}

// decodePattern is decodeName for names with wildcards.
func decodePattern(wire string) (string, bool) {
	return mailbox.DecodeUTF7(wire)
}

// appendName appends a mailbox name as an astring.
func appendName(dst []byte, name string) []byte { return appendAstring(dst, encodeName(name)) }

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
