package imapwire

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"unicode/utf16"
)

var modified = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()

// DecodeName undoes the encoding of mailbox names (RFC 3501 §5.1.3); there is
// only one for each name, and only that one is taken.
func DecodeName(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return "", errors.New("an octet that is not printable ASCII")
		}
		if s[i] != '&' {
			b.WriteByte(s[i])
			continue
		}
		end := strings.IndexByte(s[i:], '-')
		if end < 0 {
			return "", errors.New("& without -")
		}
		part, err := decodeShift(s[i+1 : i+end])
		if err != nil {
			return "", err
		}
		b.WriteString(part)
		if i += end; end > 1 && i+1 < len(s) && s[i+1] == '&' && !strings.HasPrefix(s[i+1:], "&-") {
			return "", errors.New("a shift right behind a shift")
		}
	}
	return b.String(), nil
}

func decodeShift(s string) (string, error) {
	if s == "" {
		return "&", nil
	}
	raw, err := modified.DecodeString(s)
	if err != nil || len(raw)%2 != 0 {
		return "", errors.New("bad base64")
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
	}
	text := utf16.Decode(units)
	if !slices.Equal(utf16.Encode(text), units) {
		return "", errors.New("half of a surrogate pair")
	}
	for _, r := range text {
		if r >= ' ' && r <= '~' {
			return "", errors.New("a character that must not be encoded")
		}
	}
	return string(text), nil
}

// EncodeName encodes a mailbox name (RFC 3501 §5.1.3).
func EncodeName(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		n := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
		if n < 0 {
			n = len(s)
		}
		b.WriteString(strings.ReplaceAll(s[:n], "&", "&-"))
		s = s[n:]
		n = strings.IndexFunc(s, func(r rune) bool { return r >= ' ' && r <= '~' })
		if n < 0 {
			n = len(s)
		}
		if n == 0 {
			continue
		}
		var raw []byte
		for _, u := range utf16.Encode([]rune(s[:n])) {
			raw = append(raw, byte(u>>8), byte(u))
		}
		b.WriteString("&" + modified.EncodeToString(raw) + "-")
		s = s[n:]
	}
	return b.String()
}
