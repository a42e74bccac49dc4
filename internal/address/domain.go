package address

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// ParseDomain reads the part after the @: a domain name or an address literal
// (RFC 5321 §4.1.2). It returns the one form in which Peyk keeps it: lower
// case, A-labels, no trailing dot. With utf8 true U-labels are accepted.
func ParseDomain(s string, utf8 bool) (string, error) {
	if err := checkBytes(s, utf8); err != nil {
		return "", err
	}
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	name, err := toASCII(s)
	if err != nil {
		return "", err
	}
	return name, checkName(name)
}

// toASCII applies the IDNA 2008 look-up rules where they have a say: plain
// names follow the older and wider rule of letters, digits and hyphens.
func toASCII(s string) (string, error) {
	lower := strings.ToLower(s)
	if isASCII(s) && !hasALabel(lower) {
		return lower, nil
	}
	name, err := idna.Lookup.ToASCII(s)
	if err != nil {
		return "", bad("domain that is not a valid internationalised name")
	}
	return name, nil
}

// hasALabel reports whether any label claims to be an A-label.
func hasALabel(lower string) bool {
	return strings.HasPrefix(lower, "xn--") || strings.Contains(lower, ".xn--")
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// checkName holds a lower-case name against the grammar: sub-domains of
// letters, digits and inner hyphens (RFC 5321 §4.1.2), at most 63 octets each.
func checkName(name string) error {
	if len(name) > MaxDomain { // RFC 5321 §4.5.3.1.2
		return bad("domain longer than 255 octets")
	}
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	return nil
}

func checkLabel(label string) error {
	switch {
	case label == "":
		return bad("domain with an empty label or a trailing dot")
	case len(label) > 63:
		return bad("domain with a label longer than 63 octets")
	case label[0] == '-' || label[len(label)-1] == '-':
		return bad("domain with a hyphen at the edge of a label")
	}
	for i := 0; i < len(label); i++ {
		c := label[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return bad("domain with a character other than letters, digits and hyphens")
		}
	}
	return nil
}

// parseLiteral reads [192.0.2.1] or [IPv6:2001:db8::1]. Of the tags that
// RFC 5321 §4.1.3 foresees, IPv6 is the only one that was ever registered.
func parseLiteral(s string) (string, error) {
	inner, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "", bad("address literal without an end")
	}
	if len(inner) > 5 && strings.EqualFold(inner[:5], "ipv6:") {
		ip, err := netip.ParseAddr(inner[5:])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return "", bad("address literal that is not an IPv6 address")
		}
		return "[ipv6:" + ip.String() + "]", nil
	}
	ip, err := netip.ParseAddr(inner)
	if err != nil || !ip.Is4() {
		return "", bad("address literal that is not an IPv4 address")
	}
	return "[" + ip.String() + "]", nil
}

// LiteralAddr returns the address in the literal; ok is false when the domain
// is a name.
func (a Address) LiteralAddr() (ip netip.Addr, ok bool) {
	if !a.IsLiteral() {
		return netip.Addr{}, false
	}
	inner := strings.TrimPrefix(strings.Trim(a.Domain, "[]"), "ipv6:")
	ip, err := netip.ParseAddr(inner)
	return ip, err == nil
}
