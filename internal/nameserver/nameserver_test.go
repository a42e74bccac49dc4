package nameserver

import (
	"context"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func serve(t *testing.T, zone string) *Server {
	t.Helper()
	z, err := Parse(strings.Split(zone, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Listen(context.Background(), "127.0.0.1:0", z)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func ask(t *testing.T, s *Server, network, name string, kind uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), kind)
	c := &dns.Client{Net: network}
	r, _, err := c.Exchange(m, s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnswers(t *testing.T) {
	s := serve(t, `; a zone
example.test. MX 10 mx.example.test.
mx.example.test. A 192.0.2.1
mx.example.test. AAAA 2001:db8::1
alias.test. CNAME example.test.
deep.empty.test. A 192.0.2.2
loop.test. CNAME loop.test.
$FAULT broken.test. servfail
$FAULT half.test. MX refused
half.test. A 192.0.2.3
$SECURE example.test.`)
	tests := []struct {
		network, name string
		kind          uint16
		rcode, n      int
		secure        bool
	}{
		{"udp", "example.test", dns.TypeMX, dns.RcodeSuccess, 1, true},
		{"udp", "EXAMPLE.test", dns.TypeMX, dns.RcodeSuccess, 1, true},
		{"tcp", "mx.example.test", dns.TypeA, dns.RcodeSuccess, 1, true},
		{"udp", "mx.example.test", dns.TypeMX, dns.RcodeSuccess, 0, true},
		{"udp", "alias.test", dns.TypeMX, dns.RcodeSuccess, 2, false},
		{"udp", "empty.test", dns.TypeA, dns.RcodeSuccess, 0, false},
		{"udp", "no.test", dns.TypeA, dns.RcodeNameError, 0, false},
		{"udp", "loop.test", dns.TypeA, dns.RcodeSuccess, maxChain, false},
		{"udp", "broken.test", dns.TypeA, dns.RcodeServerFailure, 0, false},
		{"udp", "half.test", dns.TypeMX, dns.RcodeRefused, 0, false},
		{"udp", "half.test", dns.TypeA, dns.RcodeSuccess, 1, false},
	}
	for _, tt := range tests {
		r := ask(t, s, tt.network, tt.name, tt.kind)
		if r.Rcode != tt.rcode || len(r.Answer) != tt.n || r.AuthenticatedData != tt.secure {
			t.Errorf("%s %s: rcode %s, %d answers, AD %v", tt.name, dns.TypeToString[tt.kind], dns.RcodeToString[r.Rcode], len(r.Answer), r.AuthenticatedData)
		}
	}
	if n := s.Queries("example.test", dns.TypeMX); n != 2 {
		t.Errorf("%d queries counted", n)
	}
}

func TestLongAnswersAreTruncated(t *testing.T) {
	s := serve(t, strings.Repeat("many.test. TXT \""+strings.Repeat("x", 200)+"\"\n", 1)+
		"$GENERATE 1-100 many.test. MX 10 host$.test.")
	if r := ask(t, s, "udp", "many.test", dns.TypeMX); !r.Truncated {
		t.Error("no TC bit over UDP")
	}
	if r := ask(t, s, "tcp", "many.test", dns.TypeMX); r.Truncated || len(r.Answer) != 100 {
		t.Errorf("over TCP: %d answers, TC %v", len(r.Answer), r.Truncated)
	}
}

func TestBadLines(t *testing.T) {
	for _, line := range []string{"$FAULT", "$FAULT a.test. what", "$FAULT a.test. BOGUS silent", "$SECURE", "a.test. MX mx", "$INCLUDE /etc/passwd"} {
		if _, err := Parse([]string{line}); err == nil {
			t.Errorf("%q was accepted", line)
		}
	}
}
