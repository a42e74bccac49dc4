package guardconn

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The PROXY protocol, versions 1 and 2, as HAProxy publishes it.
const (
	v2Signature = "\r\n\r\n\x00\r\nQUIT\n"
	v2Header    = 16
	v1Longest   = 107
	maxProxy    = 4 << 10 // of a version 2 header with its extensions, in bytes
)

// proxyHeader is what a proxy says about its client. Invalid addresses mean
// that it says nothing (LOCAL, UNKNOWN): then those of the socket count.
type proxyHeader struct {
	source, destination netip.AddrPort
}

// errShort asks for more bytes.
var errShort = errors.New("header is cut short")

// readProxy reads the header with a deadline of its own and takes its
// addresses over.
func (c *Conn) readProxy(timeout time.Duration) error {
	c.sock.SetReadDeadline(time.Now().Add(timeout))
	defer c.sock.SetReadDeadline(time.Time{})
	buf := make([]byte, 0, 536)
	for {
		h, n, err := parseProxy(buf)
		if err == nil {
			c.took(h)
			c.reading.ahead = buf[n:]
			return nil
		}
		if err != errShort || len(buf) >= maxProxy {
			return err
		}
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, maxProxy-len(buf))...)[:len(buf)]
		}
		n, err = c.sock.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 {
			return fmt.Errorf("header is cut short: %w", noEOF(err))
		}
	}
}

func noEOF(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *Conn) took(h proxyHeader) {
	if !h.source.IsValid() {
		return
	}
	c.remote = net.TCPAddrFromAddrPort(h.source)
	c.local = net.TCPAddrFromAddrPort(h.destination)
}

// parseProxy parses the header at the beginning of b and returns its length,
// or errShort while it is incomplete.
func parseProxy(b []byte) (proxyHeader, int, error) {
	if hasPart(b, v2Signature) {
		return parseV2(b)
	}
	if hasPart(b, "PROXY ") {
		return parseV1(b)
	}
	return proxyHeader{}, 0, errors.New("no PROXY header")
}

// hasPart reports whether b begins with s, or could when more of it comes.
func hasPart(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

// parseV1 parses "PROXY TCP4 source destination port port\r\n".
func parseV1(b []byte) (h proxyHeader, n int, err error) {
	end := bytes.IndexByte(b[:min(len(b), v1Longest)], '\n')
	if end < 0 {
		if len(b) >= v1Longest {
			return h, 0, errors.New("version 1 header is too long")
		}
		return h, 0, errShort
	}
	line, ok := strings.CutSuffix(string(b[:end+1]), "\r\n")
	if !ok {
		return h, 0, errors.New("version 1 header does not end in CRLF")
	}
	f := strings.Split(line, " ")
	if f[1] == "UNKNOWN" {
		return h, end + 1, nil
	}
	if len(f) != 6 || (f[1] != "TCP4" && f[1] != "TCP6") {
		return h, 0, fmt.Errorf("cannot understand version 1 header %q", line)
	}
	h.source, err = v1Address(f[1], f[2], f[4])
	if err != nil {
		return proxyHeader{}, 0, err
	}
	h.destination, err = v1Address(f[1], f[3], f[5])
	if err != nil {
		return proxyHeader{}, 0, err
	}
	return h, end + 1, nil
}

func v1Address(family, host, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(host)
	if err != nil || a.Zone() != "" || a.Is4() != (family == "TCP4") {
		return netip.AddrPort{}, fmt.Errorf("cannot use %q as a %s address", host, family)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("cannot use %q as a port", port)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), nil
}

// parseV2 parses the binary header: signature, version and command, family,
// length, addresses, extensions.
func parseV2(b []byte) (h proxyHeader, n int, err error) {
	if len(b) < v2Header {
		return h, 0, errShort
	}
	command, family := b[12], b[13]
	if command != 0x20 && command != 0x21 {
		return h, 0, fmt.Errorf("cannot understand version and command %#x", command)
	}
	n = v2Header + int(binary.BigEndian.Uint16(b[14:]))
	if n > maxProxy {
		return h, 0, fmt.Errorf("version 2 header of %d bytes is too long", n)
	}
	if len(b) < n {
		return h, 0, errShort
	}
	if command == 0x20 { // LOCAL: the proxy checks that we live
		return h, n, nil
	}
	h, err = v2Addresses(family, b[v2Header:n])
	return h, n, err
}

func v2Addresses(family byte, b []byte) (h proxyHeader, err error) {
	size := 0
	switch family {
	case 0x11:
		size = 4
	case 0x21:
		size = 16
	case 0x00, 0x31:
		return h, nil // UNSPEC and Unix sockets: no address to take
	default:
		return h, fmt.Errorf("cannot use address family and protocol %#x", family)
	}
	if len(b) < 2*size+4 {
		return h, errors.New("version 2 header has no room for its addresses")
	}
	h.source = v2Address(b[:size], b[2*size:])
	h.destination = v2Address(b[size:2*size], b[2*size+2:])
	return h, nil
}

func v2Address(host, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(host) // 4 or 16 bytes always succeed
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
}
