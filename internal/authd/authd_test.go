package authd

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/control"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/passhash"
	"peyk/internal/status"
)

const canary = "c4n4ry-p4ss"

// world is a server of a control directory, its log and its clock.
type world struct {
	dir   string
	s     *Server
	log   *safeBuffer
	clock atomic.Int64
	slept atomic.Int64 // nanoseconds that logins had to wait
	auth  *dovecotauth.Auth
	users *dovecotauth.UserDB
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

func load(t testing.TB, dir string, set map[string]string) *control.Config {
	t.Helper()
	c, err := control.Load(dir, control.Of("authd"), set)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func start(t testing.TB, set map[string]string, usersFile string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "ad")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	given := map[string]string{"auth-state": filepath.Join(dir, "state")}
	maps.Copy(given, set)
	set = given
	w := &world{dir: dir, log: &safeBuffer{}}
	w.clock.Store(time.Unix(1e9, 0).UnixNano())
	w.write(t, usersFile)
	now := func() time.Time { return time.Unix(0, w.clock.Load()) }
	w.s = New(load(t, dir, set), Options{Log: eventlog.New(w.log, "authd", eventlog.Logfmt, now), Now: now,
		Sleep: func(ctx context.Context, d time.Duration) error { w.slept.Add(int64(d)); return ctx.Err() }})
	wire := &dovecotauth.Server{Auth: w.s, Directory: w.s, Log: w.s.options.Log, Now: now}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	logins, lookups := w.listen(t, "a"), w.listen(t, "u")
	go func() { done <- serveAll(ctx, wire, []net.Listener{logins}, []net.Listener{lookups}) }()
	w.auth = dovecotauth.NewAuth(filepath.Join(dir, "a"), dovecotauth.Options{})
	w.users = dovecotauth.NewUserDB(filepath.Join(dir, "u"), dovecotauth.Options{})
	t.Cleanup(func() {
		w.s.Close()
		w.auth.Close()
		w.users.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if strings.Contains(w.log.String(), canary) {
			t.Errorf("the log shows a password:\n%s", w.log.String())
		}
	})
	return w
}

func (w *world) listen(t testing.TB, name string) net.Listener {
	l, err := net.Listen("unix", filepath.Join(w.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (w *world) write(t testing.TB, users string) {
	t.Helper()
	path := filepath.Join(w.dir, "domains/example.org/users")
	os.MkdirAll(filepath.Dir(path), 0o755)
	if err := new(commit.Disk).ReplaceFile(path, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
}

// plain logs in from an address and returns the reply code, 0 for success.
func (w *world) plain(t testing.TB, response, ip string) int {
	t.Helper()
	info := dovecotauth.AuthInfo{Secured: true, Session: "s"}
	if ip != "" {
		info.RemoteIP = netip.MustParseAddr(ip)
	}
	_, err := w.auth.Authenticate(context.Background(), "imap", "PLAIN", []byte(response), info)
	if err == nil {
		return 0
	}
	return status.Of(err).Code
}

func (w *world) logged(s string) int { return strings.Count(w.log.String(), s) }

const users = "alice:{PLAIN}" + canary + ":1000:1001::\n" +
	"zoe:{PLAIN}" + canary + "::::/srv/zoe::userdb_mail=maildir:~/M userdb_quota_rule=*:bytes=5 userdb_x=y other=z\n" +
	"nobody:\nblocked:{PLAIN}" + canary + "::::::nologin\nnets:{PLAIN}" + canary + "::::::allow_nets=192.0.2.0/24,2001:db8::/32\n" +
	"open:{PLAIN}" + canary + "::::::nopassword\nbroken:{MD5}" + canary + "\nodd:{PLAIN}" + canary + ":root\nزهرا:{PLAIN}" + canary + "\n"

func TestLogins(t *testing.T) {
	w := start(t, map[string]string{"default-domain": "example.org", "auth-failure-delay": "0s"}, users)
	for _, c := range []struct {
		response string
		code     int
		reason   string
	}{
		{"\x00alice@example.org\x00" + canary, 0, ""},
		{"\x00alice\x00" + canary, 0, ""},
		{"\x00ALICE@Example.ORG\x00" + canary, 0, ""},
		{"alice@example.org\x00alice\x00" + canary, 0, ""},
		{"\x00زهرا\x00" + canary, 0, ""},
		{"\x00alice\x00wrong", 535, "password"},
		{"\x00alice\x00" + canary + "x", 535, "password"},
		{"\x00mallory\x00" + canary, 535, "unknown-user"},
		{"\x00alice@other.example\x00" + canary, 535, "unknown-user"},
		{"\x00аlice\x00" + canary, 535, "unknown-user"},
		{"\x00alice+x\x00" + canary, 535, "unknown-user"},
		{"\x00nobody\x00" + canary, 535, "password"},
		{"\x00blocked\x00" + canary, 535, "disabled"},
		{"\x00open\x00" + canary, 535, "field"},
		{"\x00open\x00anything", 535, "password"},
		{"\x00nets\x00" + canary, 535, "network"},
		{"mallory\x00alice\x00" + canary, 535, "authzid"},
		{"zoe\x00alice\x00" + canary, 535, "authzid"},
		{"\x00alice\x00", 535, "malformed"},
		{"\x00\x00" + canary, 535, "malformed"},
		{"\x00\x00", 535, "malformed"},
		{"", 535, "malformed"},
		{"alice", 535, "malformed"},
		{"alice\x00" + canary, 535, "malformed"},
		{"\x00alice\x00" + canary + "\x00", 535, "malformed"},
		{"\x00alice\x00a\x00b", 535, "malformed"},
		{"\x00../../etc/passwd\x00" + canary, 535, "malformed"},
		{"\x00alice@../example.org\x00" + canary, 535, "malformed"},
		{"\x00a\nb\x00" + canary, 535, "malformed"},
		{"\x00alice\x00" + strings.Repeat("x", 1025), 535, "malformed"},
		{"\x00" + strings.Repeat("x", 3000) + "\x00" + canary, 535, "malformed"},
		{"\x00broken\x00" + canary, 454, ""},
		{"\x00odd\x00" + canary, 454, ""},
	} {
		before := w.logged("reason=" + c.reason)
		if got := w.plain(t, c.response, ""); got != c.code {
			t.Errorf("%.40q = %d, want %d", c.response, got, c.code)
		}
		if c.reason != "" && w.logged("reason="+c.reason) != before+1 {
			t.Errorf("%.40q: no reason=%s in the log", c.response, c.reason)
		}
	}
	for ip, code := range map[string]int{"192.0.2.77": 0, "::ffff:192.0.2.77": 0, "2001:db8:1::1": 0, "192.0.3.1": 535, "::1": 535} {
		if got := w.plain(t, "\x00nets\x00"+canary, ip); got != code {
			t.Errorf("nets from %s = %d, want %d", ip, got, code)
		}
	}
	if w.plain(t, strings.Repeat("x", 1<<20), "") != 500 {
		t.Error("a response of 1 MiB was not refused")
	}
}

func TestLoginMechanism(t *testing.T) {
	w := start(t, map[string]string{"default-domain": "example.org"}, users)
	try := func(initial []byte, answers ...string) error {
		_, err := w.auth.Exchange(t.Context(), "smtp", "LOGIN", initial, dovecotauth.AuthInfo{}, func([]byte) ([]byte, error) {
			next := answers[0]
			answers = answers[1:]
			return []byte(next), nil
		})
		return err
	}
	if err := try(nil, "alice", canary); err != nil {
		t.Errorf("LOGIN: %v", err)
	}
	if err := try([]byte("alice"), canary); err != nil {
		t.Errorf("LOGIN with an initial name: %v", err)
	}
	for _, answers := range [][]string{{"alice", "no"}, {"alice", ""}, {"", canary}, {"alice\x00", canary}, {"alice", canary + "\x00"}} {
		if err := try(nil, answers...); status.Of(err).Code != 535 {
			t.Errorf("LOGIN %.20q: %v", answers[0], err)
		}
	}
	if _, err := w.auth.Authenticate(t.Context(), "smtp", "CRAM-MD5", nil, dovecotauth.AuthInfo{}); status.Of(err).Code != 535 {
		t.Errorf("CRAM-MD5: %v", err)
	}
}

func TestUserdb(t *testing.T) {
	w := start(t, map[string]string{"default-domain": "example.org", "mail-root": "/mail", "quota": "1K"}, users)
	u, found, err := w.users.Lookup(t.Context(), "lmtp", "Alice")
	if err != nil || !found || u.Name != "alice@example.org" || u.UID != 1000 || u.GID != 1001 || u.Home != "/mail/example.org/alice" || u.Mail != "maildir:/mail/example.org/alice/Maildir" || u.Quota != "*:bytes=1024" {
		t.Errorf("alice = %+v, %v, %v", u, found, err)
	}
	u, found, err = w.users.Lookup(t.Context(), "lmtp", "zoe@example.org")
	if err != nil || !found || u.UID != -1 || u.Home != "/srv/zoe" || u.Mail != "maildir:/srv/zoe/M" || u.Quota != "*:bytes=5" || u.Fields["x"] != "y" || u.Fields["other"] != "" {
		t.Errorf("zoe = %+v, %v, %v", u, found, err)
	}
	for _, name := range []string{"x", "alice@other.example", "../alice", "", "alice@example.org/x", strings.Repeat("x", 5000)} {
		if _, found, err := w.users.Lookup(t.Context(), "lmtp", name); found || err != nil {
			t.Errorf("%.20q = %v, %v", name, found, err)
		}
	}
	if _, _, err := w.users.Lookup(t.Context(), "lmtp", "odd"); status.Of(err).Code != 451 {
		t.Errorf("a broken line: %v", err)
	}
	names, err := w.users.List(t.Context(), "x")
	if err != nil || len(names) != 8 || names[0] != "alice@example.org" {
		t.Errorf("List = %v, %v", names, err)
	}
}

// A changed password counts at once, whatever was remembered.
func TestChangesCountAtOnce(t *testing.T) {
	w := start(t, map[string]string{"auth-cache": "1h"}, "alice:{PLAIN}one\n")
	for _, step := range []struct {
		users, password string
		code            int
	}{
		{"alice:{PLAIN}one\n", "one", 0}, {"alice:{PLAIN}one\n", "one", 0}, {"alice:{PLAIN}second\n", "one", 535}, {"alice:{PLAIN}second\n", "second", 0},
		{"", "second", 535}, {"alice:{PLAIN}second:::::: nologin\n", "second", 535}, {"alice:{PLAIN}one\n\n", "one", 0},
	} {
		w.write(t, step.users)
		if got := w.plain(t, "\x00alice@example.org\x00"+step.password, ""); got != step.code {
			t.Errorf("%q with %q = %d, want %d", step.users, step.password, got, step.code)
		}
	}
}

func TestOutcomesAreRememberedForAWhile(t *testing.T) {
	now := time.Unix(1e9, 0)
	o := newOutcomes(func() time.Time { return now }, time.Minute)
	computed := 0
	ask := func(want bool, calls int, parts ...string) {
		t.Helper()
		before := computed
		ok, err := o.get(t.Context(), o.keyOf(parts...), func() (bool, error) { computed++; return want, nil })
		if ok != want || err != nil || computed-before != calls {
			t.Errorf("%q = %v, %v after %d computations, want %d", parts, ok, err, computed-before, calls)
		}
	}
	ask(true, 1, "a", "h", "p")
	ask(true, 0, "a", "h", "p")
	ask(false, 1, "a", "h", "q")
	ask(false, 0, "a", "h", "q")
	ask(false, 1, "a", "hp", "")
	ask(true, 1, "a", "h2", "p")
	now = now.Add(time.Minute)
	ask(true, 1, "a", "h", "p")
	o.forget(time.Minute)
	ask(true, 1, "a", "h", "p")
	o.forget(0)
	ask(true, 1, "a", "h", "p")
	ask(true, 1, "a", "h", "p")
	boom := errors.New("boom")
	if _, err := o.get(t.Context(), o.keyOf("e"), func() (bool, error) { return false, boom }); err != boom {
		t.Errorf("err = %v", err)
	}
	if len(o.all) != 0 {
		t.Errorf("%d outcomes left", len(o.all))
	}
	o.forget(time.Minute)
	for i := range 3 * maxOutcomes {
		o.get(t.Context(), o.keyOf(fmt.Sprint(i)), func() (bool, error) { return false, nil })
	}
	if len(o.all) > maxOutcomes {
		t.Errorf("%d outcomes remembered", len(o.all))
	}
}

func TestNetworksThatFailWait(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "1s", "limits-exempt": "10.0.0.0/8"}, users)
	wait := func(response, ip string) time.Duration {
		t.Helper()
		before := w.slept.Load()
		w.plain(t, response, ip)
		return time.Duration(w.slept.Load() - before)
	}
	good := "\x00alice@example.org\x00" + canary
	for i, want := range []time.Duration{0, 0, 0, 1, 2, 4, 8, 15, 15} {
		if got := wait(fmt.Sprintf("\x00alice@example.org\x00guess%d", i), fmt.Sprintf("192.0.2.%d", i)); got != want*time.Second {
			t.Errorf("guess %d waited %v, want %vs", i, got, want)
		}
	}
	if got := wait(good, "192.0.2.200"); got != 15*time.Second {
		t.Errorf("a first login from the same network waited %v", got)
	}
	if got := wait(good, "192.0.2.201"); got != 0 {
		t.Errorf("a login that is known to be good waited %v", got)
	}
	if got := wait("\x00zoe@example.org\x00"+canary, "192.0.3.1"); got != 0 {
		t.Errorf("another network waited %v", got)
	}
	w.clock.Add(int64(8 * time.Minute))
	if got := wait("\x00zoe@example.org\x00x", "192.0.2.1"); got != 0 {
		t.Errorf("after eight minutes of peace: %v", got)
	}
	for i := range 10 {
		if got := wait(fmt.Sprintf("\x00alice@example.org\x00g%d", i), "10.1.2.3"); got != 0 {
			t.Errorf("an exempt network waited %v", got)
		}
		if got := wait(fmt.Sprintf("\x00alice@example.org\x00h%d", i), ""); got != 0 {
			t.Errorf("a login without address waited %v", got)
		}
	}
	if w.logged("event=auth-delayed") == 0 {
		t.Error("no auth-delayed in the log")
	}
}

func TestPenaltiesAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := &penalties{now: func() time.Time { return now }}
	worst := network(netip.MustParseAddr("203.0.113.1"))
	for range 10 {
		p.add(worst)
	}
	for i := range 3 * maxPenalties {
		p.add(network(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})))
		p.add(network(netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 8), byte(i)})))
	}
	if len(p.nets) > maxPenalties || p.failures(worst) != 10 {
		t.Fatalf("%d networks; the worst has %d failures", len(p.nets), p.failures(worst))
	}
	if network(netip.MustParseAddr("2001:db8:0:1::1")) != network(netip.MustParseAddr("2001:db8:0:1:ffff::1")) {
		t.Error("a /64 is one network")
	}
}

// A flood from one network delays a login from another by the hashes under way
// and not by the flood.
func TestTurnstileIsFair(t *testing.T) {
	ts := newTurnstile(1)
	if err := ts.enter(t.Context(), "flood"); err != nil {
		t.Fatal(err)
	}
	var order []string
	var mu sync.Mutex
	var wg sync.WaitGroup
	enter := func(network string) {
		before := waiting(ts)
		wg.Go(func() {
			if ts.enter(context.Background(), network) != nil {
				return
			}
			mu.Lock()
			order = append(order, network)
			mu.Unlock()
			ts.leave()
		})
		for waiting(ts) == before {
			time.Sleep(time.Millisecond) // until it waits; decides nothing
		}
	}
	for range 50 {
		enter("flood")
	}
	enter("friend")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ts.enter(ctx, "gone") == nil {
		t.Error("entered with a dead context")
	}
	ts.leave()
	wg.Wait()
	if order[0] != "friend" || len(order) != 51 || ts.free != 1 {
		t.Errorf("%s came first of %d, %d places free", order[0], len(order), ts.free)
	}
}

func waiting(ts *turnstile) int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return len(ts.waiting)
}

// A thousand equal wrong logins at once are one hash, and a valid one is
// answered among them.
func TestFloodOfWrongPasswords(t *testing.T) {
	hash, err := passhash.Make(rand.Reader, canary)
	if err != nil {
		t.Fatal(err)
	}
	w := start(t, map[string]string{"auth-failure-delay": "0s"}, "alice:"+hash+"\n")
	var wg sync.WaitGroup
	var refused atomic.Int64
	for range 900 {
		wg.Go(func() {
			if w.plain(t, "\x00alice@example.org\x00wrong", "192.0.2.1") == 535 {
				refused.Add(1)
			}
		})
	}
	if code := w.plain(t, "\x00alice@example.org\x00"+canary, "198.51.100.1"); code != 0 {
		t.Errorf("the valid login: %d", code)
	}
	wg.Wait()
	if refused.Load() != 900 {
		t.Errorf("%d of 900 were refused", refused.Load())
	}
}

func TestReload(t *testing.T) {
	w := start(t, nil, users)
	if w.plain(t, "\x00alice\x00"+canary, "") != 535 {
		t.Error("without a default domain alice logged in")
	}
	w.s.Reload(load(t, w.dir, map[string]string{"default-domain": "example.org"}))
	if w.plain(t, "\x00alice\x00"+canary, "") != 0 {
		t.Error("after the reload alice cannot log in")
	}
}

func TestTrusted(t *testing.T) {
	allow, err := trusted(load(t, t.TempDir(), nil))
	if allow != nil || err != nil {
		t.Errorf("without the control: %v", err)
	}
	allow, err = trusted(load(t, t.TempDir(), map[string]string{"userdb-uids": `12345\nroot`}))
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[dovecotauth.Peer]bool{{Known: true, UID: 12345}: true, {Known: true, UID: 0}: true, {Known: true, UID: os.Geteuid()}: true, {Known: true, UID: 12346}: false, {}: false} {
		if allow(p) != want {
			t.Errorf("%+v = %v", p, !want)
		}
	}
	if _, err := trusted(load(t, t.TempDir(), map[string]string{"userdb-uids": "no such user"})); err == nil {
		t.Error("an unknown user was trusted")
	}
}

func TestCheckpassword(t *testing.T) {
	dir := t.TempDir()
	w := &world{dir: dir}
	w.write(t, users)
	c := load(t, dir, map[string]string{"default-domain": "example.org"})
	for in, code := range map[string]int{
		"alice\x00" + canary + "\x00Y123456\x00":        0,
		"alice@example.org\x00" + canary + "\x00":       0,
		"alice\x00wrong\x00x\x00":                       wrongLogin,
		"mallory\x00" + canary + "\x00x\x00":            wrongLogin,
		"alice\x00\x00x\x00":                            wrongLogin,
		"blocked\x00" + canary + "\x00x\x00":            wrongLogin,
		"broken\x00" + canary + "\x00x\x00":             notNow,
		"alice":                                         misused,
		"":                                              misused,
		"alice\x00" + strings.Repeat("x", 600) + "\x00": misused,
	} {
		u, got := checkOne(c, strings.NewReader(in))
		if got != code || code == 0 && u.Name != "alice@example.org" {
			t.Errorf("%.20q = %+v, %d; want %d", in, u, got, code)
		}
	}
	if !wantsCheckpassword([]string{"authd", "-control", "/x", "-checkpassword", "prog", "-v"}) || wantsCheckpassword([]string{"authd"}) || wantsCheckpassword([]string{"authd", "-auth-socket", "-checkpassword"}) {
		t.Error("wantsCheckpassword")
	}
}
