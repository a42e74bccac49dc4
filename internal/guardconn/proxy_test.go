package guardconn

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// v2 builds a version 2 header.
func v2(command, family byte, payload string) string {
	b := append([]byte(v2Signature), command, family, 0, 0)
	binary.BigEndian.PutUint16(b[14:], uint16(len(payload)))
	return string(b) + payload
}

const (
	v4Payload = "\xc0\x00\x02\x07\xc6\x33\x64\x01\x10\x92\x00\x6e"
	v6Payload = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\x10\x92\x00\x6e"
)

func TestProxyHeader(t *testing.T) {
	for header, want := range map[string]string{
		"PROXY TCP4 192.0.2.7 198.51.100.1 4242 110\r\n":  "192.0.2.7:4242 198.51.100.1:110",
		"PROXY TCP6 2001:db8::5 2001:db8::6 4242 110\r\n": "[2001:db8::5]:4242 [2001:db8::6]:110",
		"PROXY UNKNOWN\r\n":                       "",
		"PROXY UNKNOWN ffff:: any thing 1 2\r\n":  "",
		v2(0x21, 0x11, v4Payload):                 "192.0.2.7:4242 198.51.100.1:110",
		v2(0x21, 0x21, v6Payload):                 "[2001:db8::5]:4242 [2001:db8::6]:110",
		v2(0x21, 0x11, v4Payload+"\x04\x00\x01x"): "192.0.2.7:4242 198.51.100.1:110",
		v2(0x20, 0x11, v4Payload):                 "",
		v2(0x20, 0x00, ""):                        "",
		v2(0x21, 0x00, ""):                        "",
		v2(0x21, 0x31, strings.Repeat("/", 216)):  "",
	} {
		h, n, err := parseProxy([]byte(header + "rest"))
		got := ""
		if h.source.IsValid() {
			got = fmt.Sprint(h.source, " ", h.destination)
		}
		if err != nil || n != len(header) || got != want {
			t.Errorf("%q: %q %d %v, want %q %d", header, got, n, err, want, len(header))
		}
		for i := range header {
			if _, _, err := parseProxy([]byte(header[:i])); err != errShort {
				t.Errorf("%q: %v", header[:i], err)
			}
		}
	}
}

func TestBadProxyHeader(t *testing.T) {
	for _, header := range []string{
		"HELO x\r\n", "PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
		"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n", "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
		"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
		"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY UNKNOWN\n", "PROXY \r\n", "PROXY " + strings.Repeat("x", 200),
		v2(0x22, 0x11, v4Payload), v2(0x11, 0x11, v4Payload), v2(0x21, 0x11, "short"), v2(0x21, 0x12, v4Payload), v2(0x21, 0x11, strings.Repeat("x", 5000)),
	} {
		if h, n, err := parseProxy([]byte(header)); err == nil || err == errShort {
			t.Errorf("%q: %v %d %v", header, h, n, err)
		}
	}
}

func TestProxiedAddressCounts(t *testing.T) {
	l := listen(t, Options{Proxy: loopback, Limits: NewLimits(Max{PerAddress: 1}), Refusal: func(r Reason) string { return string(r) }})
	a := dial(t, l)
	fmt.Fprint(a, "PROXY TCP4 192.0.2.7 198.51.100.1 4242 110\r\nsame segment\n")
	expect(t, a, "hello 192.0.2.7:4242\r\nsame segment\n")
	b := dial(t, l)
	fmt.Fprint(b, "PROXY TCP4 192.0.2.7 198.51.100.1 4243 110\r\n")
	expect(t, b, "connections-per-address\r\n")
	c := dial(t, l)
	fmt.Fprint(c, "PROXY TCP4 192.0.2.8 198.51.100.1 4244 110\r\n")
	expect(t, c, "hello 192.0.2.8:4244\r\n")
}

func TestProxyHeaderInPieces(t *testing.T) {
	l := listen(t, Options{Proxy: loopback})
	c := dial(t, l)
	for _, b := range []byte(v2(0x21, 0x11, v4Payload+strings.Repeat("x", 1000))) {
		c.Write([]byte{b})
	}
	expect(t, c, "hello 192.0.2.7:4242\r\n")
}

func TestProxyThenTLS(t *testing.T) {
	l := listen(t, Options{Proxy: loopback, TLS: serverTLS(t)})
	c := dial(t, l)
	fmt.Fprint(c, "PROXY TCP4 192.0.2.7 198.51.100.1 4242 110\r\n")
	expect(t, tlsClient(c), "hello 192.0.2.7:4242\r\n")
}

func TestBrokenProxyHeaderCloses(t *testing.T) {
	l := listen(t, Options{Proxy: loopback})
	for _, header := range []string{"EHLO x\r\n", v2(0x21, 0x11, v4Payload)[:20], "PROXY TCP4"} {
		c := dial(t, l)
		fmt.Fprint(c, header)
		c.(interface{ CloseWrite() error }).CloseWrite()
		if got := expectClosed(t, c); got != "" {
			t.Errorf("%q: got %q", header, got)
		}
	}
}

func TestSlowProxyHeader(t *testing.T) {
	var log lines
	l := listen(t, Options{Proxy: loopback, ProxyTimeout: 20 * time.Millisecond, Log: log.log()})
	if got := expectClosed(t, dial(t, l)); got != "" {
		t.Fatalf("got %q", got)
	}
	eventually(t, "it is logged", func() bool { return strings.Contains(log.String(), "reason=proxy-header") })
}

func TestWaitingProxiesCountInTheTotal(t *testing.T) {
	limits := NewLimits(Max{Total: 2})
	l := listen(t, Options{Proxy: loopback, ProxyTimeout: time.Hour, Limits: limits, Refusal: func(r Reason) string { return string(r) }})
	dial(t, l)
	dial(t, l)
	eventually(t, "both wait", func() bool { return limits.Total() == 2 })
	if got := expectClosed(t, dial(t, l)); got != "connections\r\n" {
		t.Fatalf("got %q", got)
	}
}

func TestStrangersMayNotProxy(t *testing.T) {
	l := listen(t, Options{Proxy: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	c := dial(t, l)
	fmt.Fprint(c, "PROXY TCP4 192.0.2.7 198.51.100.1 4242 110\r\n")
	expect(t, c, "hello "+c.LocalAddr().String()+"\r\nPROXY TCP4") // the protocol gets it, and will not like it
}

// FuzzProxy: never more than the header is taken, a header that is taken is
// taken alike whatever follows, and a prefix of it is short, not wrong.
func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 198.51.100.1 4242 110\r\nEHLO x\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(0x21, 0x11, v4Payload) + "x"))
	f.Add([]byte(v2(0x21, 0x21, v6Payload) + "x"))
	f.Add([]byte(v2(0x20, 0x00, "abc")))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := parseProxy(b)
		if err != nil {
			if n != 0 && err == errShort {
				t.Fatal("short, but", n)
			}
			return
		}
		if n > len(b) || n > maxProxy || n < len("PROXY \r\n") {
			t.Fatalf("took %d of %d", n, len(b))
		}
		again, m, err := parseProxy(b[:n])
		if err != nil || m != n || again != h {
			t.Fatalf("%v %d %v, then %v %d %v", h, n, nil, again, m, err)
		}
		if _, _, err := parseProxy(b[:n-1]); err != errShort {
			t.Fatalf("a byte less: %v", err)
		}
		if h.source.IsValid() != h.destination.IsValid() || h.source.Addr().Is4In6() {
			t.Fatalf("addresses %v", h)
		}
	})
}
