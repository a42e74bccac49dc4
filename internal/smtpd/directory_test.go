package smtpd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/address"
	"peyk/internal/dovecotauth"
	"peyk/internal/status"
	"peyk/internal/table"
)

// accounts answers for the userdb socket.
type accounts struct {
	users map[string]bool
	mail  map[string]string // replies to mail, by user
	asked int
	err   error
}

func (a *accounts) Lookup(_ context.Context, service, user string) (dovecotauth.User, bool, error) {
	a.asked++
	return dovecotauth.User{Name: user, Fields: map[string]string{dovecotauth.FieldMail: a.mail[strings.ToLower(user)]}}, a.users[strings.ToLower(user)], a.err
}

func newTables(t *testing.T) (*directory, *accounts, *time.Time) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"example.org/aliases": "sales: alice, bob\npostmaster: alice\naway: x@far.example\n",
		"all.test/aliases":    "*: alice@example.org\n",
	} {
		path := filepath.Join(dir, "domains", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	now := fixed()
	a := &accounts{users: map[string]bool{"alice@example.org": true, "bob@example.org": true}}
	d := newDirectory(table.OpenDomains(dir), nil, func() time.Time { return now })
	d.users = a
	d.configure("+", "mx.example.org", 5*time.Second)
	return d, a, &now
}

func parse(t *testing.T, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s, true)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDirectoryExists(t *testing.T) {
	d, _, _ := newTables(t)
	for addr, want := range map[string]bool{
		"alice@example.org": true, "Alice+x@example.org": true, "sales@example.org": true, "away@example.org": true,
		"nobody@example.org": false, "nobody@all.test": true, `"alice x"@example.org`: false, "alice%far.example@example.org": false,
	} {
		got, err := d.Exists(context.Background(), parse(t, addr))
		if err != nil || got != want {
			t.Errorf("Exists(%s) = %v, %v", addr, got, err)
		}
	}
	if local, err := d.Local("far.example"); local || err != nil {
		t.Errorf("Local(far.example) = %v, %v", local, err)
	}
}

// TestAccountsThatTakeNoMail holds that RCPT hears of them, unless an alias
// has somebody else to take the mail, and that nothing of it is remembered.
func TestAccountsThatTakeNoMail(t *testing.T) {
	d, a, _ := newTables(t)
	for reply, code := range map[string]int{"450 4.2.1 suspended": 450, "550 5.2.1 no mail, please": 550, "250 odd": 450} {
		a.mail = map[string]string{"alice@example.org": reply}
		for _, addr := range []string{"alice@example.org", "Alice+x@example.org", "postmaster@example.org"} {
			found, err := d.Exists(context.Background(), parse(t, addr))
			if st := status.Of(err); found || err == nil || st.Code != code {
				t.Errorf("%s for %s: %v, %v", reply, addr, found, err)
			}
		}
		if found, err := d.Exists(context.Background(), parse(t, "sales@example.org")); !found || err != nil {
			t.Errorf("an alias of which one takes mail: %v, %v", found, err)
		}
		if owns, err := d.Owns(context.Background(), "alice@example.org", parse(t, "sales@example.org")); !owns || err != nil {
			t.Errorf("who takes no mail may not send: %v, %v", owns, err)
		}
		a.mail = nil
		if found, err := d.Exists(context.Background(), parse(t, "alice@example.org")); !found || err != nil {
			t.Errorf("after %s: %v, %v", reply, found, err)
		}
		d.configure("+", "mx.example.org", 5*time.Second)
	}
}

func TestDirectoryRemembers(t *testing.T) {
	d, users, now := newTables(t)
	ask := func() bool {
		found, err := d.Exists(context.Background(), parse(t, "carol@example.org"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for range 2 {
		if ask() || users.asked != 1 {
			t.Fatalf("asked %d times", users.asked)
		}
	}
	users.users["carol@example.org"] = true
	*now = now.Add(6 * time.Second)
	if !ask() {
		t.Fatal("the old answer is still given")
	}
	users.err = errors.New("away")
	*now = now.Add(6 * time.Second)
	if _, err := d.Exists(context.Background(), parse(t, "carol@example.org")); err == nil {
		t.Fatal("a failure became an answer")
	}
}

func TestDirectoryOwns(t *testing.T) {
	d, _, _ := newTables(t)
	for _, c := range []struct {
		login, sender string
		want          bool
	}{
		{"alice@example.org", "alice@example.org", true}, {"alice@example.org", "ALICE+x@example.org", true},
		{"alice@example.org", "sales@example.org", true}, {"bob@example.org", "sales@example.org", true},
		{"carol@example.org", "sales@example.org", false}, {"bob@example.org", "alice@example.org", false},
		{"alice@example.org", "alice@far.example", false}, {"alice@example.org", "nobody@example.org", false},
		{"alice", "alice@example.org", false}, {"bob@example.org", "bob+alice@example.org", true},
	} {
		got, err := d.Owns(context.Background(), c.login, parse(t, c.sender))
		if err != nil || got != c.want {
			t.Errorf("Owns(%s, %s) = %v, %v", c.login, c.sender, got, err)
		}
	}
}

func TestDirectoryPostmaster(t *testing.T) {
	d, users, _ := newTables(t)
	a, found, err := d.Postmaster(context.Background())
	if err != nil || !found || a.String() != "postmaster@all.test" {
		t.Errorf("got %v %v %v", a, found, err)
	}
	d.configure("+", "example.org", 0)
	if a, found, _ = d.Postmaster(context.Background()); !found || a.String() != "postmaster@example.org" {
		t.Errorf("got %v %v", a, found)
	}
	users.users = nil
	if _, found, err = d.Postmaster(context.Background()); found || err != nil {
		t.Errorf("found %v %v", found, err)
	}
}
