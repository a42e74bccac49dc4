package dovecotauth

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/status"
)

const canary = "c4n4ry-p4ss"

// listen returns a Unix socket with a path that is short enough.
func listen(t testing.TB) (net.Listener, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "da")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, path
}

// script plays a server: for each connection in turn it runs the lines of one
// part. "> x" sends a line, "< x" expects one (a trailing * matches the rest),
// "close" ends the connection.
func script(t *testing.T, parts ...string) string {
	t.Helper()
	l, path := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, part := range parts {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			play(t, conn, part)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return path
}

func play(t *testing.T, conn net.Conn, part string) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(conn)
	for step := range strings.SplitSeq(strings.Trim(part, "\n"), "\n") {
		step = strings.ReplaceAll(step, " | ", "\t")
		switch {
		case strings.HasPrefix(step, "> "):
			io.WriteString(conn, step[2:]+"\n")
		case strings.HasPrefix(step, "< "):
			got, err := r.ReadString('\n')
			want, open := strings.CutSuffix(step[2:], "*")
			got = strings.TrimSuffix(got, "\n")
			if err != nil || got != want && !(open && strings.HasPrefix(got, want)) {
				t.Errorf("the client sent %q (%v), want %q", got, err, step[2:])
				return
			}
		case step == "wait":
			io.Copy(io.Discard, r)
		}
	}
}

const hello = `
> VERSION | 1 | 2
> MECH | PLAIN | plaintext
> MECH | LOGIN | plaintext
> SPID | 12
> CUID | 1
> COOKIE | 00112233445566778899aabbccddeeff
> DONE
< VERSION | 1 | 2
< CPID | *
`

const masterHello = `
> VERSION | 1 | 1
> SPID | 12
< VERSION | 1 | 1
`

// The bytes of a login, and what each possible answer means: only an OK that
// names a user lets anybody in.
func TestAuthenticateDialogue(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("\x00alice\x00" + canary))
	ask := "< AUTH | 1 | PLAIN | service=smtp | nologin | peyk_obeys | secured | lip=192.0.2.9 | rip=2001:db8::1 | session=s1 | resp=" + secret + "\n"
	info := AuthInfo{Secured: true, RemoteIP: netip.MustParseAddr("2001:db8::1"), LocalIP: netip.MustParseAddr("::ffff:192.0.2.9"), Session: "s1"}
	for answer, want := range map[string]int{
		"> OK | 1 | user=alice@example.org | nodelay": 0,
		"> OK | 1":                             454,
		"> OK | 1 | user=":                     454,
		"> OK | 2 | user=alice\nclose":         454,
		"> OK | x | user=alice":                454,
		"> OK":                                 454,
		"> FAIL | 1":                           535,
		"> FAIL | 1 | user=alice":              535,
		"> FAIL | 1 | temp":                    454,
		"> FAIL | 1 | code=temp_fail":          454,
		"> FAIL | 1 | authz | code=authz_fail": 535,
		"> CONT | 1 | !!":                      454,
		"> CONT | 1 | ":                        535,
		"> YES | 1 | user=alice":               454,
		"> \x01\x01\x01":                       454,
		"> " + strings.Repeat("x", 20000):      454,
		"close":                                454,
	} {
		end := answer
		if !strings.Contains(answer, "close") {
			end += "\nwait"
		}
		parts := []string{hello + ask + end}
		if answer == "close" {
			parts = append(parts, hello+ask+end)
		}
		a := NewAuth(script(t, parts...), Options{})
		login, err := a.Authenticate(t.Context(), "smtp", "PLAIN", []byte("\x00alice\x00"+canary), info)
		code := 0
		if err != nil {
			code = status.Of(err).Code
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), canary) || strings.Contains(err.Error(), secret) {
				t.Errorf("%q: the error shows the password: %v", answer, err)
			}
		}
		if code != want || want == 0 && login.User != "alice@example.org" {
			t.Errorf("%.40q: %+v, %v; want %d", answer, login, err, want)
		}
		a.Close()
	}
}

func TestHandshakesThatAreNone(t *testing.T) {
	for _, part := range []string{"close", "> VERSION | 2 | 0\n> DONE\nwait", "> DONE\nwait", "> HTTP/1.1 400\nwait", "> VERSION | 1 | 2\n> MECH | PLAIN\nclose",
		strings.Repeat("> MECH | X\n", 300) + "wait", "> VERSION | 1 | 2\n" + strings.Repeat("> MECH | X\n", 300) + "wait", "> " + strings.Repeat("x", 20000) + "\nwait"} {
		a := NewAuth(script(t, part), Options{})
		_, err := a.Authenticate(t.Context(), "imap", "PLAIN", []byte("x"), AuthInfo{})
		if e := status.Of(err); err == nil || e.Code != 454 {
			t.Errorf("%.30q: %v", part, err)
		}
		a.Close()
	}
}

func TestNobodyAtHome(t *testing.T) {
	a := NewAuth(filepath.Join(t.TempDir(), "missing"), Options{})
	if _, err := a.Authenticate(t.Context(), "imap", "PLAIN", nil, AuthInfo{}); status.Of(err).Code != 454 {
		t.Fatal(err)
	}
	if _, _, err := NewUserDB(filepath.Join(t.TempDir(), "missing"), Options{}).Lookup(t.Context(), "smtp", "a"); status.Of(err).Code != 451 {
		t.Fatal(err)
	}
	if _, err := DialAuth(t.Context(), filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Fatal("DialAuth connected to nothing")
	}
}

func TestHangingServerIsGivenUp(t *testing.T) {
	path := script(t, hello+"< AUTH | 1 | *\nwait", hello+"< AUTH | 1 | *\n> OK | 1 | user=x\nwait")
	a := NewAuth(path, Options{Timeout: 300 * time.Millisecond})
	if _, err := a.Authenticate(t.Context(), "imap", "PLAIN", []byte("x"), AuthInfo{}); status.Of(err).Code != 454 {
		t.Fatalf("err = %v", err)
	}
	a.mux.options.Timeout = 10 * time.Second
	if _, err := a.Authenticate(t.Context(), "imap", "PLAIN", []byte("x"), AuthInfo{}); err != nil {
		t.Fatalf("after the hang: %v", err)
	}
	a.Close()
}

func TestLostConnectionIsMadeAnewOnce(t *testing.T) {
	ask := "< USER | %d | alice@example.org | service=smtp\n"
	ok := "> USER | %d | alice@example.org | uid=5 | gid=6 | home=/h | mail=maildir:/m | quota_rule=*:bytes=9\n"
	path := script(t, masterHello+fmt.Sprintf(ask, 1)+fmt.Sprintf(ok, 1)+fmt.Sprintf(ask, 2)+"close", masterHello+fmt.Sprintf(ask, 1)+fmt.Sprintf(ok, 1)+"wait")
	u := NewUserDB(path, Options{})
	for range 2 {
		got, found, err := u.Lookup(t.Context(), "smtp", "alice@example.org")
		if err != nil || !found || got.UID != 5 || got.GID != 6 || got.Home != "/h" || got.Mail != "maildir:/m" || got.Quota != "*:bytes=9" {
			t.Fatalf("Lookup = %+v, %v, %v", got, found, err)
		}
	}
	u.Close()
	if _, _, err := u.Lookup(t.Context(), "smtp", "x"); err == nil {
		t.Fatal("a closed client answered")
	}
}

func TestUserDBAnswers(t *testing.T) {
	ask := "< USER | 1 | a\x011\x01tb | service=smtp\n"
	for answer, want := range map[string]string{
		"> NOTFOUND | 1":               "not found",
		"> USER | 1 | a | uid=7":       "found",
		"> FAIL | 1":                   "451",
		"> FAIL | 1 | temp | reason=x": "451",
		"> USER | 1":                   "451",
		"> USER | 1 | a | uid=root":    "451",
		"> USER | 1 | a | gid=-1":      "451",
		"> OK | 1 | a":                 "451",
		"> NOTFOUND":                   "451",
	} {
		u := NewUserDB(script(t, masterHello+ask+answer+"\nwait"), Options{})
		_, found, err := u.Lookup(t.Context(), "smtp", "a\x01\tb")
		got := "not found"
		if err != nil {
			got = fmt.Sprint(status.Of(err).Code)
		} else if found {
			got = "found"
		}
		if got != want {
			t.Errorf("%q: %s (%v), want %s", answer, got, err, want)
		}
		u.Close()
	}
}

func TestMaildirOfAUser(t *testing.T) {
	for _, c := range []struct{ mail, home, want string }{
		{"", "/home/a", "/home/a/Maildir"}, {"maildir:~/Mail", "/home/a", "/home/a/Mail"}, {"maildir:/m/a/", "", "/m/a"},
		{"maildir:/m/a:INDEX=/x:LAYOUT=fs", "/home/a", "/m/a"}, {"maildir:/m/../../a", "", "/a"},
		{"", "", ""}, {"maildir:~/Mail", "", ""}, {"maildir:Mail", "/home/a", ""}, {"mbox:~/mail", "/home/a", ""}, {"maildir:", "/home/a", ""}, {"/m/a", "/home/a", ""},
	} {
		if got := (User{Mail: c.mail, Home: c.home}).Maildir(); got != c.want {
			t.Errorf("%q in %q = %q, want %q", c.mail, c.home, got, c.want)
		}
	}
}

func TestUserDBList(t *testing.T) {
	u := NewUserDB(script(t, masterHello+"< LIST | 1 | service=x\n> LIST | 1 | a\n> LIST | 1 | b\n> DONE | 1 | \n< LIST | 2 | service=x\n> LIST | 2 | a\n> DONE | 2 | fail\nwait"), Options{})
	defer u.Close()
	if names, err := u.List(t.Context(), "x"); err != nil || strings.Join(names, " ") != "a b" {
		t.Fatalf("List = %v, %v", names, err)
	}
	if names, err := u.List(t.Context(), "x"); err == nil {
		t.Fatalf("a failed list = %v", names)
	}
}

// A fake of both interfaces: alice's password is the canary.
type fake struct {
	mu      sync.Mutex
	lookups int
	block   chan struct{} // logins of "slow" wait for it
}

func (f *fake) Mechanisms() []Mechanism {
	return []Mechanism{{"PLAIN", []string{"plaintext"}}, {"LOGIN", []string{"plaintext"}}}
}

func (f *fake) Authenticate(ctx context.Context, r *Request) Verdict {
	if r.Mech == "PANIC" {
		panic("defect")
	}
	if r.Mech == "LOGIN" {
		name, err := r.Challenge(ctx, []byte("Username:"))
		if err != nil {
			return Verdict{Temp: true}
		}
		pass, err := r.Challenge(ctx, []byte("Password:"))
		return Verdict{OK: err == nil && string(name) == "alice" && string(pass) == canary, User: "alice"}
	}
	name, pass, _ := strings.Cut(strings.TrimPrefix(string(r.Initial), "\x00"), "\x00")
	if name == "slow" {
		select {
		case <-f.block:
		case <-ctx.Done():
		}
	}
	return Verdict{OK: pass == canary, User: name, Fields: map[string]string{"odd": "a\tb\n"}}
}

func (f *fake) User(_ context.Context, _, name string) (User, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookups++
	if name == "broken" {
		return User{}, false, errors.New("users:7: broken")
	}
	return User{Name: name, UID: 1, GID: -1, Home: "/home/" + name, Fields: map[string]string{"flag": "", "x": "y\tz"}}, name != "nobody", nil
}

func (f *fake) List(context.Context) ([]string, error) { return []string{"a", "b\tc"}, nil }

// serve starts a server of fakes and returns its sockets.
func serve(t testing.TB, s *Server) (auth, userdb string) {
	t.Helper()
	la, auth := listen(t)
	lm, userdb := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.ServeAuth(ctx, la) })
	wg.Go(func() { s.ServeMaster(ctx, lm) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return auth, userdb
}

func TestClientMeetsServer(t *testing.T) {
	var log bytes.Buffer
	f := &fake{}
	s := &Server{Auth: f, Directory: f, Log: eventlog.New(&log, "test", eventlog.Logfmt, time.Now)}
	auth, userdb := serve(t, s)
	a, err := DialAuth(t.Context(), auth)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if m, err := a.Mechanisms(t.Context()); err != nil || strings.Join(m, " ") != "PLAIN LOGIN" {
		t.Fatalf("Mechanisms = %v, %v", m, err)
	}
	login, err := a.Authenticate(t.Context(), "imap", "plain", []byte("\x00alice\x00"+canary), AuthInfo{})
	if err != nil || login.User != "alice" || login.Fields["odd"] != "a\tb\n" {
		t.Fatalf("login = %+v, %v", login, err)
	}
	if _, err := a.Authenticate(t.Context(), "imap", "PLAIN", []byte("\x00alice\x00no"), AuthInfo{}); status.Of(err).Code != 535 {
		t.Fatalf("wrong password: %v", err)
	}
	if _, err := a.Authenticate(t.Context(), "imap", "PANIC", nil, AuthInfo{}); status.Of(err).Code != 454 {
		t.Fatalf("panic: %v", err)
	}
	if _, err := a.Authenticate(t.Context(), "imap", "PLAIN", make([]byte, 1<<20), AuthInfo{}); status.Of(err).Code != 500 {
		t.Fatalf("1 MiB: %v", err)
	}
	answers := []string{"alice", canary}
	login, err = a.Exchange(t.Context(), "imap", "LOGIN", nil, AuthInfo{}, func(challenge []byte) ([]byte, error) {
		next := answers[0]
		answers = answers[1:]
		return []byte(next), nil
	})
	if err != nil || login.User != "alice" {
		t.Fatalf("LOGIN = %+v, %v", login, err)
	}
	stop := errors.New("stop")
	if _, err := a.Exchange(t.Context(), "imap", "LOGIN", nil, AuthInfo{}, func([]byte) ([]byte, error) { return nil, stop }); err != stop {
		t.Fatalf("given up: %v", err)
	}

	u := NewUserDB(userdb, Options{})
	defer u.Close()
	got, found, err := u.Lookup(t.Context(), "smtp", "bob")
	if _, flag := got.Fields["flag"]; err != nil || !found || got.UID != 1 || got.GID != -1 || got.Home != "/home/bob" || got.Fields["x"] != "y\tz" || !flag {
		t.Fatalf("Lookup = %+v, %v, %v", got, found, err)
	}
	if _, found, err := u.Lookup(t.Context(), "smtp", "nobody"); found || err != nil {
		t.Fatalf("nobody = %v, %v", found, err)
	}
	if _, _, err := u.Lookup(t.Context(), "smtp", "broken"); status.Of(err).Code != 451 {
		t.Fatalf("broken = %v", err)
	}
	if _, found, err := u.Lookup(t.Context(), "smtp", strings.Repeat("x", 10000)); found || err != nil {
		t.Fatalf("long name = %v, %v", found, err)
	}
	if names, err := u.List(t.Context(), "x"); err != nil || len(names) != 2 || names[1] != "b\tc" {
		t.Fatalf("List = %q, %v", names, err)
	}
	if strings.Contains(log.String(), canary) {
		t.Fatalf("the log shows a password: %s", log.String())
	}
}

// A slow login must not hold the others of its connection up, and a cancelled
// one frees its place.
func TestLoginsAreIndependent(t *testing.T) {
	f := &fake{block: make(chan struct{})}
	auth, _ := serve(t, &Server{Auth: f, Directory: f})
	a := NewAuth(auth, Options{})
	defer a.Close()
	slow := make(chan error, 1)
	go func() {
		_, err := a.Authenticate(t.Context(), "imap", "PLAIN", []byte("\x00slow\x00"+canary), AuthInfo{})
		slow <- err
	}()
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() {
		_, err := a.Authenticate(ctx, "imap", "PLAIN", []byte("\x00slow\x00"+canary), AuthInfo{})
		given <- err
	}()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			name := fmt.Sprintf("u%d", i)
			login, err := a.Authenticate(t.Context(), "imap", "PLAIN", []byte("\x00"+name+"\x00"+canary), AuthInfo{})
			if err != nil || login.User != name {
				t.Errorf("%s = %+v, %v", name, login, err)
			}
		})
	}
	wg.Wait()
	cancel()
	if err := <-given; err == nil {
		t.Error("a cancelled login succeeded")
	}
	close(f.block)
	if err := <-slow; err != nil {
		t.Errorf("the slow one: %v", err)
	}
}

func TestCacheHasItsTime(t *testing.T) {
	f := &fake{}
	_, userdb := serve(t, &Server{Auth: f, Directory: f})
	now := time.Unix(1000, 0)
	u := NewUserDB(userdb, Options{Positive: 5 * time.Second, Negative: 2 * time.Second, Now: func() time.Time { return now }})
	defer u.Close()
	asked := func(name string, want int) {
		t.Helper()
		before := f.lookups
		if _, _, err := u.Lookup(t.Context(), "smtp", name); err != nil && name != "broken" {
			t.Fatal(err)
		}
		if got := f.lookups - before; got != want {
			t.Errorf("at %v %s was asked %d times, want %d", now.Unix(), name, got, want)
		}
	}
	asked("bob", 1)
	asked("bob", 0)
	asked("nobody", 1)
	asked("nobody", 0)
	asked("broken", 1)
	asked("broken", 1)
	now = now.Add(3 * time.Second)
	asked("bob", 0)
	asked("nobody", 1)
	now = now.Add(2 * time.Second)
	asked("bob", 1)
	u.Forget()
	asked("bob", 1)
}

// dialogue plays a client against the server: "> x" sends, "< x" expects.
func dialogue(t *testing.T, socket, steps string) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	play(t, conn, steps)
}

const serverHello = `
< VERSION | 1 | 2
< MECH | PLAIN | plaintext
< MECH | LOGIN | plaintext
< SPID | *
< CUID | *
< COOKIE | *
< DONE
> VERSION | 1 | 0
`

func TestServerDialogues(t *testing.T) {
	f := &fake{}
	auth, userdb := serve(t, &Server{Auth: f, Directory: f})
	good := base64.StdEncoding.EncodeToString([]byte("\x00alice\x00" + canary))
	// as Postfix does it
	dialogue(t, auth, serverHello+"> CPID | 7\n> AUTH | 1 | PLAIN | service=smtp | nologin | lip=192.0.2.1 | rip=192.0.2.2 | secured | resp="+good+"\n< OK | 1 | user=alice | odd=a\x01tb\x01n")
	dialogue(t, auth, serverHello+"> CPID | 7\n> AUTH | 1 | LOGIN | service=smtp | nologin\n< CONT | 1 | VXNlcm5hbWU6\n> CONT | 1 | YWxpY2U=\n< CONT | 1 | UGFzc3dvcmQ6\n> CONT | 1 | eA==\n< FAIL | 1 | user=alice")
	dialogue(t, auth, serverHello+"> CPID | 7\n> AUTH | 1 | PLAIN | resp=!!\n< FAIL | 1 | temp | reason=the response is not base64\n> AUTH | 2 | LOGIN\n< CONT | 2 | *\n> CONT | 2 | !!\n< FAIL | 2 | reason=*\n> CONT | 9 | eA==\n> CANCEL | 9\n> AUTH | 3 | PLAIN | resp="+good+"\n< OK | 3 | *")
	for _, bad := range []string{"> CPID | 0\n", "> CPID | x\n", "> AUTH | 1 | PLAIN\n", "> CPID | 7\n> AUTH | x | PLAIN\n", "> CPID | 7\n> QUIT\n", "> CPID | 7\n> AUTH | 1 | LOGIN\n< CONT | *\n> AUTH | 1 | LOGIN\n", "> " + strings.Repeat("x", 9000) + "\n"} {
		conn, err := net.Dial("unix", auth)
		if err != nil {
			t.Fatal(err)
		}
		rest := strings.ReplaceAll(bad, " | ", "\t")
		play2(t, conn, serverHello, rest)
	}
	dialogue(t, userdb, "< VERSION | 1 | 1\n< SPID | *\n> VERSION | 1 | 1\n> USER | 5 | bob | service=lmtp\n< USER | 5 | bob | flag | home=/home/bob | uid=1 | x=y\x01tz\n> PASS | 6 | bob | service=x\n< PASS | 6 | user=bob\n> PASS | 7 | nobody | service=x\n< NOTFOUND | 7\n> USER | 8 | broken | service=x\n< FAIL | 8 | temp | reason=*\n> CACHE-FLUSH | 9\n< OK | 9 | 0\n> REQUEST | 10 | 7 | 1 | 00\n< FAIL | 10")
}

// play2 runs the handshake, sends what is left, and wants the end.
func play2(t *testing.T, conn net.Conn, handshake, rest string) {
	t.Helper()
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(conn)
	for range strings.Count(handshake, "< ") {
		r.ReadString('\n')
	}
	io.WriteString(conn, "VERSION\t1\t0\n")
	for step := range strings.SplitSeq(strings.TrimSpace(rest), "\n") {
		if strings.HasPrefix(step, "> ") {
			io.WriteString(conn, step[2:]+"\n")
		} else {
			r.ReadString('\n')
		}
	}
	if b, err := io.ReadAll(r); len(b) > 0 || err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("after %.40q the server sent %q, %v; want the end", rest, b, err)
	}
}

// Dovecot's way: a login process logs in, and a master takes the user over
// with number, identity and cookie, once.
func TestMasterTakesLoginOver(t *testing.T) {
	f := &fake{}
	auth, userdb := serve(t, &Server{Auth: f, Directory: f})
	conn, err := net.Dial("unix", auth)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	cookie := ""
	for cookie == "" {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		cookie, _ = strings.CutPrefix(strings.TrimSpace(line), "COOKIE\t")
		if !strings.HasPrefix(line, "COOKIE") {
			cookie = ""
		}
	}
	r.ReadString('\n')
	fmt.Fprintf(conn, "VERSION\t1\t1\nCPID\t77\nAUTH\t3\tPLAIN\tservice=imap\tresp=%s\n", base64.StdEncoding.EncodeToString([]byte("\x00alice\x00"+canary)))
	if line, _ := r.ReadString('\n'); !strings.HasPrefix(line, "OK\t3\tuser=alice") {
		t.Fatalf("login: %q", line)
	}
	dialogue(t, userdb, "< VERSION | 1 | 1\n< SPID | *\n> VERSION | 1 | 1\n"+
		"> REQUEST | 1 | 77 | 3 | 00112233445566778899aabbccddeeff\n< FAIL | 1\n> REQUEST | 2 | 78 | 3 | "+cookie+"\n< FAIL | 2\n> REQUEST | 3 | 77 | 4 | "+cookie+"\n< FAIL | 3\n"+
		"> REQUEST | 4 | 77 | 3 | "+cookie+"\n< USER | 4 | alice | *\n> REQUEST | 5 | 77 | 3 | "+cookie+"\n< FAIL | 5")
}

func TestStrangersMayNotAsk(t *testing.T) {
	f := &fake{}
	peers := make(chan Peer, 10)
	_, userdb := serve(t, &Server{Auth: f, Directory: f, Allow: func(p Peer) bool { peers <- p; return false }})
	if _, _, err := NewUserDB(userdb, Options{}).Lookup(t.Context(), "smtp", "bob"); err == nil {
		t.Fatal("a stranger was answered")
	}
	if seen := <-peers; !seen.Known || seen.UID != os.Getuid() || seen.PID != os.Getpid() {
		t.Fatalf("peer = %+v", seen)
	}
}

// FuzzServer holds that no input of a client makes the server panic, hang or
// let anybody in who does not have the password.
func FuzzServer(f *testing.F) {
	f.Add("VERSION\t1\t1\nCPID\t1\nAUTH\t1\tPLAIN\tservice=x\tresp=AGEAYg==\n")
	f.Add("VERSION\t1\t1\nCPID\t1\nAUTH\t1\tLOGIN\nCONT\t1\teA==\nCANCEL\t1\n")
	f.Add("VERSION\t1\t1\nUSER\t1\ta\x01tb\tservice=x\nLIST\t2\nREQUEST\t3\t1\t1\t00\n")
	f.Fuzz(func(t *testing.T, input string) {
		fk := &fake{}
		s := &Server{Auth: fk, Directory: fk}
		for _, handle := range []func(context.Context, net.Conn){s.serveClient, s.serveMaster} {
			ours, theirs := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.run(t.Context(), theirs, handle)
			}()
			var got bytes.Buffer
			read := make(chan struct{})
			go func() {
				defer close(read)
				io.Copy(&got, ours)
			}()
			io.WriteString(ours, input)
			ours.Close()
			<-done
			<-read
			if !strings.Contains(input, base64.StdEncoding.EncodeToString([]byte(canary))[:8]) && bytes.Contains(got.Bytes(), []byte("\nOK\t")) && !strings.Contains(input, "CACHE-FLUSH") {
				t.Fatalf("%q: %q", input, got.String())
			}
		}
	})
}

// FuzzReply holds that whatever a server says, only OK with the right number
// and a user is a login, and that escaping survives a round trip.
func FuzzReply(f *testing.F) {
	f.Add("OK\t1\tuser=a")
	f.Add("FAIL\t1\ttemp")
	f.Add("USER\t1\ta\tuid=1\tx=\x01t")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\n") {
			return
		}
		m := parseMessage(text)
		login, err := verdict(m)
		if err == nil && (m.command != "OK" || login.User == "") {
			t.Fatalf("%q is a login: %+v", text, login)
		}
		if u, found, err := userOf(m); err == nil && found && (u.Name == "" || m.command != "USER") {
			t.Fatalf("%q is a user: %+v", text, u)
		}
		back := parseMessage(strings.TrimSuffix(string((&line{[]byte("X")}).word(text).end()), "\n"))
		if back.word(0) != text || len(back.words) != 1 {
			t.Fatalf("%q → %q", text, back.words)
		}
	})
}
