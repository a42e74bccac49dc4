package table

import (
	"strings"
	"testing"
)

func TestRoutes(t *testing.T) {
	r, err := ParseRoutes([]string{"direct.example mx", ".example 192.0.2.1:2525", "example.org [2001:db8::1]:26", "bücher.example.net Relay.Example.Net", "[192.0.2.9] [10.0.0.1]", "* smart.example.net:587"})
	if err != nil {
		t.Fatal(err)
	}
	for domain, want := range map[string]NextHop{
		"direct.example":            {MX: true, Host: "direct.example"},
		"other.example":             {Host: "192.0.2.1", Port: 2525},
		"a.b.example":               {Host: "192.0.2.1", Port: 2525},
		"example":                   {Host: "smart.example.net", Port: 587},
		"notexample":                {Host: "smart.example.net", Port: 587},
		"example.org":               {Host: "2001:db8::1", Port: 26},
		"xn--bcher-kva.example.net": {Host: "relay.example.net"},
		"[192.0.2.9]":               {Host: "10.0.0.1"},
		"[192.0.2.1]":               {Host: "smart.example.net", Port: 587},
	} {
		if got := r.For(domain); got != want {
			t.Errorf("For(%s) = %+v, want %+v", domain, got, want)
		}
	}
}

func TestWithoutRoutesTheDomainIsSearched(t *testing.T) {
	var r Routes
	if got := r.For("example.org"); got != (NextHop{MX: true, Host: "example.org"}) {
		t.Errorf("For = %+v", got)
	}
	if got := r.For("[ipv6:2001:db8::1]"); got != (NextHop{Host: "2001:db8::1"}) {
		t.Errorf("For = %+v", got)
	}
}

func TestBadRoutesAreNamed(t *testing.T) {
	for _, line := range []string{"", "*", "* a b", "* host:0", "* host:65536", "* host:x", "* -x", "a..b mx", "* [::1", "* a/b", "* [fe80::1%eth0]:25"} {
		if _, err := ParseRoutes([]string{"* mx", line}); err == nil || !strings.Contains(err.Error(), "item 2") {
			t.Errorf("ParseRoutes(%q): %v", line, err)
		}
	}
}

func FuzzRoute(f *testing.F) {
	f.Add("* mx")
	f.Add(".example.org [2001:db8::1]:25")
	f.Fuzz(func(t *testing.T, line string) {
		r, err := parseRoute(line)
		if err != nil {
			return
		}
		again, err := parseRoute(r.pattern + " " + r.hop.String())
		if err != nil || again != r {
			t.Fatalf("%q → %q %q: %+v, %v", line, r.pattern, r.hop, again, err)
		}
	})
}
