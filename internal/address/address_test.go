package address

import (
	"errors"
	"strings"
	"testing"

	"peyk/internal/status"
)

func TestParseAccepts(t *testing.T) {
	for in, want := range map[string]struct {
		a    Address
		wire string
	}{
		"alice@example.org":            {Address{"alice", "example.org"}, "alice@example.org"},
		"Alice.B+x@EXAMPLE.Org":        {Address{"Alice.B+x", "example.org"}, "Alice.B+x@example.org"},
		"!#$%&'*+-/=?^_`{|}~@a":        {Address{"!#$%&'*+-/=?^_`{|}~", "a"}, "!#$%&'*+-/=?^_`{|}~@a"},
		`"a b"@example.org`:            {Address{"a b", "example.org"}, `"a b"@example.org`},
		`"alice"@example.org`:          {Address{"alice", "example.org"}, "alice@example.org"},
		`"a\"b\\c\d"@example.org`:      {Address{`a"b\cd`, "example.org"}, `"a\"b\\cd"@example.org`},
		`""@example.org`:               {Address{"", "example.org"}, `""@example.org`},
		`"u@evil.example"@example.org`: {Address{"u@evil.example", "example.org"}, `"u@evil.example"@example.org`},
		`".a..b."@x`:                   {Address{".a..b.", "x"}, `".a..b."@x`},
		"a@[192.0.2.1]":                {Address{"a", "[192.0.2.1]"}, "a@[192.0.2.1]"},
		"a@[IPv6:2001:DB8:0:0::1]":     {Address{"a", "[ipv6:2001:db8::1]"}, "a@[ipv6:2001:db8::1]"},
		"a@r3---sn.example":            {Address{"a", "r3---sn.example"}, "a@r3---sn.example"},
		"زهرا@example.org":             {Address{"زهرا", "example.org"}, "زهرا@example.org"},
		"a@BÜCHER.example":             {Address{"a", "xn--bcher-kva.example"}, "a@xn--bcher-kva.example"},
		"a@XN--bcher-KVA.example":      {Address{"a", "xn--bcher-kva.example"}, "a@xn--bcher-kva.example"},
		"a@پست。example":                {Address{"a", "xn--qgb9cf.example"}, ""},
	} {
		got, err := Parse(in, true)
		if want.wire == "" {
			want.a, want.wire = got, got.String()
		}
		if err != nil || got != want.a || got.String() != want.wire {
			t.Errorf("Parse(%s) = %+v %q, %v; want %+v %q", in, got, got.String(), err, want.a, want.wire)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", "@", "alice", "alice@", "@example.org", "alice@example.org.", "alice@.example.org", "alice@a..b", "a@-a.example", "a@a-.example", "a@a_b.example", "a@exam ple",
		".a@x", "a.@x", "a..b@x", "a b@x", "a(b)@x", "(c)a@x", "a@x(c)", "a@x (c)", `a."b"@x`, `"a".b@x`, `"a"b@x`, `"a@x`, `"a\"@x`, `"`, `"a"`, "a,b@x", "a;b@x", "a:b@x", "<a@x>", "a@x>", "a\\b@x",
		"u@local@evil.example", "u@evil.example(@local)", "@relay:u@x",
		"a\x00b@x", "a\rb@x", "a\nb@x", "a@x\r\nRCPT", "\"\r\n\"@x", "a\tb@x", "\"a\tb\"@x", "a\x7f@x", "a\u0085b@x", "a\u202eb@x", "a\u2028@x", "a\xff@x", "\"\\é\"@x",
		"a@[192.0.2.256]", "a@[192.0.2]", "a@[192.0.2.1", "a@192.0.2.1]", "a@[IPv6:192.0.2.1]", "a@[IPv6:fe80::1%eth0]", "a@[2001:db8::1]", "a@[x-tag:y]", "a@[]", "a@[IPv6:]",
		"a@xn--a.example", "a@xn--.example", "a@xn--bcher-kva-.example", "a@\u200d.example", "a@bü cher.example",
		strings.Repeat("x", 65) + "@x", `"` + strings.Repeat("x", 63) + `"@x`, "a@" + strings.Repeat("x", 64) + ".example", "a@" + strings.Repeat("x.", 127) + "x", "a@" + strings.Repeat("x.", 130) + "x",
	} {
		got, err := Parse(in, true)
		var e *status.Error
		if err == nil || !errors.As(err, &e) || e.Temporary() {
			t.Errorf("Parse(%.40q) = %+v, %v; want a 5xx", in, got, err)
		}
	}
}

func TestLengthsAtTheLimit(t *testing.T) {
	for _, in := range []string{strings.Repeat("x", 64) + "@x", `"` + strings.Repeat(" ", 62) + `"@x`, "a@" + strings.Repeat("x.", 125) + "xy"} {
		if _, err := Parse(in, false); err != nil {
			t.Errorf("Parse(%.20q…) of %d octets: %v", in, len(in), err)
		}
	}
}

func TestWithoutSMTPUTF8EverythingIsASCII(t *testing.T) {
	for _, in := range []string{"ü@example.org", "a@bücher.example", "\"ü\"@x", "a\xff@x"} {
		_, err := Parse(in, false)
		if e := status.Of(err); e == nil || e.Temporary() {
			t.Errorf("Parse(%q, false) = %v", in, err)
		}
	}
	_, err := Parse("ü@example.org", false)
	if e := status.Of(err); e.Code != 553 || e.Enhanced != "5.6.7" {
		t.Errorf("non-ASCII refused with %s", e.Reply())
	}
}

func TestParsePath(t *testing.T) {
	for in, want := range map[string]Address{
		"<>":                      {},
		"<postmaster>":            {Local: "postmaster"},
		"<PostMaster>":            {Local: "postmaster"},
		"<a@x>":                   {"a", "x"},
		"<@relay1,@relay2:u@x>":   {"u", "x"},
		"<@[192.0.2.1]:u@x>":      {"u", "x"},
		`<"a>b"@x>`:               {"a>b", "x"},
		"<@local:u@evil.example>": {"u", "evil.example"},
	} {
		if got, err := ParsePath(in, false); err != nil || got != want {
			t.Errorf("ParsePath(%s) = %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "<", ">", "a@x", "<a@x", "a@x>", " <a@x>", "<a@x> ", "<<a@x>>", "< a@x>", "<alice>", "<postmaster@>", "<@r:>", "<@r>", "<@r,s:u@x>", "<@r,@:u@x>", "<@r u@x>", "<a@x><b@x>", "<@r:@s:u@x>"} {
		if got, err := ParsePath(in, false); err == nil {
			t.Errorf("ParsePath(%q) = %+v", in, got)
		}
	}
}

func TestKeyFoldsOnlyCaseAndNormalForm(t *testing.T) {
	key := func(s string) string {
		a, err := Parse(s, true)
		if err != nil {
			t.Fatal(err)
		}
		return a.Key()
	}
	if key("ALICE@Example.Org") != "alice@example.org" {
		t.Error("case")
	}
	if key("e\u0301@x") != key("\u00c9@x") {
		t.Error("composed and decomposed é are two mailboxes")
	}
	if key("аdmin@x") == key("admin@x") {
		t.Error("Cyrillic а matched Latin a")
	}
	if (Address{Local: "postmaster"}).Key() != "postmaster" {
		t.Error("bare postmaster")
	}
}

func TestDetail(t *testing.T) {
	for in, want := range map[string][2]string{
		"a@x": {"a", ""}, "a+b@x": {"a", "b"}, "a+b+c@x": {"a", "b+c"}, "+b@x": {"+b", ""}, "a+@x": {"a", ""},
	} {
		a, _ := Parse(in, false)
		if u, d := a.Detail("+"); u != want[0] || d != want[1] {
			t.Errorf("%s: %q %q", in, u, d)
		}
		if u, d := a.Detail(""); u != a.Local || d != "" {
			t.Errorf("%s without separator: %q %q", in, u, d)
		}
	}
}

func TestLiterals(t *testing.T) {
	a, _ := Parse("a@[IPv6:2001:db8::1]", false)
	if ip, ok := a.LiteralAddr(); !ok || ip.String() != "2001:db8::1" || !a.IsLiteral() {
		t.Errorf("LiteralAddr = %v, %v", ip, ok)
	}
	a, _ = Parse("a@example.org", false)
	if _, ok := a.LiteralAddr(); ok || a.IsLiteral() || a.IsZero() || !a.IsASCII() {
		t.Error("a name is no literal")
	}
}

var seeds = []string{"alice@example.org", `"a b\"c\\"@x`, "زهرا@پست.example", "a@[IPv6:::1]", `""@x`, "a@xn--bcher-kva.example", "K@ß.example", "a@\u3002x"}

// FuzzParse holds the round trip: the wire form of what was accepted means the
// same, needs no more than what was allowed, and fits its limits.
func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		a, err := Parse(s, utf8)
		if err != nil {
			return
		}
		wire := a.String()
		again, err := Parse(wire, utf8)
		if err != nil || again != a {
			t.Fatalf("%q → %+v → %q → %+v, %v", s, a, wire, again, err)
		}
		if len(wire) > MaxLength || !isASCII(a.Domain) || strings.ContainsAny(wire, "\r\n\x00\t") || !utf8 && !a.IsASCII() {
			t.Fatalf("%q → %q", s, wire)
		}
		if path, err := ParsePath("<"+wire+">", utf8); err != nil || path != a {
			t.Fatalf("<%s> = %+v, %v", wire, path, err)
		}
		key := Address{Local: KeyLocal(a.Local), Domain: a.Domain}
		if key.Key() != a.Key() {
			t.Fatalf("%q: the key %q of a key is %q", s, a.Key(), key.Key())
		}
	})
}

func FuzzParsePath(f *testing.F) {
	for _, s := range seeds {
		f.Add("<"+s+">", true)
	}
	f.Add("<@a,@b:c@d>", false)
	f.Add("<>", false)
	f.Add("<Postmaster>", false)
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		a, err := ParsePath(s, utf8)
		if err != nil {
			return
		}
		if again, err := ParsePath("<"+a.String()+">", utf8); err != nil || again != a {
			t.Fatalf("%q → %+v → %+v, %v", s, a, again, err)
		}
	})
}
