package authd

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/authstate"
	"peyk/internal/commit"
	"peyk/internal/dovecotauth"
	"peyk/internal/table"
)

func restarted(w *world) *authstate.State {
	return authstate.New(filepath.Join(w.dir, "state"), new(commit.Disk))
}

// followed are sessions of a server that follows w, in place of imapd.
type followed struct {
	*dovecotauth.Sessions
	w     *world
	ended chan string // user and reason
}

func (w *world) follow(t *testing.T) *followed {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	if err := w.s.watch(ctx, w.dir); err != nil {
		t.Fatal(err)
	}
	f := &followed{Sessions: dovecotauth.NewSessions(w.auth, "imap"), w: w, ended: make(chan string, 10)}
	done := make(chan struct{})
	go func() { f.Follow(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

func (f *followed) login(t *testing.T, name, password string) {
	t.Helper()
	before := f.Now()
	ip := netip.MustParseAddr("192.0.2.1")
	login, err := f.w.auth.Authenticate(context.Background(), "imap", "PLAIN", []byte("\x00"+name+"\x00"+password), dovecotauth.AuthInfo{RemoteIP: ip})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Enter(before, login, ip, func(reason string) { f.ended <- name + " " + reason }))
}

// expect waits for the end of exactly these sessions; a session that ends too
// much shows in the next call.
func (f *followed) expect(t *testing.T, want ...string) {
	t.Helper()
	got := make(map[string]bool)
	for range want {
		got[<-f.ended] = true
	}
	for _, w := range want {
		if !got[w] {
			t.Errorf("ended %v, want %v", got, want)
		}
	}
}

// TestSessionsEnd holds that each change which makes a login bad ends its
// sessions, and no others.
func TestSessionsEnd(t *testing.T) {
	const a, b = "alice@example.org", "bob@example.org"
	w := start(t, nil, aliceOnly+"bob:{PLAIN}"+canary+"\n")
	f := w.follow(t)
	f.login(t, a, canary)
	f.login(t, b, canary)

	w.write(t, "alice:{PLAIN}"+canary+"2\nbob:{PLAIN}"+canary+"\n")
	f.expect(t, a+" credentials-changed")

	f.login(t, a, canary+"2")
	k1 := w.addApp(t, table.AppPassword{ID: "k1"})
	f.expect(t, a+" second-factor") // the main password opens IMAP no more

	k2 := w.addApp(t, table.AppPassword{ID: "k2"})
	f.login(t, a, k1)
	f.login(t, a, k2)
	if _, err := w.s.editor.RemoveAppPassword(alice, "k1"); err != nil {
		t.Fatal(err)
	}
	f.expect(t, a+" credentials-changed")

	w.writeAccess(t, "alice suspended=defer\n")
	f.expect(t, a+" suspended")
	w.writeAccess(t, "")
	f.login(t, a, k2)
	w.writeAccess(t, "alice networks=198.51.100.0/24\n")
	f.expect(t, a+" network")
	w.writeAccess(t, "")

	f.login(t, a, k2)
	if err := new(commit.Disk).ReplaceFile(filepath.Join(w.dir, "access"), []byte("example.org login=no\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.expect(t, a+" login-off", b+" login-off")
	if err := os.Remove(filepath.Join(w.dir, "access")); err != nil {
		t.Fatal(err)
	}

	f.login(t, a, k2)
	f.login(t, b, canary)
	w.write(t, "alice:{PLAIN}"+canary+"2\n")
	f.expect(t, b+" unknown-user")
	if err := os.RemoveAll(filepath.Join(w.dir, "domains/example.org")); err != nil {
		t.Fatal(err)
	}
	f.expect(t, a+" unknown-user")
	select {
	case more := <-f.ended:
		t.Errorf("%s ended for nothing", more)
	default:
	}
	if strings.Contains(w.log.String(), k1) || w.logged("credentials-changed") != 0 {
		t.Errorf("a check of a session stands in the log of logins:\n%s", w.log)
	}
}

// TestRenewedHash holds that a hash which authd itself writes anew ends no
// session.
func TestRenewedHash(t *testing.T) {
	w := start(t, nil, aliceOnly)
	f := w.follow(t)
	f.login(t, "alice@example.org", canary)
	w.s.renewed.note("{PLAIN}"+canary, "{CLEARTEXT}"+canary)
	w.write(t, "alice:{CLEARTEXT}"+canary+"\n")
	good, reason, err := w.auth.Check(context.Background(), "imap", "alice@example.org", byPasswordTicket+" "+mark("{PLAIN}"+canary), netip.Addr{})
	if !good || err != nil {
		t.Errorf("a renewed hash: %v %s %v", good, reason, err)
	}
	w.write(t, "alice:{PLAIN}other\n")
	f.expect(t, "alice@example.org credentials-changed")
}

// TestChangeDuringLogin holds that a login which was looked at before a change
// and answered after it is looked at again.
func TestChangeDuringLogin(t *testing.T) {
	w := start(t, nil, aliceOnly)
	f := w.follow(t)
	before := f.Now()
	login := w.good(t, asking{service: "imap", password: canary})
	w.writeAccess(t, "alice suspended=refuse\n")
	for f.Now() < before+2 { // the first "everything", and this change
		<-f.tick()
	}
	defer f.Enter(before, login, netip.Addr{}, func(reason string) { f.ended <- reason })()
	f.expect(t, "suspended")
}

// tick lets other goroutines run.
func (f *followed) tick() <-chan struct{} {
	c := make(chan struct{})
	go close(c)
	return c
}

// TestFollowAfterRestart holds that what changed while nobody watched is found
// on the next connection.
func TestFollowAfterRestart(t *testing.T) {
	w := start(t, nil, aliceOnly)
	login := w.good(t, asking{service: "imap", password: canary})
	sessions := dovecotauth.NewSessions(w.auth, "imap")
	ended := make(chan string, 1)
	defer sessions.Enter(sessions.Now(), login, netip.Addr{}, func(reason string) { ended <- reason })()
	w.write(t, "alice:{PLAIN}other\n") // nobody watches yet
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go sessions.Follow(ctx)
	if reason := <-ended; reason != "credentials-changed" {
		t.Errorf("ended for %s", reason)
	}
}

// TestTickets holds that what is no ticket is no login.
func TestTickets(t *testing.T) {
	w := start(t, nil, aliceOnly)
	for _, ticket := range []string{"", "password", "password x", "app k1 x", "app k1", "other x", "nonsense", "password " + mark("x")} {
		good, _, err := w.auth.Check(context.Background(), "imap", "alice@example.org", ticket, netip.Addr{})
		if good || err != nil {
			t.Errorf("%q: %v, %v", ticket, good, err)
		}
	}
	for _, mech := range []string{dovecotauth.CheckMechanism, dovecotauth.FollowMechanism, dovecotauth.PasswdMechanism} {
		for _, m := range w.s.Mechanisms() {
			if m.Name == mech {
				t.Errorf("%s is offered to everybody", mech)
			}
		}
	}
}

// TestEditorsThatWriteInPlace holds that a users file which is empty for a
// moment ends no session, and that one whose user is gone does.
func TestEditorsThatWriteInPlace(t *testing.T) {
	w := start(t, nil, aliceOnly)
	path := filepath.Join(w.dir, "domains/example.org/users")
	written := aliceOnly
	waited := make(chan bool, 1)
	w.s.options.Sleep = func(context.Context, time.Duration) error { // while we wait the editor goes on
		select {
		case waited <- true:
		default:
		}
		return new(commit.Disk).ReplaceFile(path, []byte(written), 0o600)
	}
	f := w.follow(t)
	f.login(t, "alice@example.org", canary)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	<-waited
	good, reason, err := w.auth.Check(t.Context(), "imap", "alice@example.org", byPasswordTicket+" "+mark("{PLAIN}"+canary), netip.Addr{})
	if !good || err != nil {
		t.Errorf("after the editor has finished: %v, %s, %v", good, reason, err)
	}
	written = "bob:{PLAIN}x\n"
	w.write(t, written)
	f.expect(t, "alice@example.org unknown-user")
}
