// Package address understands mail addresses as they stand in SMTP commands
// (RFC 5321 §4.1.2, RFC 6531 §3.3): strictly, because what is accepted here
// ends up in queue files, look-ups and command lines of other hosts.
//
// The comments and free blanks of message headers (RFC 5322) are not part of
// this grammar and are refused.
package address

import (
	"strings"

	"golang.org/x/text/unicode/norm"

	"peyk/internal/status"
)

// Limits of RFC 5321 §4.5.3.1, in octets of the wire form.
const (
	MaxLocal  = 64
	MaxDomain = 255
	MaxLength = 254 // a path is at most 256 octets with its angle brackets
)

// Address is one mailbox. Two addresses that Parse returned name the same
// mailbox for the rest of the world exactly if they are equal with ==.
//
// The zero value is the null address <>.
type Address struct {
	Local  string // without quotes and backslashes, spelled as it was given
	Domain string // lower case, A-labels (RFC 5890), or a literal such as [192.0.2.1]; "" only for <postmaster> and <>
}

// Parse reads an address without angle brackets. With utf8 false every octet
// above 127 is refused, as a session without SMTPUTF8 must (RFC 6531 §3.4).
// An error is a *status.Error, 501 5.1.3 or 553 5.6.7.
func Parse(s string, utf8 bool) (Address, error) {
	if err := checkBytes(s, utf8); err != nil {
		return Address{}, err
	}
	local, rest, err := parseLocal(s)
	if err != nil {
		return Address{}, err
	}
	domain, ok := strings.CutPrefix(rest, "@")
	if !ok {
		return Address{}, bad("expected @ and a domain after the local part")
	}
	return finish(local, domain)
}

// finish checks what needs both parts.
func finish(local, domain string) (Address, error) {
	domain, err := ParseDomain(domain, true)
	if err != nil {
		return Address{}, err
	}
	a := Address{Local: local, Domain: domain}
	if len(a.String()) > MaxLength {
		return Address{}, bad("longer than 254 octets")
	}
	return a, nil
}

// ParsePath reads an address in angle brackets, as MAIL and RCPT carry it. A
// source route is checked and ignored (RFC 5321 appendix C), <> is the zero
// Address, and <postmaster>, in any case, is the only address that may go
// without a domain (RFC 5321 §4.5.1).
func ParsePath(s string, utf8 bool) (Address, error) {
	inner, ok := strings.CutPrefix(s, "<")
	if ok {
		inner, ok = strings.CutSuffix(inner, ">")
	}
	if !ok {
		return Address{}, bad("expected an address in angle brackets")
	}
	if inner == "" {
		return Address{}, nil
	}
	if strings.EqualFold(inner, "postmaster") {
		return Address{Local: "postmaster"}, nil
	}
	inner, err := skipRoute(inner, utf8)
	if err != nil {
		return Address{}, err
	}
	return Parse(inner, utf8)
}

// skipRoute removes "@relay1,@relay2:", which RFC 5321 §4.1.2 calls A-d-l.
func skipRoute(s string, utf8 bool) (string, error) {
	if !strings.HasPrefix(s, "@") {
		return s, nil
	}
	route, rest, ok := strings.Cut(s, ":")
	if !ok {
		return "", bad("source route without an address")
	}
	for hop := range strings.SplitSeq(route, ",") {
		domain, ok := strings.CutPrefix(hop, "@")
		if !ok {
			return "", bad("source route that is not a list of @domain")
		}
		if _, err := ParseDomain(domain, utf8); err != nil {
			return "", err
		}
	}
	return rest, nil
}

// String returns the address for the wire, without angle brackets: the local
// part is quoted where it must be, with as few backslashes as possible.
func (a Address) String() string {
	if a.Domain == "" {
		return a.Local
	}
	return quoteLocal(a.Local) + "@" + a.Domain
}

// IsZero reports whether a is the null address <>.
func (a Address) IsZero() bool { return a == Address{} }

// IsLiteral reports whether the domain is an address literal (RFC 5321
// §4.1.3).
func (a Address) IsLiteral() bool { return strings.HasPrefix(a.Domain, "[") }

// IsASCII reports whether a may be sent to a server without SMTPUTF8. The
// domain always may.
func (a Address) IsASCII() bool {
	for i := 0; i < len(a.Local); i++ {
		if a.Local[i] >= 0x80 {
			return false
		}
	}
	return true
}

// Detail splits the local part at the first sep, as subaddressing does
// (RFC 5233). Without a separator, or with nothing before it, the user is the
// whole local part.
func (a Address) Detail(sep string) (user, detail string) {
	if sep == "" {
		return a.Local, ""
	}
	i := strings.Index(a.Local, sep)
	if i <= 0 {
		return a.Local, ""
	}
	return a.Local[:i], a.Local[i+len(sep):]
}

// WithLocal returns the address of another local part in the same domain.
func (a Address) WithLocal(local string) Address { return Address{Local: local, Domain: a.Domain} }

// Key returns the form under which tables look an address up: local part in
// lower case and NFC, then the domain. Letters that merely look alike stay
// different: Cyrillic а is not Latin a.
func (a Address) Key() string {
	if a.Domain == "" {
		return KeyLocal(a.Local)
	}
	return KeyLocal(a.Local) + "@" + a.Domain
}

// KeyLocal is the local part of Key.
func KeyLocal(local string) string {
	return norm.NFC.String(strings.ToLower(norm.NFC.String(local)))
}

// bad returns the refusal of an address that breaks the grammar.
func bad(why string) *status.Error {
	return status.New(501, "5.1.3", "cannot use this address: "+why)
}
