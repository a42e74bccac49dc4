package mailtext

import "strings"

// Extended decodes an extended parameter value, CHARSET'LANGUAGE'TEXT with
// percent signs (RFC 2231 §4). What is none stays as it stands.
func Extended(value string) string {
	name, rest, ok := strings.Cut(value, "'")
	_, text, tagged := strings.Cut(rest, "'")
	if !ok || !tagged {
		return valid(value)
	}
	octets := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) && unhex(text[i+1]) < 16 && unhex(text[i+2]) < 16 {
			octets = append(octets, unhex(text[i+1])<<4|unhex(text[i+2]))
			i += 2
			continue
		}
		octets = append(octets, text[i])
	}
	if enc, _ := lookup(name); enc != nil {
		if decoded, err := enc.NewDecoder().Bytes(octets); err == nil {
			octets = decoded
		}
	}
	return valid(string(octets))
}
