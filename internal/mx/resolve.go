package mx

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A Resolver asks DNS questions. Name is absolute without the final dot.
type Resolver interface {
	Lookup(ctx context.Context, name string, kind uint16) (Answer, error)
}

// Answer is what DNS says about one name and type.
type Answer struct {
	Records  []dns.RR // of the type asked for, CNAME records followed
	NotFound bool     // NXDOMAIN: the name does not exist, for any type
	Secure   bool     // a resolver on this host says it validated the answer (RFC 4035 §3.2.3)
}

// Errors of a lookup; all are temporary (RFC 5321 §5.1). ErrServer also
// stands for answers that make no sense.
var (
	ErrTimeout = errors.New("no answer from the resolver in time")
	ErrServer  = errors.New("the resolver failed")
)

// Limits of a lookup.
const (
	udpSize  = 1232 // octets, fits every path unfragmented (DNS flag day 2020)
	maxChain = 8    // CNAME records followed by asking again
)

// Client is a stub resolver: it asks one recursive server, over UDP from a
// new port each time, and over TCP where the answer is long.
type Client struct {
	Server  string        // host:port
	Timeout time.Duration // for one try, 0 = 5 s
	Tries   int           // 0 = 3
	Rand    io.Reader     // nil = crypto/rand
}

// SystemServer returns the first name server of a resolv.conf(5) file as
// host:port, and 127.0.0.1:53, like the C library, when there is none.
func SystemServer(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return "127.0.0.1:53"
	}
	for line := range strings.SplitSeq(string(b), "\n") {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(words[1]); err == nil {
			return netip.AddrPortFrom(addr, 53).String()
		}
	}
	return "127.0.0.1:53"
}

// Lookup asks for the records of one type, following CNAME records.
func (c *Client) Lookup(ctx context.Context, name string, kind uint16) (Answer, error) {
	owner := dns.CanonicalName(name)
	all := Answer{Secure: true}
	for range maxChain {
		m, err := c.ask(ctx, owner, kind)
		if err != nil {
			return Answer{}, fmt.Errorf("cannot look up %s %s: %w", strings.TrimSuffix(owner, "."), dns.TypeToString[kind], err)
		}
		// A validating resolver elsewhere may be impersonated on the way.
		all.Secure = all.Secure && m.AuthenticatedData && c.local()
		final, records, ok := follow(m, owner, kind)
		if !ok {
			break
		}
		if len(records) > 0 || final == owner || m.Rcode == dns.RcodeNameError {
			all.Records = records
			all.NotFound = m.Rcode == dns.RcodeNameError
			return all, nil
		}
		owner = final // the server stopped in the middle of the chain
	}
	return Answer{}, fmt.Errorf("cannot look up %s: more than %d aliases: %w", name, maxChain, ErrServer)
}

func (c *Client) local() bool {
	addr, err := netip.ParseAddrPort(c.Server)
	return err == nil && addr.Addr().IsLoopback()
}

// follow returns the name at the end of the chain of aliases in m that begins
// at owner, and its records. Records of other names are not believed. A chain
// that is too long, or a circle, is not ok.
func follow(m *dns.Msg, owner string, kind uint16) (final string, records []dns.RR, ok bool) {
	for range maxChain {
		records, next := owned(m, owner, kind)
		if len(records) > 0 || next == "" {
			return owner, records, true
		}
		owner = next
	}
	return "", nil, false
}

// owned returns the records of owner in m, and what it is an alias of.
func owned(m *dns.Msg, owner string, kind uint16) (records []dns.RR, alias string) {
	for _, rr := range m.Answer {
		if dns.CanonicalName(rr.Header().Name) != owner || rr.Header().Class != dns.ClassINET {
			continue
		}
		if rr.Header().Rrtype == kind {
			records = append(records, rr)
		}
		if c, ok := rr.(*dns.CNAME); ok {
			alias = dns.CanonicalName(c.Target)
		}
	}
	return records, alias
}

func (c *Client) ask(ctx context.Context, owner string, kind uint16) (*dns.Msg, error) {
	tries := c.Tries
	if tries == 0 {
		tries = 3
	}
	var m *dns.Msg
	var err error
	for range tries {
		m, err = c.try(ctx, owner, kind)
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	return m, err
}

func (c *Client) try(ctx context.Context, owner string, kind uint16) (*dns.Msg, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	q, err := c.query(owner, kind)
	if err != nil {
		return nil, err
	}
	m, err := c.exchange(ctx, "udp", q)
	if err == nil && m.Truncated {
		m, err = c.exchange(ctx, "tcp", q)
	}
	if err != nil {
		return nil, classify(err)
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return nil, fmt.Errorf("%w: %s", ErrServer, dns.RcodeToString[m.Rcode])
	}
	return m, nil
}

func classify(err error) error {
	var ne net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() {
		return ErrTimeout
	}
	return fmt.Errorf("%w: %w", ErrServer, err)
}

func (c *Client) query(owner string, kind uint16) (*dns.Msg, error) {
	random := c.Rand
	if random == nil {
		random = rand.Reader
	}
	var id [2]byte
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return nil, err
	}
	q := new(dns.Msg)
	q.SetQuestion(owner, kind)
	q.Id = binary.BigEndian.Uint16(id[:])
	q.AuthenticatedData = true // RFC 6840 §5.7: we understand the AD bit
	q.SetEdns0(udpSize, false)
	return q, nil
}

func (c *Client) exchange(ctx context.Context, network string, q *dns.Msg) (*dns.Msg, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, c.Server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck
	defer stop()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline) //nolint:errcheck // a closed conn fails below
	}
	dc := &dns.Conn{Conn: conn, UDPSize: 4096}
	if err := dc.WriteMsg(q); err != nil {
		return nil, err
	}
	for {
		m, err := dc.ReadMsg()
		if err == nil && answers(m, q) {
			return m, nil
		}
		// Whatever else arrives by UDP may be forged: wait for the true answer.
		if err != nil && !(network == "udp" && unreadable(err)) {
			return nil, err
		}
		if network == "tcp" {
			return nil, errors.New("the answer does not belong to the question")
		}
	}
}

// unreadable tells a bad datagram from a broken socket.
func unreadable(err error) bool {
	var ne net.Error
	return !errors.As(err, &ne) && !errors.Is(err, io.EOF)
}

// answers checks that m belongs to q (RFC 5452 §9.1).
func answers(m, q *dns.Msg) bool {
	if m.Id != q.Id || !m.Response || len(m.Question) != 1 {
		return false
	}
	got, want := m.Question[0], q.Question[0]
	return got.Qtype == want.Qtype && got.Qclass == want.Qclass && strings.EqualFold(got.Name, want.Name)
}
