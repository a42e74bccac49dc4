package authd

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"peyk/internal/dovecotauth"
	"peyk/internal/status"
)

// elsewhere is another authentication service: it knows zoe@example.org and
// joe@other.example, and one token.
type elsewhere struct{ asked atomic.Int64 }

func (e *elsewhere) Mechanisms() []dovecotauth.Mechanism {
	return []dovecotauth.Mechanism{{Name: "PLAIN"}, {Name: "OAUTHBEARER"}}
}

func (e *elsewhere) Authenticate(ctx context.Context, r *dovecotauth.Request) dovecotauth.Verdict {
	e.asked.Add(1)
	switch {
	case r.Mech == "OAUTHBEARER" && string(r.Initial) == canary:
		return dovecotauth.Verdict{OK: true, User: "zoe@example.org"}
	case r.Mech == "OAUTHBEARER":
		r.Challenge(ctx, []byte(`{"status":"invalid_token"}`))
		return dovecotauth.Verdict{}
	}
	f := strings.Split(string(r.Initial), "\x00")
	if f[1] == "down@example.org" {
		return dovecotauth.Verdict{Temp: true}
	}
	return dovecotauth.Verdict{OK: f[2] == canary && (f[1] == "zoe@example.org" || f[1] == "joe@other.example"), User: f[1]}
}

func (e *elsewhere) User(_ context.Context, _, name string) (dovecotauth.User, bool, error) {
	if name != "zoe@example.org" && name != "joe@other.example" && name != "down@example.org" {
		return dovecotauth.User{}, false, nil
	}
	return dovecotauth.User{Name: name, UID: 7, GID: 8, Home: "/srv/" + name, Quota: "*:bytes=9", Fields: map[string]string{"x": "y"}}, true, nil
}

func (e *elsewhere) List(context.Context) ([]string, error) {
	return []string{"joe@other.example", "zoe@example.org"}, nil
}

// startElsewhere starts the service and returns its two sockets.
func startElsewhere(t *testing.T, e *elsewhere) (logins, lookups string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ae")
	if err != nil {
		t.Fatal(err)
	}
	logins, lookups = filepath.Join(dir, "a"), filepath.Join(dir, "u")
	la, err := net.Listen("unix", logins)
	if err != nil {
		t.Fatal(err)
	}
	lu, err := net.Listen("unix", lookups)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- serveAll(ctx, &dovecotauth.Server{Auth: e, Directory: e}, []net.Listener{la}, []net.Listener{lu})
	}()
	t.Cleanup(func() { cancel(); <-done; os.RemoveAll(dir) })
	return logins, lookups
}

func TestAccountsElsewhere(t *testing.T) {
	e := &elsewhere{}
	logins, lookups := startElsewhere(t, e)
	w := start(t, map[string]string{"default-domain": "example.org", "auth-failure-delay": "0s",
		"auth-backends":      "users.example users\nexample.org dovecot " + logins + " " + lookups + "\n* sqlite nobody",
		"auth-remote-socket": logins, "userdb-remote-socket": lookups, "oauth-keys": "https://id.example/keys"},
		"alice:{PLAIN}local\nshadow:\nblocked:::::::nologin\n")
	os.Mkdir(filepath.Join(w.dir, "domains", "other.example"), 0o755)
	os.Mkdir(filepath.Join(w.dir, "domains", "users.example"), 0o755)
	for response, code := range map[string]int{
		"\x00alice\x00local": 0, "\x00alice\x00" + canary: 535, "\x00zoe\x00" + canary: 0, "\x00zoe\x00wrong": 535, "\x00nobody\x00" + canary: 535,
		"\x00joe@other.example\x00" + canary: 0, "\x00joe@foreign.example\x00" + canary: 535, "\x00joe@users.example\x00" + canary: 535,
		"\x00down\x00" + canary: 454, "\x00shadow\x00" + canary: 535, "\x00blocked\x00" + canary: 535,
	} {
		if got := w.plain(t, response, ""); got != code {
			t.Errorf("%q = %d, want %d", response, got, code)
		}
	}
	if e.asked.Load() != 7 { // zoe twice, nobody, joe, down, shadow, blocked
		t.Errorf("the other service was asked %d times", e.asked.Load())
	}
	u, found, err := w.users.Lookup(t.Context(), "lmtp", "zoe")
	if err != nil || !found || u.UID != 7 || u.GID != 8 || u.Home != "/srv/zoe@example.org" || u.Quota != "*:bytes=9" || u.Fields["x"] != "y" || u.Mail != "maildir:/srv/zoe@example.org/Maildir" {
		t.Errorf("zoe = %+v, %v, %v", u, found, err)
	}
	names, err := w.users.List(t.Context(), "x")
	if want := "alice@example.org shadow@example.org blocked@example.org zoe@example.org joe@other.example"; err != nil || strings.Join(names, " ") != want {
		t.Errorf("List = %v, %v", names, err)
	}
	for _, m := range w.s.Mechanisms() {
		if strings.HasPrefix(m.Name, "SCRAM") {
			t.Errorf("%s is offered although passwords are elsewhere", m.Name)
		}
	}
	try := func(initial string) error {
		_, err := w.auth.Exchange(t.Context(), "imap", "OAUTHBEARER", []byte(initial), dovecotauth.AuthInfo{}, func(challenge []byte) ([]byte, error) {
			if string(challenge) != `{"status":"invalid_token"}` {
				t.Errorf("challenge %s", challenge)
			}
			return []byte("\x01"), nil
		})
		return err
	}
	if err := try(canary); err != nil {
		t.Errorf("a good token: %v", err)
	}
	if err := try("bad"); status.Of(err).Code != 535 || w.logged("reason=token") != 1 {
		t.Errorf("a bad token: %v", err)
	}
	w.s.Reload(load(t, w.dir, map[string]string{"default-domain": "example.org", "auth-backends": "* ldap x", "auth-remote-socket": logins + ".gone", "userdb-remote-socket": lookups + ".gone"}))
	if got := w.plain(t, "\x00zoe\x00"+canary, ""); got != 454 {
		t.Errorf("nobody at home: %d", got)
	}
	if got := w.plain(t, "\x00alice\x00local", ""); got != 0 {
		t.Errorf("an account of the users file meanwhile: %d", got)
	}
}
