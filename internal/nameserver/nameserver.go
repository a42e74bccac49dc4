// Package nameserver is a small authoritative DNS server for the sandbox and
// for tests: it answers from lines in the format of a zone file (RFC 1035
// §5), over UDP and TCP, and misbehaves where it is told to.
//
// Names are absolute; records may belong to any number of zones. Beside
// records a line may hold one of two directives of its own:
//
//	$FAULT NAME [TYPE] HOW   queries for NAME (of TYPE) fail as HOW says
//	$SECURE NAME             answers below NAME carry the AD bit
//
// See Fault for the words that HOW may be.
package nameserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Fault is a way to misbehave.
type Fault string

// The faults. Lame answers what a server says that lost its zone.
const (
	ServFail Fault = "servfail" // response code SERVFAIL
	Lame     Fault = "refused"  // response code REFUSED
	Silent   Fault = "silent"   // no answer at all
	Spoof    Fault = "spoof"    // an answer with a wrong id first, then the true one
	Truncate Fault = "truncate" // UDP answers are empty and have the TC bit
	Garbage  Fault = "garbage"  // bytes that are not a DNS message
)

type question struct {
	name string // canonical: lower case, dot at the end
	kind uint16 // dns.TypeNone stands for every type
}

// Zone is what a server answers from. It never changes.
type Zone struct {
	records map[question][]dns.RR
	names   map[string]bool // every name that exists, parents included
	faults  map[question]Fault
	secure  []string
}

// Parse reads zone-file lines.
func Parse(lines []string) (*Zone, error) {
	z := &Zone{records: map[question][]dns.RR{}, names: map[string]bool{}, faults: map[question]Fault{}}
	var plain strings.Builder
	for _, line := range lines {
		taken, err := z.directive(line)
		if err != nil {
			return nil, fmt.Errorf("cannot read zone line %q: %w", line, err)
		}
		if !taken {
			plain.WriteString(line)
		}
		plain.WriteByte('\n') // keeps the parser's line numbers true
	}
	return z, z.read(plain.String())
}

func (z *Zone) read(text string) error {
	p := dns.NewZoneParser(strings.NewReader(text), ".", "")
	p.SetDefaultTTL(60)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		z.add(rr)
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("cannot read zone: %w", err)
	}
	return nil
}

func (z *Zone) add(rr dns.RR) {
	name := dns.CanonicalName(rr.Header().Name)
	q := question{name, rr.Header().Rrtype}
	z.records[q] = append(z.records[q], rr)
	for at, end := 0, false; !end; at, end = dns.NextLabel(name, at) {
		z.names[name[at:]] = true
	}
}

// directive takes a line that is one of ours, not of RFC 1035.
func (z *Zone) directive(line string) (taken bool, err error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return false, nil
	}
	switch words[0] {
	case "$SECURE":
		if len(words) != 2 {
			return true, errors.New("expected $SECURE NAME")
		}
		z.secure = append(z.secure, dns.CanonicalName(words[1]))
		return true, nil
	case "$FAULT":
		return true, z.fault(words[1:])
	}
	return false, nil
}

func (z *Zone) fault(words []string) error {
	if len(words) != 2 && len(words) != 3 {
		return errors.New("expected $FAULT NAME [TYPE] HOW")
	}
	q := question{name: dns.CanonicalName(words[0])}
	if len(words) == 3 {
		kind, ok := dns.StringToType[strings.ToUpper(words[1])]
		if !ok {
			return fmt.Errorf("unknown type %q", words[1])
		}
		q.kind = kind
	}
	how := Fault(words[len(words)-1])
	switch how {
	case ServFail, Lame, Silent, Spoof, Truncate, Garbage:
		z.faults[q] = how
		return nil
	}
	return fmt.Errorf("unknown fault %q", how)
}

func (z *Zone) faultFor(q question) Fault {
	if f, ok := z.faults[q]; ok {
		return f
	}
	return z.faults[question{name: q.name}]
}

// maxChain is the longest chain of CNAME records that is followed.
const maxChain = 16

// answer fills m with what the zone says (RFC 1034 §4.3.2, without wildcards
// and referrals).
func (z *Zone) answer(m *dns.Msg, q question) {
	for range maxChain {
		if rrs := z.records[q]; len(rrs) > 0 {
			m.Answer = append(m.Answer, rrs...)
			return
		}
		alias := z.records[question{q.name, dns.TypeCNAME}]
		if len(alias) == 0 {
			break
		}
		m.Answer = append(m.Answer, alias[0])
		q.name = dns.CanonicalName(alias[0].(*dns.CNAME).Target)
	}
	if !z.names[q.name] {
		m.Rcode = dns.RcodeNameError
	}
}

func (z *Zone) isSecure(name string) bool {
	for _, zone := range z.secure {
		if dns.IsSubDomain(zone, name) {
			return true
		}
	}
	return false
}

// Server answers queries on one address.
type Server struct {
	udp, tcp *dns.Server
	addr     string

	mu      sync.Mutex
	zone    *Zone
	queries map[string]int
}

// Listen starts a server on addr, a host:port whose port may be 0; UDP and
// TCP get the same port. It answers until Close.
func Listen(ctx context.Context, addr string, zone *Zone) (*Server, error) {
	var errs []error
	for range 10 { // with port 0 the TCP port may be somebody else's
		s, err := listen(ctx, addr, zone)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("cannot listen for DNS: %w", errs[0])
}

func listen(ctx context.Context, addr string, zone *Zone) (*Server, error) {
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, err
	}
	ln, err := lc.Listen(ctx, "tcp", pc.LocalAddr().String())
	if err != nil {
		pc.Close()
		return nil, err
	}
	s := &Server{zone: zone, addr: pc.LocalAddr().String(), queries: map[string]int{}}
	s.udp = s.start(&dns.Server{PacketConn: pc})
	s.tcp = s.start(&dns.Server{Listener: ln})
	return s, nil
}

// start returns when d answers: Shutdown before that would be an error.
func (s *Server) start(d *dns.Server) *dns.Server {
	ready := make(chan struct{})
	d.Handler = s
	d.NotifyStartedFunc = func() { close(ready) }
	go d.ActivateAndServe() //nolint:errcheck // ends by Close, its error says so
	<-ready
	return d
}

// Addr returns host:port.
func (s *Server) Addr() string { return s.addr }

// Close stops the server.
func (s *Server) Close() error { return errors.Join(s.udp.Shutdown(), s.tcp.Shutdown()) }

// SetZone makes the server answer from another zone.
func (s *Server) SetZone(z *Zone) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone = z
}

// Queries returns how often "NAME. TYPE" was asked.
func (s *Server) Queries(name string, kind uint16) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queries[dns.CanonicalName(name)+" "+dns.TypeToString[kind]]
}

func (s *Server) asked(q question) *Zone {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries[q.name+" "+dns.TypeToString[q.kind]]++
	return s.zone
}

// ServeDNS answers one query; it is the dns.Handler of this server.
func (s *Server) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(r)
	if len(r.Question) != 1 || r.Opcode != dns.OpcodeQuery {
		m.Rcode = dns.RcodeNotImplemented
		w.WriteMsg(m) //nolint:errcheck // the client asks again
		return
	}
	q := question{dns.CanonicalName(r.Question[0].Name), r.Question[0].Qtype}
	zone := s.asked(q)
	m.Authoritative = true
	m.RecursionAvailable = true
	m.AuthenticatedData = zone.isSecure(q.name)
	zone.answer(m, q)
	s.send(w, r, m, zone.faultFor(q))
}

func (s *Server) send(w dns.ResponseWriter, r, m *dns.Msg, fault Fault) {
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	switch fault {
	case Silent:
		return
	case Garbage:
		w.Write([]byte("this is no DNS message")) //nolint:errcheck
		return
	case ServFail:
		m.Answer, m.Rcode = nil, dns.RcodeServerFailure
	case Lame:
		m.Answer, m.Rcode = nil, dns.RcodeRefused
	case Spoof:
		forged := m.Copy()
		forged.Id++
		forged.Answer, forged.Rcode = nil, dns.RcodeNameError
		w.WriteMsg(forged) //nolint:errcheck
	case Truncate:
		if udp {
			m.Answer, m.Truncated = nil, true
		}
	}
	if udp {
		m.Truncate(udpSize(r))
	}
	w.WriteMsg(m) //nolint:errcheck
}

func udpSize(r *dns.Msg) int {
	if opt := r.IsEdns0(); opt != nil {
		return int(opt.UDPSize())
	}
	return dns.MinMsgSize
}
