package mx

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"peyk/internal/nameserver"
	"peyk/internal/status"
)

const zone = `
plain.test.      MX 10 mx.plain.test.
mx.plain.test.   A 192.0.2.1
bare.test.       A 192.0.2.2
bare6.test.      AAAA 2001:db8::2
v6.test.         MX 10 mx.v6.test.
mx.v6.test.      AAAA 2001:db8::6
both.test.       MX 10 mx.both.test.
mx.both.test.    A 192.0.2.10
mx.both.test.    A 192.0.2.11
mx.both.test.    AAAA 2001:db8::10
order.test.      MX 20 b.order.test.
order.test.      MX 10 a.order.test.
order.test.      MX 30 c.order.test.
a.order.test.    A 192.0.2.21
b.order.test.    A 192.0.2.22
c.order.test.    A 192.0.2.23
equal.test.      MX 10 a.order.test.
equal.test.      MX 10 b.order.test.
equal.test.      MX 10 c.order.test.
null.test.       MX 0 .
nulls.test.      MX 0 .
nulls.test.      MX 10 mx.plain.test.
empty.test.      TXT "no mail here"
servfail.test.   MX 10 mx.plain.test.
$FAULT servfail.test. servfail
halfmx.test.     MX 10 gone.servfail.test.
gone.servfail.test. A 192.0.2.9
$FAULT gone.servfail.test. servfail
mixed.test.      MX 10 gone.servfail.test.
mixed.test.      MX 20 mx.plain.test.
deadname.test.   MX 10 nowhere.test.
deadname2.test.  MX 10 nowhere.test.
deadname2.test.  MX 20 mx.plain.test.
alias.test.      CNAME plain.test.
loop.test.       CNAME loop.test.
mxalias.test.    MX 10 www.mxalias.test.
www.mxalias.test. CNAME mx.plain.test.
self.test.       MX 10 me.example.test.
selfaddr.test.   MX 10 other.selfaddr.test.
other.selfaddr.test. A 198.51.100.7
backup.test.     MX 10 mx.plain.test.
backup.test.     MX 20 me.example.test.
backup.test.     MX 20 a.order.test.
backup.test.     MX 30 b.order.test.
local.test.      MX 10 mx.local.test.
mx.local.test.   A 127.0.0.1
mx.local.test.   AAAA ::1
zero.test.       MX 10 mx.zero.test.
mx.zero.test.    A 0.0.0.0
mapped.test.     MX 10 mx.mapped.test.
mx.mapped.test.  AAAA ::ffff:127.0.0.1
silent.test.     MX 10 mx.plain.test.
$FAULT silent.test. silent
spoof.test.      MX 10 mx.plain.test.
$FAULT spoof.test. spoof
cut.test.        MX 10 mx.plain.test.
$FAULT cut.test. truncate
garbage.test.    MX 10 mx.plain.test.
$FAULT garbage.test. garbage
refused.test.    MX 10 mx.plain.test.
$FAULT refused.test. refused
only6fails.test. MX 10 mx.only6fails.test.
mx.only6fails.test. A 192.0.2.66
$FAULT mx.only6fails.test. AAAA servfail
secure.test.     MX 10 mx.secure.test.
mx.secure.test.  A 192.0.2.77
$SECURE secure.test.
host.test.       A 127.0.0.1
$GENERATE 1-1000 many.test. MX 10 h$.many.test.
$GENERATE 1-250 h$.many.test. A 192.0.2.$
$GENERATE 251-1000 h$.many.test. A 203.0.113.1
$GENERATE 1-100 wide.test. A 192.0.2.$
`

func searcher(t *testing.T) (*Searcher, *nameserver.Server) {
	t.Helper()
	z, err := nameserver.Parse(strings.Split(zone, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := nameserver.Listen(t.Context(), "127.0.0.1:0", z)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &Searcher{
		Resolver:      &Client{Server: s.Addr(), Timeout: 20 * time.Second, Tries: 1},
		Rand:          rand.NewChaCha8([32]byte{}),
		Self:          []string{"me.example.test"},
		SelfAddresses: []netip.Addr{netip.MustParseAddr("198.51.100.7")},
	}, s
}

// all runs a search to its end: the targets, and the error where there are none.
func all(t *testing.T, q *Search, err error) ([]string, error) {
	t.Helper()
	var got []string
	for err == nil {
		var target Target
		target, err = q.Next(t.Context())
		if err == nil {
			got = append(got, target.String())
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return got, err
}

func TestDomain(t *testing.T) {
	s, _ := searcher(t)
	plain := "mx.plain.test[192.0.2.1]"
	tests := []struct{ domain, targets, err string }{
		{"plain.test", plain, ""},
		{"PLAIN.test", plain, ""},
		{"bare.test", "bare.test[192.0.2.2]", ""},
		{"bare6.test", "bare6.test[2001:db8::2]", ""},
		{"v6.test", "mx.v6.test[2001:db8::6]", ""},
		{"order.test", "a.order.test[192.0.2.21] b.order.test[192.0.2.22] c.order.test[192.0.2.23]", ""},
		{"null.test", "", "556 5.1.10"},
		{"nulls.test", plain, ""},
		{"empty.test", "", "550 5.4.4"},
		{"no.such.test", "", "550 5.1.2"},
		{"servfail.test", "", "451 4.4.3"},
		{"refused.test", "", "451 4.4.3"},
		{"halfmx.test", "", "451 4.4.3"},
		{"mixed.test", plain, ""},
		{"deadname.test", "", "550 5.4.4"},
		{"deadname2.test", plain, ""},
		{"alias.test", plain, ""},
		{"loop.test", "", "451 4.4.3"},
		{"mxalias.test", "www.mxalias.test[192.0.2.1]", ""},
		{"self.test", "", "550 5.4.6"},
		{"selfaddr.test", "", "550 5.4.6"},
		{"backup.test", plain, ""}, // equal and worse ones than ourselves are dropped
		{"local.test", "", "550 5.4.6"},
		{"zero.test", "", "550 5.4.6"},
		{"mapped.test", "", "550 5.4.6"},
		{"spoof.test", plain, ""},
		{"cut.test", plain, ""},
		{"only6fails.test", "mx.only6fails.test[192.0.2.66]", ""},
		{"", "", "550 5.1.2"},
		{".", "", "550 5.1.2"},
		{"a..b", "", "550 5.1.2"},
		{"evil\r\nname", "", "550 5.1.2"},
		{strings.Repeat("x", 64) + ".test", "", "550 5.1.2"},
		{strings.Repeat("x.", 200) + "test", "", "550 5.1.2"},
	}
	for _, tt := range tests {
		q, err := s.Domain(t.Context(), tt.domain)
		got, err := all(t, q, err)
		reply := ""
		if err != nil {
			reply = status.Of(err).Reply()
		}
		if strings.Join(got, " ") != tt.targets || !strings.HasPrefix(reply, tt.err) || (tt.err == "") != (err == nil) {
			t.Errorf("%q: %v, %v; want %q, %q", tt.domain, got, err, tt.targets, tt.err)
		}
	}
}

func TestTimeoutIsTemporary(t *testing.T) {
	s, _ := searcher(t)
	s.Resolver.(*Client).Timeout = time.Millisecond
	for _, domain := range []string{"silent.test", "garbage.test"} {
		_, err := s.Domain(t.Context(), domain)
		if !errors.Is(err, ErrTimeout) || status.Of(err).Enhanced != "4.4.3" {
			t.Errorf("%s: %v", domain, err)
		}
	}
}

func TestCancelledSearchEnds(t *testing.T) {
	s, _ := searcher(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Domain(ctx, "silent.test"); status.Of(err).Enhanced != "4.4.3" {
		t.Errorf("%v", err)
	}
}

func TestResolverIsTriedAgain(t *testing.T) {
	s, server := searcher(t)
	s.Resolver.(*Client).Tries = 3
	if _, err := s.Domain(t.Context(), "servfail.test"); err == nil {
		t.Fatal("no error")
	}
	if n := server.Queries("servfail.test", dns.TypeMX); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

func TestAddressesTakeTurns(t *testing.T) {
	s, _ := searcher(t)
	q, err := s.Domain(t.Context(), "both.test")
	got, err := all(t, q, err)
	if err != nil || len(got) != 3 || got[0] != "mx.both.test[2001:db8::10]" {
		t.Fatalf("%v %v", got, err)
	}
	for _, tt := range []struct {
		no4, no6 bool
		n        int
	}{{true, false, 1}, {false, true, 2}, {true, true, 0}} {
		s.NoIPv4, s.NoIPv6 = tt.no4, tt.no6
		q, err = s.Domain(t.Context(), "both.test")
		if got, _ = all(t, q, err); len(got) != tt.n {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestEqualPreferencesComeInEveryOrder(t *testing.T) {
	s, _ := searcher(t)
	seen := map[string]bool{}
	for range 200 { // a missed order has the chance (5/6)^200
		q, err := s.Domain(t.Context(), "equal.test")
		got, err := all(t, q, err)
		if err != nil {
			t.Fatal(err)
		}
		seen[strings.Join(got, " ")] = true
	}
	if len(seen) != 6 {
		t.Errorf("%d orders of 6", len(seen))
	}
}

func TestLimits(t *testing.T) {
	s, server := searcher(t)
	q, err := s.Domain(t.Context(), "many.test")
	got, err := all(t, q, err)
	if err != nil || len(got) != 10 {
		t.Fatalf("%d targets of 1000 MX, %v", len(got), err)
	}
	asked := 0
	for _, name := range got {
		asked += server.Queries(name[:strings.IndexByte(name, '[')], dns.TypeA)
	}
	if asked != 10 {
		t.Errorf("%d address queries", asked)
	}
	s.MaxAddresses = 7
	q, err = s.Domain(t.Context(), "wide.test")
	if got, err = all(t, q, err); err != nil || len(got) != 7 {
		t.Errorf("%d addresses, %v", len(got), err)
	}
}

func TestAddressesAreLookedUpWhenNeeded(t *testing.T) {
	s, server := searcher(t)
	q, err := s.Domain(t.Context(), "order.test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := server.Queries("b.order.test", dns.TypeA); n != 0 {
		t.Errorf("the second host was looked up %d times", n)
	}
}

func TestRouteToHost(t *testing.T) {
	s, _ := searcher(t)
	for host, want := range map[string]string{
		"host.test":       "host.test[127.0.0.1]",
		"127.0.0.1":       "[127.0.0.1]",
		"[::1]":           "[::1]",
		"me.example.test": "451 4.3.5",
		"servfail.test":   "451 4.4.3",
	} {
		got, err := all(t, s.Host(host), nil)
		if err != nil {
			got = []string{status.Of(err).Reply()[:9]}
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %s", host, got, want)
		}
	}
}

func TestDomainLiteral(t *testing.T) {
	s, _ := searcher(t)
	for addr, want := range map[string]string{
		"192.0.2.1": "[192.0.2.1]", "2001:db8::1": "[2001:db8::1]", "127.0.0.1": "550 5.4.6", "::1": "550 5.4.6",
		"::ffff:127.0.0.1": "550 5.4.6", "198.51.100.7": "550 5.4.6",
	} {
		got, err := all(t, s.Address(netip.MustParseAddr(addr)), nil)
		if err != nil {
			got = []string{status.Of(err).Reply()[:9]}
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %s", addr, got, want)
		}
	}
}

func TestSecureOnlyFromThisHost(t *testing.T) {
	s, _ := searcher(t)
	for domain, want := range map[string]bool{"secure.test": true, "plain.test": false} {
		q, err := s.Domain(t.Context(), domain)
		if err != nil {
			t.Fatal(err)
		}
		target, err := q.Next(t.Context())
		if err != nil || target.Secure != want {
			t.Errorf("%s: %+v, %v", domain, target, err)
		}
	}
	if (&Client{Server: "192.0.2.53:53"}).local() || (&Client{Server: "ns.test:53"}).local() {
		t.Error("the AD bit of a distant resolver is believed")
	}
}

func TestPoliciesAddUp(t *testing.T) {
	open := func(context.Context, string, Target) (TLS, error) { return Opportunistic, nil }
	strict := func(context.Context, string, Target) (TLS, error) { return Verified, nil }
	forbid := func(context.Context, string, Target) (TLS, error) { return 0, errors.New("not in the policy") }
	for _, tt := range []struct {
		policies []Policy
		want     TLS
		fails    bool
	}{{nil, Opportunistic, false}, {[]Policy{open}, Opportunistic, false}, {[]Policy{strict, open}, Verified, false}, {[]Policy{strict, forbid}, Verified, true}} {
		got, err := Require(t.Context(), "a.test", Target{}, tt.policies)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%v %v", got, err)
		}
	}
}

func TestSystemServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	for text, want := range map[string]string{
		"# x\nsearch a.test\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n": "192.0.2.53:53",
		"nameserver ::1": "[::1]:53", "nameserver what\n": "127.0.0.1:53",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := SystemServer(file); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
	if got := SystemServer(file + ".none"); got != "127.0.0.1:53" {
		t.Error(got)
	}
}

// fixed answers every question with the same message.
type fixed struct{ m *dns.Msg }

func (f fixed) Lookup(_ context.Context, name string, kind uint16) (Answer, error) {
	_, records, _ := follow(f.m, dns.CanonicalName(name), kind)
	return Answer{Records: records, NotFound: f.m.Rcode == dns.RcodeNameError}, nil
}

// FuzzAnswer: no DNS message makes the search panic, give a loopback address,
// give more targets than allowed, or end without either a target or an error.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{"a.test. MX 10 a.test.", "a.test. A 192.0.2.1", "a.test. CNAME a.test.", "a.test. MX 0 .", "a.test. AAAA ::ffff:127.0.0.1"} {
		m := new(dns.Msg)
		m.SetQuestion("a.test.", dns.TypeMX)
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = []dns.RR{rr}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		s := &Searcher{Resolver: fixed{m}, Rand: bytes.NewReader(make([]byte, 1<<16)), MaxAddresses: 5}
		q, err := s.Domain(t.Context(), "a.test")
		if err != nil {
			return
		}
		var given []netip.Addr
		for {
			target, err := q.Next(t.Context())
			if err != nil {
				if len(given) == 0 && errors.Is(err, io.EOF) {
					t.Fatal("neither target nor reason")
				}
				break
			}
			given = append(given, target.Addr)
		}
		if len(given) > 5 || slices.ContainsFunc(given, unroutable) {
			t.Fatalf("%v", given)
		}
	})
}
