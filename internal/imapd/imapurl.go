package imapd

import (
	"math"
	"net/url"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// A messageURL is a relative IMAP URL of a message or a part of one (RFC 5092
// §6), as CATENATE wants it.
type messageURL struct {
	mailbox  string // UTF-8; empty: the selected one
	validity uint32 // 0: any
	uid      uint32
	section  string
	partial  *imap.SectionPartial
}

// maxURL is the longest URL, in octets.
const maxURL = 4096

// parseMessageURL understands /mailbox;UIDVALIDITY=n/;UID=n/;SECTION=s/;PARTIAL=n.n
// and the same without a mailbox. A ";" of a mailbox's name comes encoded, so
// it stands between the parts only.
func parseMessageURL(text string) (u messageURL, ok bool) {
	if len(text) > maxURL || strings.HasPrefix(text, "//") || strings.Contains(text, "://") {
		return u, false // another server's, or nobody's
	}
	parts := strings.Split(text, ";")
	if len(parts) < 2 || len(parts) > 5 {
		return u, false
	}
	before := -1
	for i, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		if i+2 < len(parts) { // RFC 5092 §11: "/;" before all but UIDVALIDITY
			if value, ok = strings.CutSuffix(value, "/"); !ok {
				return u, false
			}
		}
		rank, ok := u.set(strings.ToUpper(name), value)
		if !ok || rank <= before {
			return u, false
		}
		before = rank
	}
	return u, u.uid > 0 && u.setMailbox(parts[0])
}

// setMailbox takes what stands before the first ";".
func (u *messageURL) setMailbox(path string) (ok bool) {
	if path == "" {
		return u.validity == 0 // ";UID=n" is of the selected mailbox
	}
	path = strings.TrimPrefix(path, "/")
	if u.validity == 0 {
		if path, ok = strings.CutSuffix(path, "/"); !ok {
			return false
		}
	}
	name, err := url.PathUnescape(path)
	u.mailbox = name
	return err == nil && name != ""
}

// set takes one part and returns its place in the order of parts.
func (u *messageURL) set(name, value string) (rank int, ok bool) {
	switch name {
	case "UIDVALIDITY":
		u.validity, ok = nzNumber(value)
		return 0, ok
	case "UID":
		u.uid, ok = nzNumber(value)
		return 1, ok
	case "SECTION":
		section, err := url.PathUnescape(value)
		u.section = section
		return 2, err == nil && section != "" && strings.Trim(section, "\r\n") == section
	case "PARTIAL":
		return 3, u.setPartial(value)
	}
	return 0, false
}

// setPartial takes offset or offset.length (RFC 5092 §6.1).
func (u *messageURL) setPartial(value string) bool {
	from, length, given := strings.Cut(value, ".")
	offset, err := strconv.ParseUint(from, 10, 63)
	if err != nil {
		return false
	}
	u.partial = &imap.SectionPartial{Offset: int64(offset), Size: math.MaxInt64}
	if !given {
		return true
	}
	n, err := strconv.ParseUint(length, 10, 63)
	u.partial.Size = int64(n)
	return err == nil && n > 0
}

func nzNumber(digits string) (uint32, bool) {
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && n > 0
}

// asCode makes a URL fit for a response code (RFC 4469 §5): what would end the
// code, or the line, is encoded.
func asCode(text string) string {
	var b strings.Builder
	for i := 0; i < len(text) && b.Len() < maxURL; i++ {
		if c := text[i]; c > ' ' && c < 0x7f && strings.IndexByte(`]\"`, c) < 0 {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b.WriteByte('%')
		b.WriteByte(hex[text[i]>>4])
		b.WriteByte(hex[text[i]&15])
	}
	return b.String()
}
