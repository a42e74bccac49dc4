package table

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/commit"
)

func TestAppPasswords(t *testing.T) {
	dir := tree(t, map[string]string{"domains/example.org/users": "alice:\n"})
	e, d := NewEditor(dir, new(commit.Disk)), OpenDomains(dir)
	alice := addr(t, "alice@example.org")
	p := AppPassword{User: alice, ID: "k3", Hash: "{SSHA256}secret=", Created: time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC),
		Name: "Telefon von Åse, alt: 100% kaputt", Rights: ReadOnly, Protocols: []string{"imap", "pop3"},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Expires:  time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	if err := e.AddAppPassword(p); err != nil {
		t.Fatal(err)
	}
	if err := e.AddAppPassword(p); err == nil {
		t.Error("a second password got the same id")
	}
	q := p
	q.ID = "k4"
	if err := e.AddAppPassword(q); err != nil {
		t.Fatal(err)
	}
	all, err := d.AppPasswords(addr(t, "ALICE@example.org"))
	if err != nil || len(all) != 2 || fmt.Sprint(all[0].Name, all[0].Rights, all[0].Protocols, all[0].Networks, all[0].Expires, all[0].Created, all[0].Hash) !=
		fmt.Sprint(p.Name, p.Rights, p.Protocols, p.Networks, p.Expires, p.Created, p.Hash) {
		t.Fatalf("AppPasswords = %v, %v", all, err)
	}
	if s := fmt.Sprintf("%v %+v %#v", p, p, p); strings.Contains(s, "secret") {
		t.Errorf("a printed app password shows its hash: %s", s)
	}
	if found, err := e.RemoveAppPassword(alice, "k3"); !found || err != nil {
		t.Fatalf("remove = %v, %v", found, err)
	}
	if found, err := e.RemoveAppPassword(alice, "k3"); found || err != nil {
		t.Fatalf("a second remove = %v, %v", found, err)
	}
	if all, err := d.AppPasswords(alice); err != nil || len(all) != 1 || all[0].ID != "k4" {
		t.Fatalf("after the removal: %v, %v", all, err)
	}
	info, err := os.Stat(filepath.Join(dir, "domains/example.org/app-passwords"))
	if err != nil || info.Mode().Perm() != usersPerm {
		t.Fatalf("mode = %v, %v", info.Mode(), err)
	}
}

// TestDoubtfulLines holds that a line which cannot be read is never a yes for
// whom it may be about.
func TestDoubtfulLines(t *testing.T) {
	dir := tree(t, map[string]string{
		"domains/example.org/app-passwords": "alice:k1:{SSHA256}x:2026-01-01:rights=everything\nbob:k2:{SSHA256}x:2026-01-01:\n",
		"domains/example.org/second-factor": "alice:short::2026-01-01\nbob:GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ::2026-01-01\n",
		"domains/example.org/access":        "alice color=blue\nbob protocols=imap\n",
	})
	d := OpenDomains(dir)
	alice, bob := addr(t, "alice@example.org"), addr(t, "bob@example.org")
	if _, err := d.AppPasswords(alice); err == nil {
		t.Error("an app password that cannot be read was ignored")
	}
	if _, _, err := d.SecondFactor(alice); err == nil {
		t.Error("a second factor that cannot be read was ignored")
	}
	if _, err := d.Access(alice); err == nil {
		t.Error("a limit that cannot be read was ignored")
	}
	if all, err := d.AppPasswords(bob); err != nil || len(all) != 1 {
		t.Errorf("bob: %v, %v", all, err)
	}
	if f, found, err := d.SecondFactor(bob); err != nil || !found || string(f.Secret) != "12345678901234567890" {
		t.Errorf("bob: %v, %v", found, err)
	}
	if a, err := d.Access(bob); err != nil || a["protocols"].List[0] != "imap" {
		t.Errorf("bob: %v, %v", a, err)
	}
	if errs := d.Check(); len(errs) != 3 {
		t.Errorf("Check finds %d errors, want 3: %v", len(errs), errs)
	}
	write(t, filepath.Join(dir, "domains/example.org/access"), "a/b send=no\n")
	if _, err := d.Access(bob); err == nil {
		t.Error("a line that may be about anybody was ignored")
	}
}

func TestSecondFactor(t *testing.T) {
	dir := tree(t, map[string]string{"domains/example.org/users": "alice:\n"})
	e, d := NewEditor(dir, new(commit.Disk)), OpenDomains(dir)
	f := SecondFactor{User: addr(t, "alice@example.org"), Secret: []byte("12345678901234567890"), Recovery: []string{"{SSHA256}a", "{SSHA256}b"},
		Created: time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)}
	for range 2 {
		if err := e.SetSecondFactor(f); err != nil {
			t.Fatal(err)
		}
		f.Recovery = f.Recovery[:1]
	}
	got, found, err := d.SecondFactor(f.User)
	if err != nil || !found || string(got.Secret) != string(f.Secret) || len(got.Recovery) != 1 || !got.Created.Equal(f.Created) {
		t.Fatalf("SecondFactor = %v %v %v", got, found, err)
	}
	if s := fmt.Sprintf("%v %+v %#v", f, f, f); strings.Contains(s, "1234") || strings.Contains(s, "SSHA") {
		t.Errorf("a printed second factor shows its secret: %s", s)
	}
	f.Secret = f.Secret[:8]
	if err := e.SetSecondFactor(f); err == nil {
		t.Error("a short secret was written")
	}
	if found, err := e.RemoveSecondFactor(f.User); !found || err != nil {
		t.Fatalf("remove = %v, %v", found, err)
	}
}

// TestAccessPrecedence holds that the most particular line counts for each
// word, and names itself.
func TestAccessPrecedence(t *testing.T) {
	dir := tree(t, map[string]string{
		"access": "# server\n* protocols=imap,smtp networks=192.0.2.0/24 send=no expires=2027-01-01\n" +
			"example.org protocols=pop3 login=no reason=moved%20away\nALICE@example.org networks=any\n",
		"domains/example.org/access": "* protocols=imap receive=no\nalice suspended=defer protocols=smtp\n",
	})
	a, err := OpenDomains(dir).Access(addr(t, "alice@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	server, domain := filepath.Join(dir, "access"), filepath.Join(dir, "domains/example.org/access")
	for word, want := range map[string]string{
		"protocols": "smtp " + domain + ":2", "networks": "any " + server + ":4", "send": "no " + server + ":2", "login": "no " + server + ":3",
		"receive": "no " + domain + ":1", "suspended": "defer " + domain + ":2", "expires": "2027-01-01 " + server + ":2",
	} {
		if got := a[word].Text + " " + a[word].Where; got != want {
			t.Errorf("%s: %s; want %s", word, got, want)
		}
	}
	if a["login"].Reason != "moved away" || a["protocols"].Reason != "" || !a["networks"].Unlimited || len(a) != 7 {
		t.Errorf("access = %v", a)
	}
	if b, err := OpenDomains(dir).Access(addr(t, "bob@example.org")); err != nil || b["protocols"].List[0] != "pop3" {
		t.Errorf("bob's protocols are %v, %v; the server's table comes first", b["protocols"], err)
	}
}

func TestHours(t *testing.T) {
	_, clauses, err := parseAccessLine("example.org", []byte("alice hours=Mo-Fr/08:00-18:00,Sa/22:00-02:00 zone=Europe/Berlin"))
	if err != nil {
		t.Fatal(err)
	}
	for moment, want := range map[string]bool{
		"2026-11-23T07:00:00Z": true, "2026-11-23T06:59:59Z": false, "2026-11-23T16:59:00Z": true, "2026-11-23T17:00:00Z": false, // winter: Berlin is UTC+1
		"2026-07-06T06:00:00Z": true, "2026-07-06T16:00:00Z": false, // summer: UTC+2
		"2026-11-28T21:00:00Z": true, "2026-11-29T00:59:00Z": true, "2026-11-29T01:00:00Z": false, "2026-11-28T20:59:00Z": false,
	} {
		now, err := time.Parse(time.RFC3339, moment)
		if err != nil {
			t.Fatal(err)
		}
		if got := clauses["hours"].Hours.Include(now); got != want {
			t.Errorf("%s: %v", moment, got)
		}
	}
	for _, bad := range []string{"", "8-18", "Mo/08:00", "Mo-Xx/08:00-18:00", "08:00-08:00", "24:00-08:00", "08:00-25:00", "8:00-18:00", "Mo/08:00-18:00,"} {
		if _, err := parseHours(bad); err == nil {
			t.Errorf("%q was taken for hours", bad)
		}
	}
}

// TestSetAccess holds that an edit changes one account's words and nothing
// else of the file.
func TestSetAccess(t *testing.T) {
	dir := tree(t, map[string]string{"domains/example.org/access": "# limits\n* protocols=imap\nalice hours=08:00-18:00\n\nbob send=no\nalice expires=2027-01-01\n"})
	e := NewEditor(dir, new(commit.Disk))
	alice := addr(t, "alice@example.org")
	if err := e.SetAccess(alice, "suspended=defer", "hours="); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "domains/example.org/access")
	if text, _ := os.ReadFile(path); string(text) != "# limits\n* protocols=imap\nalice expires=2027-01-01 suspended=defer\n\nbob send=no\n" {
		t.Errorf("the file is now\n%s", text)
	}
	if words, err := e.AccountAccess(alice); err != nil || strings.Join(words, " ") != "expires=2027-01-01 suspended=defer" {
		t.Errorf("words = %q, %v", words, err)
	}
	for _, bad := range []string{"color=blue", "suspended=maybe", "zone=Europe/Berlin", "networks=all", "protocols=http", "reason=x%zz"} {
		if err := e.SetAccess(alice, bad); err == nil {
			t.Errorf("%s was written", bad)
		}
	}
	if err := e.SetAccess(alice, "expires=", "suspended="); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "# limits\n* protocols=imap\n\nbob send=no\n" {
		t.Errorf("the file is now\n%s", text)
	}
}

// FuzzOwned holds that lines of the tables of second factors are read without
// a panic, and that what is written is read as the same.
func FuzzOwned(f *testing.F) {
	f.Add("alice:k3:{SSHA256}x:20261123T050000Z:name=a%20b rights=read-only networks=192.0.2.0/24,2001:db8::/32 expires=2027-01-01")
	f.Add("alice:GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ:{SSHA256}a,{SSHA256}b:2026-01-01")
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "\n") {
			return
		}
		user, rest, err := splitOwner("example.org", []byte(line))
		if err != nil {
			return
		}
		if p, err := parseAppPassword(user, rest); err == nil {
			if text, err := p.format(); err == nil {
				user, rest, err := splitOwner("example.org", []byte(text))
				q, err2 := parseAppPassword(user, rest)
				if err != nil || err2 != nil || fmt.Sprint(q.String(), q.Name, q.Rights, q.Networks, q.Expires, q.Protocols) != fmt.Sprint(p.String(), p.Name, p.Rights, p.Networks, p.Expires, p.Protocols) {
					t.Errorf("%q became %q: %v %v", line, text, err, err2)
				}
			}
		}
		if s, err := parseSecondFactor(user, rest); err == nil {
			if text, err := s.format(); err == nil {
				user, rest, _ := splitOwner("example.org", []byte(text))
				if again, err := parseSecondFactor(user, rest); err != nil || string(again.Secret) != string(s.Secret) {
					t.Errorf("%q became %q: %v", line, text, err)
				}
			}
		}
	})
}

// FuzzAccess holds that any access table is read without a panic, and that
// each line is a limit or a complaint.
func FuzzAccess(f *testing.F) {
	f.Add("alice hours=Mo-Fr/08:00-18:00 zone=Europe/Berlin login=no reason=a%20b\n* countries=DE,AT suspended=refuse\n", "example.org")
	f.Add("example.org networks=192.0.2.0/24,::1 expires=never\n", "")
	f.Fuzz(func(t *testing.T, text, domain string) {
		if domain != "" && !isDomain(domain) {
			return
		}
		table := parseAccess("access", domain, []byte(text))
		for _, line := range strings.Split(text, "\n") {
			if !isComment([]byte(line)) && len(table.lines) == 0 && len(table.all()) == 0 {
				t.Errorf("%q says nothing and nobody complains", line)
			}
		}
		for _, a := range table.lines {
			for _, c := range a {
				c.Hours.Include(time.Unix(0, 0))
			}
		}
	})
}
