// Package envelope reads and writes the head of a queue file: the batch SMTP
// commands that would recreate the transaction, up to and including the BDAT
// command whose octets follow (peyk-queue(5)).
//
//	XFORWARD IDENT=06dzs3nyd…
//	XCLIENT ADDR=192.0.2.7 NAME=mx.example.net HELO=mx.example.net PROTO=ESMTPS
//	MAIL FROM:<a@example.net> SIZE=000000000048213 BODY=8BITMIME RET=HDRS ENVID=Q1
//	RCPT TO:<b@example.org> NOTIFY=FAILURE ORCPT=rfc822;b@example.org
//	NOOP crc32=1b2f9d04/8d3c17aa
//	BDAT 000000000048213 LAST
//
// Every line ends with CRLF. The octet count is exact and the numbers have a
// fixed width, so the head can be written again in place once the message is
// known. The NOOP line (RFC 5321 §4.1.1.9 gives it a free argument) carries
// two checksums, of the head and of the message: a truncated or altered file
// never parses, and is never delivered to anybody.
//
// There is one spelling for each envelope: Read accepts exactly the octets
// that Append writes.
package envelope

import (
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Limits of an envelope. Check holds writers to them, Read holds files.
const (
	MaxRecipients = 10000   // recipients of one message
	MaxAddress    = 1000    // octets of an address
	MaxLine       = 4096    // octets of a line, with its CRLF
	MaxHead       = 8 << 20 // octets of a whole head
	maxAttribute  = 255     // octets of an attribute of the client; longer ones are cut
	maxEnvID      = 100     // RFC 3461 §4.4
	maxORcpt      = 500     // RFC 3461 §4.2
	countWidth    = 15      // digits of the octet count
)

// Envelope is everything about a message that is not in the message.
type Envelope struct {
	ID         string      // queue id, the file's name
	Client     Client      // who sent it
	Sender     string      // reverse-path in wire form without the brackets; "" is the null sender
	Body       string      // "", "7BIT", "8BITMIME" (RFC 6152) or "BINARYMIME" (RFC 3030)
	SMTPUTF8   bool        // RFC 6531
	RequireTLS bool        // RFC 8689
	Ret        string      // "", "FULL" or "HDRS" (RFC 3461 §4.3)
	EnvID      string      // decoded (RFC 3461 §4.4)
	Size       int64       // octets of the message
	Sum        uint32      // CRC-32 (IEEE) of the message
	Recipients []Recipient // at least one
}

// Client says where a message came from: the attributes of XCLIENT. An empty
// one is unavailable.
type Client struct {
	Addr  string // IP address
	Name  string // its verified name
	Helo  string // what it called itself
	Proto string // SMTP, ESMTP, ESMTPSA, … (RFC 3848)
	Login string // who logged in
}

// Recipient is one RCPT command.
type Recipient struct {
	Address string   // forward-path in wire form without the brackets
	Notify  []string // NEVER, or some of SUCCESS FAILURE DELAY (RFC 3461 §4.1)
	ORcpt   string   // original recipient, decoded: "rfc822;a@example.org" (RFC 3461 §4.2)
}

// Wants reports whether the sender asked for reports of one kind: SUCCESS,
// FAILURE or DELAY. A sender who said nothing hears of failures and delays
// (RFC 3461 §4.1).
func (r *Recipient) Wants(kind string) bool {
	if len(r.Notify) == 0 {
		return kind != "SUCCESS"
	}
	return slices.Contains(r.Notify, kind)
}

// Append appends the head of a queue file to dst. Its length depends on
// neither Size nor Sum. The envelope must have passed Check.
func (e *Envelope) Append(dst []byte) []byte {
	start := len(dst)
	if e.ID != "" {
		dst = append(dst, "XFORWARD IDENT="...)
		dst = appendXtext(dst, e.ID)
		dst = append(dst, "\r\n"...)
	}
	dst = e.Client.append(dst)
	dst = e.appendMail(dst)
	for i := range e.Recipients {
		dst = e.Recipients[i].append(dst)
	}
	return e.appendTail(dst, start)
}

func (e *Envelope) appendTail(dst []byte, start int) []byte {
	dst = append(dst, "NOOP crc32="...)
	mark := len(dst)
	dst = append(dst, "00000000/"...)
	dst = appendHex(dst, e.Sum)
	dst = append(dst, "\r\nBDAT "...) // RFC 3030 §2
	dst = appendCount(dst, e.Size)
	dst = append(dst, " LAST\r\n"...)
	sum := crc32.ChecksumIEEE(dst[start:mark])
	sum = crc32.Update(sum, crc32.IEEETable, dst[mark+8:])
	appendHex(dst[:mark], sum)
	return dst
}

func (c *Client) append(dst []byte) []byte {
	if *c == (Client{}) {
		return dst
	}
	addr := c.Addr
	if strings.Contains(addr, ":") {
		addr = "IPV6:" + addr
	}
	dst = append(dst, "XCLIENT"...)
	for _, a := range [...]struct{ name, value string }{
		{" ADDR=", addr}, {" NAME=", c.Name}, {" HELO=", c.Helo}, {" PROTO=", c.Proto}, {" LOGIN=", c.Login},
	} {
		if a.value == "" {
			continue
		}
		dst = append(dst, a.name...)
		dst = appendXtext(dst, a.value[:min(len(a.value), maxAttribute)])
	}
	return append(dst, "\r\n"...)
}

func (e *Envelope) appendMail(dst []byte) []byte {
	dst = append(dst, "MAIL FROM:<"...)
	dst = append(dst, e.Sender...)
	dst = append(dst, "> SIZE="...)
	dst = appendCount(dst, e.Size)
	if e.Body != "" {
		dst = append(dst, " BODY="...)
		dst = append(dst, e.Body...)
	}
	if e.SMTPUTF8 {
		dst = append(dst, " SMTPUTF8"...)
	}
	if e.RequireTLS {
		dst = append(dst, " REQUIRETLS"...)
	}
	if e.Ret != "" {
		dst = append(dst, " RET="...)
		dst = append(dst, e.Ret...)
	}
	if e.EnvID != "" {
		dst = append(dst, " ENVID="...)
		dst = appendXtext(dst, e.EnvID)
	}
	return append(dst, "\r\n"...)
}

func (r *Recipient) append(dst []byte) []byte {
	dst = append(dst, "RCPT TO:<"...)
	dst = append(dst, r.Address...)
	dst = append(dst, '>')
	for i, n := range r.Notify {
		dst = append(dst, [...]string{" NOTIFY=", ","}[min(i, 1)]...)
		dst = append(dst, n...)
	}
	if kind, addr, ok := strings.Cut(r.ORcpt, ";"); ok {
		dst = append(dst, " ORCPT="...)
		dst = append(dst, kind...)
		dst = append(dst, ';')
		dst = appendXtext(dst, addr)
	}
	return append(dst, "\r\n"...)
}

func appendCount(dst []byte, n int64) []byte {
	for i := int64(1e14); i > 0; i /= 10 {
		dst = append(dst, byte('0'+n/i%10))
	}
	return dst
}

func appendHex(dst []byte, n uint32) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789abcdef"[n>>shift&15])
	}
	return dst
}

// Check reports why an envelope cannot be queued: nothing that passes it is
// refused by Read.
func (e *Envelope) Check() error {
	if err := e.checkMail(); err != nil {
		return err
	}
	if len(e.Recipients) == 0 {
		return errors.New("cannot queue a message without recipients")
	}
	if len(e.Recipients) > MaxRecipients {
		return fmt.Errorf("cannot queue a message for %d recipients: more than %d", len(e.Recipients), MaxRecipients)
	}
	for i := range e.Recipients {
		if err := e.Recipients[i].check(e.SMTPUTF8); err != nil {
			return err
		}
	}
	return nil
}

func (e *Envelope) checkMail() error {
	if len(e.ID) > 64 {
		return errors.New("cannot use a queue id of more than 64 octets")
	}
	if a := e.Client.Addr; a != "" {
		if _, err := netip.ParseAddr(a); err != nil || len(a) > 64 {
			return fmt.Errorf("cannot use client address %q", a)
		}
	}
	if e.Sender != "" {
		if err := checkPath(e.Sender, e.SMTPUTF8); err != nil {
			return err
		}
	}
	if !slices.Contains([]string{"", "7BIT", "8BITMIME", "BINARYMIME"}, e.Body) {
		return fmt.Errorf("cannot use body type %q", e.Body)
	}
	if !slices.Contains([]string{"", "FULL", "HDRS"}, e.Ret) {
		return fmt.Errorf("cannot use RET=%q", e.Ret)
	}
	if len(e.EnvID) > maxEnvID {
		return fmt.Errorf("cannot use an envelope id of more than %d octets", maxEnvID)
	}
	if e.Size < 0 || e.Size >= 1e15 {
		return fmt.Errorf("cannot use size %d", e.Size)
	}
	return nil
}

func (r *Recipient) check(utf8ok bool) error {
	if err := checkPath(r.Address, utf8ok); err != nil {
		return err
	}
	if len(r.Notify) > 3 {
		return fmt.Errorf("cannot use NOTIFY=%s", strings.Join(r.Notify, ","))
	}
	for i, n := range r.Notify {
		never := n == "NEVER" && len(r.Notify) == 1
		kind := n == "SUCCESS" || n == "FAILURE" || n == "DELAY"
		if !never && !kind || slices.Contains(r.Notify[:i], n) {
			return fmt.Errorf("cannot use NOTIFY=%s", strings.Join(r.Notify, ","))
		}
	}
	if r.ORcpt == "" {
		return nil
	}
	kind, addr, _ := strings.Cut(r.ORcpt, ";")
	if !isAtom(kind) || addr == "" || len(r.ORcpt) > maxORcpt {
		return fmt.Errorf("cannot use original recipient %q", r.ORcpt)
	}
	return nil
}

// checkPath holds an address to the least that keeps it inside its brackets
// and its line; whether it is a good address is for others to say.
func checkPath(path string, utf8ok bool) error {
	if path == "" || len(path) > MaxAddress {
		return errors.New("cannot use an address that is empty or too long")
	}
	if endOfPath(path+">", utf8ok) != len(path) {
		return fmt.Errorf("cannot use address %s", strconv.Quote(path))
	}
	return nil
}

// endOfPath returns the index of the ">" that ends a path, or -1: blanks and
// brackets may stand in quoted strings only, control characters nowhere.
func endOfPath(s string, utf8ok bool) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c < ' ' || c == 0x7f || c >= 0x80 && !utf8ok:
			return -1
		case quoted && c == '\\':
			i++
			if i == len(s) || s[i] < ' ' || s[i] >= 0x7f {
				return -1
			}
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '>':
			return i
		case c == ' ' || c == '<':
			return -1
		}
	}
	return -1
}

func isAtom(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 32
}
