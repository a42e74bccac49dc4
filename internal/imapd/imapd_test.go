package imapd

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/control"
	"peyk/internal/dialog"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// fakeUsers knows alice and bob, and a user "broken" about whom nobody can
// tell.
type fakeUsers struct {
	root  string
	quota mailbox.Quota
}

func (f fakeUsers) Mechanisms(context.Context, Client) []string { return []string{"PLAIN", "LOGIN"} }

func (f fakeUsers) Login(_ context.Context, mechanism string, plain []byte, _ Client, next func([]byte) ([]byte, error)) (dovecotauth.Login, error) {
	if mechanism == "LOGIN" {
		name := plain
		var err error
		if name == nil {
			name, err = next([]byte("Username:"))
		}
		if err != nil {
			return dovecotauth.Login{}, err
		}
		password, err := next([]byte("Password:"))
		if err != nil {
			return dovecotauth.Login{}, err
		}
		plain = bytes.Join([][]byte{nil, name, password}, []byte{0})
	}
	switch string(plain) {
	case "\x00alice\x00secret", "alice\x00alice\x00secret":
		return dovecotauth.Login{User: "alice"}, nil
	case "\x00bob\x00pass word\"\\":
		return dovecotauth.Login{User: "bob"}, nil
	}
	if rights, ok := strings.CutPrefix(string(plain), "\x00alice\x00"); ok && strings.HasSuffix(rights, "-only") {
		return dovecotauth.Login{User: "alice", Fields: map[string]string{dovecotauth.FieldRights: rights}}, nil
	}
	if strings.HasPrefix(string(plain), "\x00broken\x00") {
		return dovecotauth.Login{}, status.New(454, "4.7.0", "cannot reach the user database")
	}
	return dovecotauth.Login{}, status.New(535, "5.7.8", "wrong name or password")
}

func (f fakeUsers) Mailbox(_ context.Context, user string) (string, mailbox.Quota, error) {
	return filepath.Join(f.root, user), f.quota, nil
}

func (f fakeUsers) Find(_ context.Context, name string) (Account, bool, error) {
	switch strings.ToLower(name) {
	case "alice", "bob":
		name = strings.ToLower(name)
		account := Account{Name: name, Root: filepath.Join(f.root, name), Quota: f.quota}
		if name == "bob" {
			account.Groups = []string{"team", "the lot"}
		}
		return account, true, nil
	case "broken":
		return Account{}, false, status.New(454, "4.7.0", "cannot reach the user database")
	}
	return Account{}, false, nil
}

// A testServer is a server with services imap, imaps and preauth, over
// Maildirs in a directory of its own.
type testServer struct {
	dir       string
	host      *mailbox.Host
	addresses map[string]string
	log       *logBuffer
	options   Options
}

// logBuffer keeps the log of a server for the test to look into.
type logBuffer struct{ lines chan string }

func (b *logBuffer) Write(p []byte) (int, error) {
	select {
	case b.lines <- string(p):
	default:
	}
	return len(p), nil
}

func newHost(t testing.TB) *mailbox.Host {
	t.Helper()
	return newHostOf(t, mailbox.Options{Poll: time.Second, Watch: true})
}

func newHostOf(t testing.TB, o mailbox.Options) *mailbox.Host {
	t.Helper()
	o.Disk, o.Now, o.Rand, o.Hostname = new(commit.Disk), time.Now, rand.Reader, "test"
	host, err := mailbox.NewHost(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	return host
}

func hello(w io.Writer) error {
	_, err := io.WriteString(w, "Subject: news\n\nhello\n")
	return err
}

func startServer(t testing.TB, settings map[string]string) *testServer {
	t.Helper()
	c, err := control.Load(t.TempDir(), control.Of("imapd"), settings)
	if err != nil {
		t.Fatal(err)
	}
	ts := &testServer{dir: t.TempDir(), host: newHost(t), addresses: map[string]string{}, log: &logBuffer{make(chan string, 1000)}}
	o := Options{Host: ts.host, Users: fakeUsers{root: ts.dir, quota: mailbox.Quota{Bytes: c.Size(control.Quota), Mailboxes: int64(c.Int(control.IMAPMailboxes))}},
		Metadata: ts.host.MetaStore(filepath.Join(ts.dir, mailbox.ServerMetaName)),
		Shared:   ts.host.SharedList(filepath.Join(ts.dir, mailbox.SharedName)),
		Now:      time.Now, Rand: rand.Reader, TLS: testTLS(t), Log: eventlog.New(ts.log, "imapd", eventlog.Logfmt, time.Now)}.configured(c)
	o.Hostname = "imap.test"
	ts.options = o
	ts.listen(t, "imap", o, guardconn.Options{})
	ts.listen(t, "imaps", o, guardconn.Options{TLS: o.TLS, HandshakeTimeout: o.Limits.LoginTime})
	o.Preauth = filepath.Join(ts.dir, "alice")
	ts.listen(t, "preauth", o, guardconn.Options{})
	return ts
}

func (ts *testServer) listen(t testing.TB, name string, o Options, g guardconn.Options) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.listenOn(t, inner, name, o, g)
}

// listenOn adds a service; stop ends it.
func (ts *testServer) listenOn(t testing.TB, inner net.Listener, name string, o Options, g guardconn.Options) (stop func()) {
	ts.addresses[name] = inner.Addr().String()
	srv := New(o)
	g.Tracker, g.Farewell, g.Now = &srv.Tracker, Farewell, time.Now
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		srv.Serve(ctx, guardconn.New(inner, g))
		close(ended)
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

// dial connects to a service; imap is the first.
func (ts *testServer) dial(service string) (net.Conn, error) {
	if service == "" {
		service = "imap"
	}
	if service == "imaps" {
		return tls.Dial("tcp", ts.addresses[service], &tls.Config{InsecureSkipVerify: true})
	}
	return net.Dial("tcp", ts.addresses[service])
}

// testTLS makes a certificate of its own.
func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// deliver puts a message into a user's INBOX as another process would.
func (ts *testServer) deliver(t testing.TB, user, text string) {
	t.Helper()
	other := newHost(t)
	errs := other.Deliver([]mailbox.Target{{Root: filepath.Join(ts.dir, user)}}, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if errs[0] != nil {
		t.Fatal(errs[0])
	}
}

func TestDialogues(t *testing.T) {
	dialog.RunDir(t, filepath.Join("..", "..", "test", "e2e", "imapd"), func(t *testing.T, settings map[string]string) dialog.Dialer {
		return startServer(t, settings).dial
	})
}

func TestMain(m *testing.M) {
	os.Setenv("TZ", "UTC")
	time.Local = time.UTC // INTERNALDATE is told in local time
	os.Exit(m.Run())
}
