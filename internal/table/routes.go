package table

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"peyk/internal/address"
)

// NextHop says where mail for a domain goes.
type NextHop struct {
	MX   bool   // look for the MX records of Host; else connect to Host itself
	Host string // a domain, a host name or an IP address without brackets
	Port int    // 0 = the default port
}

// String returns the next hop as routes spells it.
func (n NextHop) String() string {
	if n.MX {
		return "mx"
	}
	host := n.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if n.Port == 0 {
		return host
	}
	return host + ":" + strconv.Itoa(n.Port)
}

// Routes is the routes table: first match wins. The zero value has no rule.
type Routes struct{ rules []route }

type route struct {
	pattern string // a domain, .domain for its subdomains, or *
	hop     NextHop
}

// ParseRoutes reads the lines of the control file routes: a pattern, blanks,
// and host, host:port, [host]:port or mx. A port that is missing is the
// default one.
func ParseRoutes(lines []string) (Routes, error) {
	var r Routes
	var errs []error
	for i, line := range lines {
		rule, err := parseRoute(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot use item %d of routes, %q: %w", i+1, line, err))
			continue
		}
		r.rules = append(r.rules, rule)
	}
	return r, errors.Join(errs...)
}

func parseRoute(line string) (route, error) {
	f := strings.Fields(line)
	if len(f) != 2 {
		return route{}, errors.New("expected a pattern and a next hop")
	}
	pattern, err := parsePattern(f[0])
	if err != nil {
		return route{}, err
	}
	if strings.EqualFold(f[1], "mx") {
		return route{pattern, NextHop{MX: true}}, nil
	}
	hop, err := parseHop(f[1])
	return route{pattern, hop}, err
}

func parsePattern(s string) (string, error) {
	if s == "*" {
		return s, nil
	}
	name, sub := strings.CutPrefix(s, ".")
	name, err := address.ParseDomain(name, true)
	if err != nil {
		return "", errors.New("the pattern must be a domain, .domain or *")
	}
	if sub {
		name = "." + name
	}
	return name, nil
}

// parseHop reads host, host:port or [host]:port.
func parseHop(s string) (NextHop, error) {
	host, port := s, 0
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		host = strings.TrimSuffix(inner, "]")
	} else if h, p, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return NextHop{}, errors.New("the port must be a number from 1 to 65535")
		}
		host, port = h, int(n)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		return NextHop{Host: ip.String(), Port: port}, nil
	}
	name, err := address.ParseDomain(host, true)
	if err != nil || strings.HasPrefix(name, "[") {
		return NextHop{}, errors.New("the next hop must be host:port, [host]:port or mx")
	}
	return NextHop{Host: name, Port: port}, nil
}

// For returns the next hop for a recipient domain. Without a matching rule it
// is the normal search for MX records, and an address literal is its own host.
func (r Routes) For(domain string) NextHop {
	for _, rule := range r.rules {
		if !rule.matches(domain) {
			continue
		}
		if rule.hop.MX {
			break
		}
		return rule.hop
	}
	if ip, ok := (address.Address{Domain: domain}).LiteralAddr(); ok {
		return NextHop{Host: ip.String()}
	}
	return NextHop{MX: true, Host: domain}
}

func (r route) matches(domain string) bool {
	if r.pattern == "*" || r.pattern == domain {
		return true
	}
	return r.pattern[0] == '.' && strings.HasSuffix(domain, r.pattern)
}
