package imapd

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
	"peyk/internal/mimescan"
)

// Mailbox names are in modified UTF-7 on the wire (RFC 3501 §5.1.3), in UTF-8
// everywhere else.

// wireBase64 is the base64 of modified UTF-7.
func wireBase64() *base64.Encoding {
	return base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()
}

// encodeName returns the wire form of a name.
func encodeName(name string) string {
	if strings.IndexFunc(name, shifted) < 0 && strings.IndexByte(name, '&') < 0 {
		return name
	}
	var b strings.Builder
	for name != "" {
		n := strings.IndexFunc(name, shifted)
		if n < 0 {
			n = len(name)
		}
		b.WriteString(strings.ReplaceAll(name[:n], "&", "&-"))
		name = name[n:]
		n = strings.IndexFunc(name, func(r rune) bool { return !shifted(r) })
		if n < 0 {
			n = len(name)
		}
		encodeShifted(&b, name[:n])
		name = name[n:]
	}
	return b.String()
}

func shifted(r rune) bool { return r < 0x20 || r > 0x7e }

func encodeShifted(b *strings.Builder, s string) {
	if s == "" {
		return
	}
	var raw []byte
	for _, u := range utf16.Encode([]rune(s)) {
		raw = append(raw, byte(u>>8), byte(u))
	}
	b.WriteString("&" + wireBase64().EncodeToString(raw) + "-")
}

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
	if strings.IndexByte(wire, '&') < 0 {
		return wire, strings.IndexFunc(wire, shifted) < 0
	}
	var b strings.Builder
	for rest := wire; rest != ""; {
		plain, code, found := strings.Cut(rest, "&")
		b.WriteString(plain)
		if !found {
			break
		}
		code, after, closed := strings.Cut(code, "-")
		if !closed || !decodeShifted(&b, code) {
			return "", false
		}
		rest = after
	}
	name := b.String()
	return name, utf8.ValidString(name) && encodeName(name) == wire
}

func decodeShifted(b *strings.Builder, code string) bool {
	if code == "" {
		b.WriteByte('&')
		return true
	}
	raw, err := wireBase64().DecodeString(code)
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
