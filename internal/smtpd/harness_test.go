package smtpd

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/dialog"
	"peyk/internal/dovecotauth"
	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
	"peyk/internal/status"
)

// memory is a queue that keeps what was committed.
type memory struct {
	mu       sync.Mutex
	next     int
	full     bool  // Room refuses
	failing  error // Commit fails
	messages []stored
}

type stored struct {
	envelope envelope.Envelope
	content  string
}

func (q *memory) NewID() (string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.next++
	return fmt.Sprintf("q%d", q.next), nil
}

func (q *memory) Room(int64) error {
	if q.full {
		return status.New(452, "4.3.1", "cannot queue mail: the disk is full")
	}
	return nil
}

func (q *memory) Create(e *envelope.Envelope) (Writer, error) {
	if err := e.Check(); err != nil {
		return nil, err
	}
	return &memoryWriter{queue: q, envelope: *e}, nil
}

func (q *memory) all() []stored {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]stored(nil), q.messages...)
}

type memoryWriter struct {
	bytes.Buffer
	queue    *memory
	envelope envelope.Envelope
}

func (w *memoryWriter) Commit() error {
	w.queue.mu.Lock()
	defer w.queue.mu.Unlock()
	if w.queue.failing != nil {
		return w.queue.failing
	}
	w.queue.messages = append(w.queue.messages, stored{w.envelope, w.String()})
	return nil
}

func (w *memoryWriter) Abort() {}

// people is the directory of the tests: alice and bob at local.test, aliases,
// and a catch-all at all.test.
type people struct{}

func (people) Local(domain string) (bool, error) {
	return domain == "local.test" || domain == "all.test", nil
}

func (people) Exists(_ context.Context, a address.Address) (bool, error) {
	user, _ := a.Detail("+")
	switch strings.ToLower(user) {
	case "alice", "bob", "sales", "postmaster", "a b":
		return true, nil
	case "tempfail":
		return false, errors.New("the service is away")
	}
	return a.Domain == "all.test", nil
}

func (people) Owns(_ context.Context, login string, a address.Address) (bool, error) {
	user, _ := a.Detail("+")
	return a.WithLocal(user).Key() == login || login == "alice@local.test" && a.Key() == "sales@local.test", nil
}

func (people) Postmaster(context.Context) (address.Address, bool, error) {
	return address.Address{Local: "postmaster", Domain: "local.test"}, true, nil
}

// logins knows alice and bob, both with the password secret.
type logins struct{}

func (logins) Offer(context.Context, dovecotauth.AuthInfo) []string {
	return []string{"PLAIN", "X-STEPS"}
}

// Exchange knows X-STEPS: it asks one and two, and wants 1 and 2.
func (logins) Exchange(_ context.Context, _, mech string, initial []byte, _ dovecotauth.AuthInfo, next func([]byte) ([]byte, error)) (dovecotauth.Login, error) {
	one, err := initial, error(nil)
	if initial == nil {
		one, err = next([]byte("one"))
	}
	if err != nil {
		return dovecotauth.Login{}, err
	}
	two, err := next([]byte("two"))
	if err != nil {
		return dovecotauth.Login{}, err
	}
	if mech != "X-STEPS" || string(one) != "1" || string(two) != "2" {
		return dovecotauth.Login{}, status.New(535, "5.7.8", "cannot log in: wrong user or password")
	}
	return dovecotauth.Login{User: "alice@local.test"}, nil
}

func (logins) Authenticate(_ context.Context, _, mech string, response []byte, info dovecotauth.AuthInfo) (dovecotauth.Login, error) {
	parts := strings.Split(string(response), "\x00")
	if mech != "PLAIN" || !info.Secured || len(parts) != 3 {
		return dovecotauth.Login{}, errors.New("not a login that the conn may pass on")
	}
	if parts[1] == "away@local.test" {
		return dovecotauth.Login{}, status.New(454, "4.7.0", "cannot check logins now")
	}
	if parts[1] == "alice@local.test" && strings.HasSuffix(parts[2], "-only") {
		return dovecotauth.Login{User: parts[1], Fields: map[string]string{dovecotauth.FieldRights: parts[2]}}, nil
	}
	if parts[2] != "secret" || parts[1] != "alice@local.test" && parts[1] != "bob@local.test" {
		return dovecotauth.Login{}, status.New(535, "5.7.8", "cannot log in: wrong user or password")
	}
	return dovecotauth.Login{User: parts[1]}, nil
}

var certificate = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.local.test"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"mx.local.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
})

// lab is a server with every service on a listener of its own.
type lab struct {
	t       testing.TB
	queue   *memory
	server  *Server
	tracker *guardconn.Tracker
	log     bytes.Buffer
	logMu   sync.Mutex
	options guardconn.Options
	addr    map[Service]net.Addr
	done    sync.WaitGroup
	stops   []func() error
}

func (l *lab) Write(p []byte) (int, error) {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	return l.log.Write(p)
}

func (l *lab) logged() string {
	l.logMu.Lock()
	defer l.logMu.Unlock()
	return l.log.String()
}

func newLab(t testing.TB, settings map[string]string) *lab {
	t.Helper()
	l := &lab{t: t, queue: &memory{}, tracker: &guardconn.Tracker{}, addr: map[Service]net.Addr{}}
	plain := map[string]string{}
	for name, value := range settings {
		switch name {
		case "test-disk":
			l.queue.full = value == "full"
			l.queue.failing = map[string]error{"failing": errors.New("input/output error")}[value]
		default:
			plain[name] = value
		}
	}
	config, err := control.Load(t.TempDir(), control.Of("smtpd"), plain)
	if err != nil {
		t.Fatal(err)
	}
	log := eventlog.New(l, "smtpd", eventlog.Logfmt, time.Now)
	l.server = New(Options{Hostname: "mx.local.test", Directory: people{}, Auth: logins{}, Queue: l.queue, TLS: certificate(),
		Log: log, Now: time.Now, Rand: rand.Reader}, NewPolicy(config))
	l.options = guardconn.Options{Tracker: l.tracker, Farewell: Farewell("mx.local.test"), Log: log}
	for _, s := range []Service{MX, Submission, Submissions, Submit} {
		l.serve(s)
	}
	t.Cleanup(l.stop)
	return l
}

func (l *lab) serve(s Service) {
	network, address := "tcp", "127.0.0.1:0"
	if s == Submit {
		network, address = "unix", filepath.Join(l.t.TempDir(), "s")
	}
	inner, err := net.Listen(network, address)
	if err != nil {
		l.t.Fatal(err)
	}
	o := l.options
	if s == Submissions {
		o.TLS = certificate()
	}
	guarded := guardconn.New(inner, o)
	l.addr[s] = inner.Addr()
	l.stops = append(l.stops, guarded.Close)
	l.done.Go(func() {
		if err := l.server.Serve(guarded, s); err != nil {
			l.t.Errorf("Serve: %v", err)
		}
	})
}

func (l *lab) stop() {
	for _, stop := range l.stops {
		stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	l.tracker.Drain(ctx)
	l.done.Wait()
	if log := l.logged(); strings.Contains(log, "event=panic") {
		l.t.Errorf("the server met a defect:\n%s", log)
	}
}

func (l *lab) dial(service string) (net.Conn, error) {
	s := Service(service)
	if s == "" {
		s = MX
	}
	addr, ok := l.addr[s]
	if !ok {
		return nil, fmt.Errorf("no service %q", service)
	}
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil || s != Submissions {
		return c, err
	}
	return tls.Client(c, &tls.Config{InsecureSkipVerify: true}), nil
}

func TestDialogues(t *testing.T) {
	dialog.RunDir(t, "../../test/e2e/smtpd", func(t *testing.T, settings map[string]string) dialog.Dialer {
		return newLab(t, settings).dial
	})
}
