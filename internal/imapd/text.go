package imapd

import (
	"bytes"
	"strings"

	"peyk/internal/casemap"
	"peyk/internal/mailtext"
	"peyk/internal/mimescan"
)

// firstField returns the unfolded value of the first field of a name.
func firstField(header []byte, name string) (text string) {
	mimescan.Fields(header, func(n, value []byte) bool {
		if !strings.EqualFold(string(n), name) {
			return true
		}
		text = mimescan.Unfold(value)
		return false
	})
	return text
}

// A headerFinder looks for text in header fields, in buffers that stay.
type headerFinder struct {
	field  mailtext.FieldText
	folded []byte
}

// has reports whether a field of the name contains the needle, which is
// folded. An empty needle asks only for the field (RFC 3501 §6.4.4).
func (h *headerFinder) has(header []byte, name string, needle []byte) (has bool) {
	mimescan.Fields(header, func(n, value []byte) bool {
		if len(n) == len(name) && strings.EqualFold(string(n), name) {
			has = len(needle) == 0 || h.in(n, value, needle)
		}
		return !has
	})
	return has
}

// hasAddress looks into addresses as ENVELOPE has them (RFC 3501 §6.4.4),
// where a field writes them with comments, blanks or quotes inside.
func (h *headerFinder) hasAddress(header []byte, name string, needle []byte) (has bool) {
	mimescan.Fields(header, func(n, value []byte) bool {
		if len(n) != len(name) || !strings.EqualFold(string(n), name) || !bytes.ContainsAny(value, "()\\") && !spacedAt(value) {
			return true
		}
		mimescan.Addresses(value, func(a mimescan.Address) {
			var fold casemap.Folder
			h.folded = fold.Flush(fold.Append(h.folded[:0], []byte(a.Mailbox+"@"+a.Domain)))
			has = has || bytes.Contains(h.folded, needle)
		})
		return !has
	})
	return has
}

// spacedAt reports whether a blank stands beside an at sign.
func spacedAt(value []byte) bool {
	for i, c := range value {
		if c == '@' && (i > 0 && value[i-1] <= ' ' || i+1 < len(value) && value[i+1] <= ' ') {
			return true
		}
	}
	return false
}

func (h *headerFinder) in(name, value, needle []byte) bool {
	var fold casemap.Folder
	h.folded = fold.Flush(fold.Append(h.folded[:0], h.field.Decode(name, value)))
	return bytes.Contains(h.folded, needle)
}
