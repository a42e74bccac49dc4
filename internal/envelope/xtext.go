package envelope

import "fmt"

const upperHex = "0123456789ABCDEF"

// EncodeXtext returns s in the xtext encoding (RFC 3461 §4).
func EncodeXtext(s string) string { return string(appendXtext(nil, s)) }

func appendXtext(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c > ' ' && c < 0x7f && c != '+' && c != '=' {
			dst = append(dst, c)
			continue
		}
		dst = append(dst, '+', upperHex[c>>4], upperHex[c&15])
	}
	return dst
}

// DecodeXtext is the reverse of EncodeXtext (RFC 3461 §4). Characters that
// must be encoded but are not are an error.
func DecodeXtext(s string) (string, error) {
	if plainXtext(s) {
		return s, nil
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || c == '=' {
			return "", fmt.Errorf("cannot decode xtext: octet %#02x at %d", c, i)
		}
		if c == '+' {
			if i+2 >= len(s) || hexValue(s[i+1]) < 0 || hexValue(s[i+2]) < 0 {
				return "", fmt.Errorf("cannot decode xtext: bad escape at %d", i)
			}
			c = byte(hexValue(s[i+1])<<4 | hexValue(s[i+2]))
			i += 2
		}
		out = append(out, c)
	}
	return string(out), nil
}

func plainXtext(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '=' || c == '+' {
			return false
		}
	}
	return true
}

// hexValue knows upper-case digits only: xtext has no others.
func hexValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
