package authd

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/dovecotauth"
	"peyk/internal/status"
	"peyk/internal/table"
	"peyk/internal/totp"
)

func (w *world) passwd(old, password, code string) error {
	return w.auth.ChangePassword(context.Background(), "alice@example.org", old, password, code)
}

func code(err error) int {
	if err == nil {
		return 0
	}
	return status.Of(err).Code
}

func TestChangePassword(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "0s", "password-change": "yes", "scram-keys": "no"},
		"# accounts\nalice:{PLAIN}"+canary+":1:2:Alice:/home/a:/bin/sh:userdb_x=y allow_nets=0.0.0.0/0\nbob:{PLAIN}x\n")
	next := canary + " new"
	for _, c := range []struct{ old, password, reason string }{{"wrong", next, "password"}, {canary, "", "malformed"}, {canary, strings.Repeat("x", 1025), "malformed"}} {
		if err := w.passwd(c.old, c.password, ""); code(err) != 535 {
			t.Errorf("%s: %v", c.reason, err)
		}
		if w.logged("reason="+c.reason) == 0 {
			t.Errorf("the log does not say %s:\n%s", c.reason, w.log)
		}
	}
	if err := w.passwd(canary, next, ""); code(err) != 535 { // allow_nets, and no address
		t.Errorf("from nowhere: %v", err)
	}
	w.write(t, "# accounts\nalice:{PLAIN}"+canary+":1:2:Alice:/home/a:/bin/sh:userdb_x=y\nbob:{PLAIN}x\n")
	if err := w.passwd(canary, next, ""); err != nil {
		t.Fatalf("%v\n%s", err, w.log)
	}
	text, err := os.ReadFile(filepath.Join(w.dir, "domains/example.org/users"))
	if err != nil || !strings.HasPrefix(string(text), "# accounts\nalice:{ARGON2ID}") || !strings.HasSuffix(string(text), ":1:2:Alice:/home/a:/bin/sh:userdb_x=y\nbob:{PLAIN}x\n") {
		t.Errorf("%v: the users file is now\n%s", err, text)
	}
	if strings.Contains(string(text), "scram_") {
		t.Error("keys of SCRAM stand in the file although the control says no")
	}
	w.good(t, asking{service: "imap", password: next})
	w.refusedFor(t, asking{service: "imap", password: canary}, "password")
	if w.logged("password-changed") != 1 {
		t.Errorf("the log does not tell of the change:\n%s", w.log)
	}
}

func TestChangePasswordWithSecondFactor(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "0s", "password-change": "yes"}, aliceOnly)
	app := w.addApp(t, table.AppPassword{ID: "k1"})
	if err := w.passwd(app, "new", ""); code(err) != 535 {
		t.Errorf("an app password changes the main one: %v", err)
	}
	secret := w.setFactor(t)
	if err := w.passwd(canary, "new", ""); !errors.Is(err, dovecotauth.ErrNeedCode) {
		t.Errorf("without a code: %v", err)
	}
	if err := w.passwd(canary, "new", "000000"); code(err) != 535 || errors.Is(err, dovecotauth.ErrNeedCode) {
		t.Errorf("with a wrong code: %v", err)
	}
	right := totp.Code(secret, totp.Step(w.now()))
	if err := w.passwd(canary, "new", right); err != nil {
		t.Errorf("with the right code: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(w.dir, "domains/example.org/users")); err != nil || strings.Count(string(text), "scram_sha") != 2 {
		t.Errorf("the keys of SCRAM are not those of the new password: %v\n%s", err, text)
	}
	if err := w.passwd("new", canary, right); code(err) != 535 {
		t.Errorf("with a used code: %v", err)
	}
	w.clock.Add(int64(time.Minute))
	w.writeAccess(t, "* protocols=imap\n") // does not limit the change of a password
	if err := w.passwd("new", canary, totp.Code(secret, totp.Step(w.now()))); err != nil {
		t.Errorf("where only imap is allowed: %v", err)
	}
	w.writeAccess(t, "* suspended=defer\n")
	if err := w.passwd(canary, "new", ""); code(err) != 535 {
		t.Errorf("of a suspended account: %v", err)
	}
}

// TestChangePasswordNotHere holds that nothing is written where the control
// says no, and that a users file that cannot be written is no lasting trouble.
func TestChangePasswordNotHere(t *testing.T) {
	w := start(t, map[string]string{"auth-failure-delay": "0s"}, aliceOnly)
	if err := w.passwd(canary, "new", ""); code(err) != 535 || !strings.Contains(err.Error(), "not changed this way") {
		t.Errorf("without the control: %v", err)
	}
	w.good(t, asking{service: "imap", password: canary})
}

// TestChangeOfAChangedPassword holds that two changes at one time do not undo
// each other.
func TestChangeOfAChangedPassword(t *testing.T) {
	w := start(t, map[string]string{"password-change": "yes"}, aliceOnly)
	a := w.s.begin("passwd", netip.Addr{}, nil)
	a.user, a.stored = alice, "{PLAIN}older"
	if err := a.setPassword(context.Background(), "new"); !errors.Is(err, errElsewhere) {
		t.Errorf("a password that was changed meanwhile: %v", err)
	}
	w.good(t, asking{service: "imap", password: canary})
}

// TestPasswordsElsewhereAreNotChanged holds that a password which another
// backend keeps is not written into a users file.
func TestPasswordsElsewhereAreNotChanged(t *testing.T) {
	logins, lookups := startElsewhere(t, &elsewhere{})
	w := start(t, map[string]string{"auth-failure-delay": "0s", "password-change": "yes", "auth-backends": "* dovecot " + logins + " " + lookups}, aliceOnly)
	err := w.auth.ChangePassword(t.Context(), "zoe@example.org", canary, "new", "")
	if code(err) != 535 || w.logged("reason=password-change") != 1 {
		t.Errorf("%v\n%s", err, w.log)
	}
	text, err := os.ReadFile(filepath.Join(w.dir, "domains/example.org/users"))
	if err != nil || string(text) != aliceOnly {
		t.Errorf("the users file is now %q, %v", text, err)
	}
}
