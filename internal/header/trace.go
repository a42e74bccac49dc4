package header

import (
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxFold  = 78  // RFC 5322 §2.1.1: a line should not be longer
	maxToken = 255 // a domain name has no more octets (RFC 5321 §4.5.3.1.2)
	maxPath  = 512 // longest address that goes into a field
)

// Received is a trace field (RFC 5321 §4.4). Empty parts are left out.
//
//	Received: from HELO (NAME [ADDR])
//		by BY (Peyk) with WITH id ID
//		for <FOR>; Mon, 02 Jan 2006 15:04:05 +0000
type Received struct {
	Helo string    // what the client called itself; any bytes
	Name string    // verified name of the client's address
	Addr string    // IP address of the client, without brackets
	TLS  string    // version and cipher, for a comment
	By   string    // this host
	With string    // protocol: ESMTP, ESMTPSA, LMTP … (RFC 3848)
	ID   string    // queue id
	For  string    // recipient in wire form, only where it is the only one
	Date time.Time // when
}

// Append appends the folded field with its CRLF. Whatever the parts hold, the
// result is one field of valid tokens in lines of at most 998 octets.
func (r Received) Append(dst []byte) []byte {
	w := folder{dst: append(dst, "Received:"...), col: len("Received:")}
	r.from(&w)
	if r.By != "" {
		w.word("by " + Token(r.By) + " (Peyk)")
	}
	if r.With != "" {
		w.word("with " + Token(r.With))
	}
	if r.ID != "" {
		w.word("id " + Token(r.ID))
	}
	if path, ok := pathText(r.For); ok && path != "" {
		w.word("for <" + path + ">")
	}
	w.dst = append(w.dst, ';')
	w.word(r.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	return append(w.dst, '\r', '\n')
}

func (r Received) from(w *folder) {
	if r.Helo == "" && r.Addr == "" {
		return
	}
	helo := r.Helo
	if helo == "" {
		helo = "unknown"
	}
	w.word("from " + Token(helo))
	var info []string
	if r.Name != "" {
		info = append(info, Token(r.Name))
	}
	if r.Addr != "" {
		info = append(info, literal(r.Addr))
	}
	if len(info) > 0 {
		w.word("(" + strings.Join(info, " ") + ")")
	}
	if r.TLS != "" {
		w.word("(" + comment(r.TLS) + ")")
	}
}

// A folder appends words and folds the line before one that does not fit.
type folder struct {
	dst []byte
	col int
}

func (w *folder) word(s string) {
	if w.col+1+len(s) > maxFold && w.col > 1 {
		w.dst = append(w.dst, "\r\n\t"...)
		w.col = 1
	} else {
		w.dst = append(w.dst, ' ')
		w.col++
	}
	w.dst = append(w.dst, s...)
	w.col += len(s)
}

// Token returns s as one token that can stand in a trace field, whatever the
// client sent: any byte but letters, digits and .-_+:[] becomes '?', and it is
// cut at 255 octets. "" becomes "unknown".
func Token(s string) string {
	if s == "" {
		return "unknown"
	}
	s = s[:min(len(s), maxToken)]
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = tokenByte(s[i])
	}
	if clean {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if !tokenByte(c) {
			b[i] = '?'
		}
	}
	return string(b)
}

func tokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte(".-_+:[]", c) >= 0
}

// literal returns an address literal (RFC 5321 §4.1.3).
func literal(addr string) string {
	addr = strings.Trim(addr, "[]")
	if strings.Contains(addr, ":") && !strings.HasPrefix(addr, "IPv6:") {
		addr = "IPv6:" + addr
	}
	return "[" + strings.Trim(Token(addr), "[]") + "]"
}

// comment makes s safe between parentheses.
func comment(s string) string {
	s = s[:min(len(s), maxToken)]
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`()\`, r) {
			return '?'
		}
		return r
	}, s)
}

// pathText returns an address that can stand between < and >, and whether it
// can: control bytes, brackets, what is not UTF-8 and excessive length would break out.
func pathText(s string) (string, bool) {
	if len(s) > maxPath || !utf8.ValidString(s) {
		return "", false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f || c == '<' || c == '>' {
			return "", false
		}
	}
	return s, true
}

// AppendReturnPath appends the Return-Path field of final delivery (RFC 5321
// §4.4) with its CRLF. sender is in wire form without brackets; "" is the null
// sender, and so is one that no field can hold.
func AppendReturnPath(dst []byte, sender string) []byte {
	path, _ := pathText(sender)
	dst = append(dst, "Return-Path: <"...)
	dst = append(dst, path...)
	return append(dst, ">\r\n"...)
}

// AppendDeliveredTo appends the Delivered-To field of final delivery, by which
// loops are found, with its CRLF. It appends nothing if no field can hold the
// address.
func AppendDeliveredTo(dst []byte, recipient string) []byte {
	path, ok := pathText(recipient)
	if !ok || path == "" {
		return dst
	}
	dst = append(dst, "Delivered-To: "...)
	dst = append(dst, path...)
	return append(dst, '\r', '\n')
}
