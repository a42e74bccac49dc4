package pop3d

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"peyk/internal/control"
	"peyk/internal/dialog"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// people are the accounts of the dialogues: password and messages as stored.
var people = map[string]struct {
	password string
	messages []string
}{
	"alice": {"secret", []string{
		"From: a@example.test\nSubject: one\n\nHello\nWorld\n",
		"Subject: dots\n\n.\n..\n.x\n.\r\nlast\n",
		"Subject: crlf\r\n\r\nkept as it is\r\n",
		"Subject: no end\n\nno newline at the end",
		"Subject: header only\n",
		"Subject: پیک\n\nسلام\n",
		"Subject: long\n\n" + strings.Repeat("."+strings.Repeat("x", 70)+"\n", 2000),
	}},
	// The maildrop of RFC 1939 §5: two messages of 120 and 200 octets.
	"mrose": {"tanstaaf", []string{sized(120), sized(200)}},
	"carol": {"two words ", nil},
	"пётр":  {"пароль", nil},
}

// sized returns a message of n octets as POP3 counts them.
func sized(n int) string {
	const head = "Subject: x\n\n"
	return head + strings.Repeat("y", n-len(head)-2-2) + "\n"
}

// fakeAccounts knows people, and a user "broken" about whom nobody can tell.
type fakeAccounts struct{ root string }

func (f fakeAccounts) Mechanisms(context.Context, Credentials) []string {
	return []string{"PLAIN", "LOGIN"}
}

func (f fakeAccounts) Login(_ context.Context, c Credentials) (Account, error) {
	if c.Mechanism == "LOGIN" {
		name, err := c.Response, error(nil)
		if name == nil {
			name, err = c.Next([]byte("Username:"))
		}
		if err != nil {
			return Account{}, err
		}
		password, err := c.Next([]byte("Password:"))
		if err != nil {
			return Account{}, err
		}
		c.Response = bytes.Join([][]byte{nil, name, password}, []byte{0})
	}
	fields := strings.Split(string(c.Response), "\x00")
	user, password := fields[1], fields[2]
	if user == "broken" {
		return Account{}, status.New(454, "4.7.0", "cannot reach the user database")
	}
	var login dovecotauth.Login
	if strings.HasSuffix(password, "-only") { // a password of few rights
		login.Fields = map[string]string{dovecotauth.FieldRights: password}
		password = people[user].password
	}
	if p, ok := people[user]; !ok || p.password != password {
		return Account{}, status.New(535, "5.7.8", "wrong name or password")
	}
	return Account{User: user, Maildir: filepath.Join(f.root, user), Login: login}, nil
}

// fakeDrops keeps maildrops in memory, over files that tests can remove.
type fakeDrops struct {
	mu   sync.Mutex
	root string
	all  map[string]*fakeDrop
}

type fakeDrop struct {
	in   *fakeDrops
	dir  string
	used bool
	gone map[uint32]bool
	fail error
	list []mailbox.Message
}

func newFakeDrops(t testing.TB) *fakeDrops {
	f := &fakeDrops{root: t.TempDir(), all: map[string]*fakeDrop{}}
	for user, p := range people {
		f.add(t, user, p.messages)
	}
	return f
}

func (f *fakeDrops) add(t testing.TB, user string, messages []string) {
	d := &fakeDrop{in: f, dir: filepath.Join(f.root, user), gone: map[uint32]bool{}}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, m := range messages {
		uid := uint32(i + 1)
		if err := os.WriteFile(d.path(uid), []byte(m), 0o600); err != nil {
			t.Fatal(err)
		}
		d.list = append(d.list, mailbox.Message{UID: uid, Size: wireSize(m), FileSize: int64(len(m))})
	}
	f.all[d.dir] = d
}

// wireSize counts octets with CRLF line ends.
func wireSize(m string) int64 {
	return int64(len(strings.ReplaceAll(strings.ReplaceAll(m, "\r\n", "\n"), "\n", "\r\n")))
}

func (f *fakeDrops) Open(maildir string) (Maildrop, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.all[maildir]
	if d == nil {
		return nil, status.New(451, "4.3.0", "cannot open the mailbox")
	}
	if d.used {
		return nil, status.New(450, "4.2.1", "cannot lock the maildrop, another session has it").Because("", mailbox.ErrInUse)
	}
	d.used = true
	return d, nil
}

func (d *fakeDrop) path(uid uint32) string { return filepath.Join(d.dir, fmt.Sprint(uid)) }

func (d *fakeDrop) Snapshot(context.Context) (*mailbox.Snapshot, error) {
	var left []mailbox.Message
	for _, m := range d.list {
		if !d.gone[m.UID] {
			left = append(left, m)
		}
	}
	return &mailbox.Snapshot{UIDValidity: 0x5f3b2c1a, Messages: mailbox.ListOf(left)}, nil
}

func (d *fakeDrop) Open(uid uint32) (*os.File, error) {
	f, err := os.Open(d.path(uid))
	if os.IsNotExist(err) {
		return nil, mailbox.ErrGone
	}
	return f, err
}

func (d *fakeDrop) Expunge(uids []uint32) error {
	for _, uid := range uids {
		d.gone[uid] = true
	}
	return d.fail
}

func (d *fakeDrop) Close() {
	d.in.mu.Lock()
	defer d.in.mu.Unlock()
	d.used = false
}

// world is a running server.
type world struct {
	server *Server
	drops  *fakeDrops
	log    *lines
	plain  net.Listener
	secure net.Listener
	stop   context.CancelFunc
	ended  chan struct{}
}

func testTLS(t testing.TB) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func startWorld(t testing.TB, settings map[string]string) *world {
	t.Helper()
	drops := newFakeDrops(t)
	return startOver(t, settings, Options{Accounts: fakeAccounts{drops.root}, Drops: drops}, drops)
}

func startOver(t testing.TB, settings map[string]string, o Options, drops *fakeDrops) *world {
	t.Helper()
	preauth := settings["preauth"]
	delete(settings, "preauth")
	c, err := control.Load(t.TempDir(), control.Of("pop3d"), settings)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{drops: drops, log: new(lines), ended: make(chan struct{})}
	o.TLS, o.Now, o.Rand = testTLS(t), time.Now, rand.Reader
	o.Log = eventlog.New(w.log, "pop3d", eventlog.Logfmt, time.Now)
	o = o.configured(c)
	o.Hostname = "mail.example.test"
	if preauth != "" {
		o.Preauth = filepath.Join(drops.root, preauth)
	}
	w.server = NewServer(o)
	w.plain, w.secure = w.listen(t, nil, o), w.listen(t, o.TLS, o)
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	go func() {
		defer close(w.ended)
		serveAll(ctx, w.server, []net.Listener{w.plain, w.secure})
	}()
	t.Cleanup(func() { w.stop(); <-w.ended })
	return w
}

func (w *world) listen(t testing.TB, config *tls.Config, o Options) net.Listener {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return guardconn.New(inner, guardconn.Options{TLS: config, Tracker: &w.server.Tracker, Log: o.Log})
}

func (w *world) dial(service string) (net.Conn, error) {
	switch service {
	case "", "pop3":
		return net.Dial("tcp", w.plain.Addr().String())
	case "pop3s":
		return tls.Dial("tcp", w.secure.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	}
	return nil, fmt.Errorf("no such service")
}

func TestDialogues(t *testing.T) {
	dialog.RunDir(t, "../../test/e2e/pop3d", func(t *testing.T, settings map[string]string) dialog.Dialer {
		return startWorld(t, settings).dial
	})
}

// lines is a log that tests read.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
