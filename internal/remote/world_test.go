package remote

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/mx"
	"peyk/internal/nameserver"
	"peyk/internal/table"
)

// zone is the part of the world that has names.
const zone = `
one.test.       MX 10 mx.one.test.
mx.one.test.    A 192.0.2.1
two.test.       MX 10 mx1.two.test.
two.test.       MX 20 mx2.two.test.
mx1.two.test.   A 192.0.2.21
mx2.two.test.   A 192.0.2.22
three.test.     MX 10 mx1.two.test.
three.test.     MX 20 mx2.two.test.
three.test.     MX 30 mx.one.test.
bare.test.      A 192.0.2.1
six.test.       AAAA 2001:db8::1
null.test.      MX 0 .
self.test.      MX 10 me.example.test.
me.example.test. A 198.51.100.9
loopback.test.  MX 10 lo.test.
lo.test.        A 127.0.0.1
noaddr.test.    MX 10 nowhere.test.
fail.test.      MX 10 mx.one.test.
$FAULT fail.test. servfail
safe.test.      MX 10 mx.safe.test.
mx.safe.test.   A 192.0.2.1
$SECURE safe.test.
`

// world is everything around one Relay: DNS, mail hosts by address, and an
// LMTP socket.
type world struct {
	t     testing.TB
	o     Options
	relay *Relay
	log   *safeBuffer
	lmtp  net.Addr

	mu     sync.Mutex
	hosts  map[string]*host // by address
	dialed []string
}

func newWorld(t testing.TB, change ...func(*Options)) *world {
	t.Helper()
	z, err := nameserver.Parse(strings.Split(zone, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	ns, err := nameserver.Listen(context.Background(), "127.0.0.1:0", z)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	w := &world{t: t, hosts: map[string]*host{}, log: new(safeBuffer)}
	w.o = Options{
		Hostname: "me.example.test", Port: 25, Connect: time.Minute, Open: time.Minute, Limit: 5 * time.Minute,
		Search: &mx.Searcher{
			Resolver: &mx.Client{Server: ns.Addr(), Timeout: 20 * time.Second, Tries: 1}, Rand: mathrand.NewChaCha8([32]byte{}),
			Self: []string{"me.example.test"},
		},
		Dial: w.dial, Log: eventlog.New(w.log, "remote", eventlog.Logfmt, time.Now), Now: time.Now, Rand: rand.Reader,
	}
	for _, c := range change {
		c(&w.o)
	}
	w.relay = New(w.o)
	w.listen()
	return w
}

func (w *world) listen() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.lmtp = l.Addr()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		lmtp.Serve(ctx, l, w.relay, lmtp.Options{Hostname: "me.example.test", RequireTLS: true, Drain: time.Second})
	}()
	w.t.Cleanup(func() { cancel(); <-done })
}

func routes(lines ...string) func(*Options) {
	return func(o *Options) {
		r, err := table.ParseRoutes(lines)
		if err != nil {
			panic(err)
		}
		o.Routes = r
	}
}

// dial connects to the host that the world has at an address. The connection
// says that it goes there.
func (w *world) dial(_ context.Context, to netip.AddrPort) (net.Conn, error) {
	w.mu.Lock()
	h := w.hosts[to.Addr().String()]
	w.dialed = append(w.dialed, to.String())
	w.mu.Unlock()
	if h == nil {
		return nil, errors.New("connection refused")
	}
	return h.connect(to)
}

func (w *world) tried() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.dialed, " ")
}

// host puts a mail host at an address.
func (w *world) host(addr string, h *host) *host {
	h.w = w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[addr] = h
	return h
}

// host is a mail host that does what its fields say.
type host struct {
	w        *world
	greeting string            // "220 host ESMTP"
	name     string            // "host"
	keywords []string          // of EHLO
	secure   []string          // of EHLO within TLS; nil = keywords less STARTTLS
	replies  map[string]string // by the beginning of a command; "close" closes, "hang" waits for ever
	end      string            // to the message; "" = 250
	cert     *tls.Certificate  // STARTTLS works
	swallow  bool              // the handshake hangs up

	mu    sync.Mutex
	mails []mail
	lines []string
	wg    sync.WaitGroup
}

type mail struct {
	from string
	to   []string
	body string
	tls  bool
}

type named struct {
	net.Conn
	to netip.AddrPort
}

func (n named) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(n.to) }

func (h *host) connect(to netip.AddrPort) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	peer, err := l.Accept()
	if err != nil {
		return nil, err
	}
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		(&visit{h: h, conn: peer, r: bufio.NewReader(peer)}).run()
	}()
	return named{conn, to}, nil
}

func (h *host) got() []mail {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]mail(nil), h.mails...)
}

func (h *host) commands() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.lines, "\n")
}

// visit is one connection to a host.
type visit struct {
	h      *host
	conn   net.Conn
	r      *bufio.Reader
	secure bool
	mail   mail
}

func (v *visit) say(s string) { io.WriteString(v.conn, s+"\r\n") }

func (v *visit) run() {
	defer func() { v.conn.Close() }()
	greeting := v.h.greeting
	if greeting == "" {
		greeting = "220 host ESMTP"
	}
	v.say(greeting)
	for {
		line, err := v.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		v.h.mu.Lock()
		v.h.lines = append(v.h.lines, line)
		v.h.mu.Unlock()
		if !v.obey(line) {
			return
		}
	}
}

func (v *visit) obey(line string) bool {
	for prefix, reply := range v.h.replies {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		if reply == "hang" {
			io.Copy(io.Discard, v.r)
			return false
		}
		if reply != "close" {
			v.say(reply)
		}
		return reply != "close" && !strings.HasPrefix(reply, "421")
	}
	verb, _, _ := strings.Cut(line, " ")
	switch verb {
	case "EHLO":
		v.ehlo()
	case "MAIL":
		v.mail = mail{from: line, tls: v.secure}
		v.say("250 ok")
	case "RCPT":
		v.mail.to = append(v.mail.to, line)
		v.say("250 ok")
	case "DATA":
		return v.data()
	case "STARTTLS":
		return v.startTLS()
	case "AUTH":
		v.say("235 ok")
	case "QUIT":
		v.say("221 bye")
		return false
	default:
		v.say("250 ok")
	}
	return true
}

func (v *visit) ehlo() {
	keywords := v.h.keywords
	if v.secure && v.h.secure != nil {
		keywords = v.h.secure
	}
	v.say("250-" + cmp.Or(v.h.name, "host") + " greets you")
	for _, k := range keywords {
		if k != "STARTTLS" || !v.secure {
			v.say("250-" + k)
		}
	}
	v.say("250 HELP")
}

func (v *visit) startTLS() bool {
	v.say("220 go")
	if v.h.swallow {
		return false
	}
	c := tls.Server(v.conn, &tls.Config{Certificates: []tls.Certificate{*v.h.cert}})
	if c.Handshake() != nil {
		return false
	}
	v.conn, v.secure = c, true
	v.r.Reset(c)
	return true
}

func (v *visit) data() bool {
	if len(v.mail.to) == 0 {
		v.say("554 nobody")
		return true
	}
	v.say("354 go")
	var body strings.Builder
	for {
		line, err := v.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		body.WriteString(strings.TrimPrefix(line, "."))
	}
	v.mail.body = body.String()
	v.h.mu.Lock()
	v.h.mails = append(v.h.mails, v.mail)
	v.h.mu.Unlock()
	switch v.h.end {
	case "":
		v.say("250 2.0.0 queued as 7")
	case "close":
		return false
	default:
		v.say(v.h.end)
	}
	return true
}

// deliver hands a message to the Relay as queue-run does.
func (w *world) deliver(t *lmtp.Transaction, to ...string) []lmtp.Result {
	w.t.Helper()
	for _, a := range to {
		t.Recipients = append(t.Recipients, envelope.Recipient{Address: a})
	}
	if t.Message == nil {
		t.Message = strings.NewReader("Subject: x\r\n\r\n.dot\r\n")
		t.Size = int64(t.Message.(*strings.Reader).Len())
	}
	t.QueueID = "q1"
	c, err := lmtp.Dial(w.t.Context(), "tcp", w.lmtp.String(), "queue-run", lmtp.Timeouts{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	results, err := c.Deliver(w.t.Context(), t)
	if err != nil {
		w.t.Fatal(err, results)
	}
	return results
}

func (w *world) replies(to ...string) string {
	w.t.Helper()
	var list []string
	for _, r := range w.deliver(&lmtp.Transaction{Sender: "a@b.test"}, to...) {
		list = append(list, without(r.Reply))
	}
	return strings.Join(list, "\n")
}

// without removes the recipient that lmtp puts into a reply.
func without(reply string) string { return recipient.ReplaceAllString(reply, "$1") }

var recipient = regexp.MustCompile(`^(\d+ [\d.]+ )<[^>]*> `)

// certificate makes one for names, and a pool that trusts it.
func certificate(t testing.TB, names ...string) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
