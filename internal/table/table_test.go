package table

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"peyk/internal/address"
	"peyk/internal/status"
)

// tree writes files below a new control directory.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func addr(t testing.TB, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s, true)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return a
}

func list(addrs []address.Address) string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return strings.Join(s, " ")
}

const usersFile = `# accounts
alice:{PLAIN}secret:1000:1001:Alice A.:/home/alice:/bin/sh:userdb_mail=maildir:~/Mail nologin
Bob@Example.Org:{SSHA512}x

carol
زهرا:{PLAIN}x
`

func TestUsers(t *testing.T) {
	dir := tree(t, map[string]string{"domains/example.org/users": usersFile})
	d := OpenDomains(dir)
	u, ok, err := d.User(addr(t, "ALICE@example.org"))
	if err != nil || !ok || u.Addr.Local != "alice" || u.UID != 1000 || u.GID != 1001 || u.Home != "/home/alice" {
		t.Fatalf("alice = %#v, %v, %v", u, ok, err)
	}
	if _, flag := u.Fields["nologin"]; !flag || u.Fields["userdb_mail"] != "maildir:~/Mail" {
		t.Fatalf("fields = %v", u.Fields)
	}
	if s := fmt.Sprintf("%v %+v %#v", u, u, u); strings.Contains(s, "secret") {
		t.Fatalf("a printed user shows its hash: %s", s)
	}
	for _, name := range []string{"bob@example.org", "carol@example.org", "زهرا@example.org"} {
		if u, ok, err := d.User(addr(t, name)); !ok || err != nil || u.UID != -1 {
			t.Errorf("%s = %v, %v, %v", name, u, ok, err)
		}
	}
	for _, name := range []string{"dave@example.org", "alice@example.net", "\"../example.org/users\"@example.org", "аlice@example.org"} {
		if _, ok, err := d.User(addr(t, name)); ok || err != nil {
			t.Errorf("%s = %v, %v", name, ok, err)
		}
	}
	if all, err := d.Users("example.org"); len(all) != 4 || err != nil {
		t.Fatalf("Users = %v, %v", all, err)
	}
}

func TestHostileDomainsAreNoPaths(t *testing.T) {
	dir := tree(t, map[string]string{"domains/example.org/users": "", "secret/users": "alice:x\n", "users": "alice:x\n"})
	d := OpenDomains(dir)
	for _, domain := range []string{"", ".", "..", "../secret", "example.org/..", "example.org/", "/", "example.org.", "Example.org", "[127.0.0.1]", "x\x00", strings.Repeat("a", 5000)} {
		a := address.Address{Local: "alice", Domain: domain}
		if ok, err := d.Has(domain); ok || err != nil {
			t.Errorf("Has(%.20q) = %v, %v", domain, ok, err)
		}
		if _, ok, err := d.User(a); ok || err != nil {
			t.Errorf("User(%.20q) = %v, %v", domain, ok, err)
		}
		if r, err := d.Resolve(a, "+", nil); domain != "" && strings.ContainsAny(domain, "/") && (err != nil || list(r) != a.String()) {
			t.Errorf("Resolve(%q) = %v, %v: a foreign domain must stay as it is", domain, r, err)
		}
	}
	if names, err := d.List(); err != nil || !slices.Equal(names, []string{"example.org"}) {
		t.Fatalf("List = %v, %v", names, err)
	}
}

func TestWithoutTablesNobodyIsHere(t *testing.T) {
	d := OpenDomains(t.TempDir())
	if names, err := d.List(); len(names) != 0 || err != nil {
		t.Fatalf("List = %v, %v", names, err)
	}
	if _, ok, err := d.Alias(addr(t, "a@example.org")); ok || err != nil {
		t.Fatalf("Alias = %v, %v", ok, err)
	}
}

func TestChangedFilesAreReadAgain(t *testing.T) {
	dir := tree(t, map[string]string{"domains/a.example/users": "alice:1\n"})
	d := OpenDomains(dir)
	path := filepath.Join(dir, "domains/a.example/users")
	for i, text := range []string{"alice:1\n", "alice:1\nbob:2\n", "bob:3\n", ""} {
		write(t, path, text)
		_, ok, err := d.User(addr(t, "bob@a.example"))
		if want := i == 1 || i == 2; ok != want || err != nil {
			t.Fatalf("step %d: bob = %v, %v", i, ok, err)
		}
	}
	os.Remove(path)
	if _, ok, err := d.User(addr(t, "bob@a.example")); ok || err != nil {
		t.Fatalf("after removal: %v, %v", ok, err)
	}
}

// A line that nobody understands must not bounce the mail of whom it was
// about, and must not disturb anybody else.
func TestBrokenLinesAreTemporary(t *testing.T) {
	dir := tree(t, map[string]string{
		"domains/named.example/users":      "alice:x\nbob:x:notanumber\n",
		"domains/nameless.example/users":   "alice:x\n/etc/passwd:x\n",
		"domains/named.example/aliases":    "info: alice\npipe: |/bin/sh\nfile: /var/mail/x\nquoted: \"|sh -c x\"\nempty:\n",
		"domains/nameless.example/aliases": "info: alice\nthis is no alias\n",
		"domains/blank.example/users":      "alice:x\ndave {ARGON2ID}$argon2id$x\n",
		"domains/vague.example/aliases":    "*: alice@far.example\nthis is no alias\n",
	})
	d := OpenDomains(dir)
	temporary := func(name, where string) {
		t.Helper()
		r, err := d.Resolve(addr(t, name), "+", nil)
		var line *LineError
		if err == nil || !status.Of(err).Temporary() || !errors.As(err, &line) || !strings.Contains(err.Error(), where) {
			t.Errorf("Resolve(%s) = %v, %v; want a temporary failure naming %s", name, r, err, where)
		}
	}
	works := func(name, want string) {
		t.Helper()
		if r, err := d.Resolve(addr(t, name), "+", nil); err != nil || list(r) != want {
			t.Errorf("Resolve(%s) = %v, %v; want %s", name, r, err, want)
		}
	}
	works("info@named.example", "alice@named.example")
	works("dave@named.example", "")
	temporary("bob@named.example", "users:2")
	temporary("pipe@named.example", "aliases:2")
	temporary("file@named.example", "aliases:3")
	temporary("quoted@named.example", "aliases:4")
	temporary("empty@named.example", "aliases:5")
	works("info@nameless.example", "alice@nameless.example")
	temporary("dave@nameless.example", "nameless.example/users:2")
	works("alice@blank.example", "alice@blank.example")
	temporary("dave@blank.example", "blank.example/users:2")
	temporary("dave@vague.example", "vague.example/aliases:2")
	if errs := d.Check(); len(errs) != 9 {
		t.Errorf("Check found %d: %v", len(errs), errs)
	}
}

func TestUnreadableTableIsTemporary(t *testing.T) {
	dir := tree(t, map[string]string{"domains/a.example/users/x": "", "domains/a.example/aliases": strings.Repeat("x", 100)})
	_, _, err := OpenDomains(dir).User(addr(t, "bob@a.example"))
	if err == nil || !status.Of(err).Temporary() {
		t.Fatalf("a directory as users file: %v", err)
	}
}

func TestCheckNamesWhatIsNoDomain(t *testing.T) {
	dir := tree(t, map[string]string{"domains/Example.org/users": "", "domains/ok.example/users": "a:x\na:y\n", "domains/README": ""})
	errs := OpenDomains(dir).Check()
	if len(errs) != 3 {
		t.Fatalf("Check = %v", errs)
	}
}

func FuzzUserLine(f *testing.F) {
	for line := range strings.SplitSeq(usersFile, "\n") {
		f.Add(line)
	}
	f.Add("a:b:c:d:e:f:g:h:i")
	f.Add("..:x")
	f.Fuzz(func(t *testing.T, line string) {
		u, name, err := parseUser("example.org", []byte(line))
		if err != nil {
			return
		}
		if name != address.KeyLocal(u.Addr.Local) || strings.ContainsAny(u.Addr.Local, "/\x00") || u.Addr.Local == ".." {
			t.Fatalf("%q: user %q, name %q", line, u.Addr.Local, name)
		}
		out, err := u.format("", "")
		if err != nil {
			return
		}
		again, _, err := parseUser("example.org", []byte(out))
		if err != nil || again.Addr != u.Addr || again.Password != u.Password || again.UID != u.UID || again.Home != u.Home || fmt.Sprint(again.Fields) != fmt.Sprint(u.Fields) {
			t.Fatalf("%q → %q: %+v, %v", line, out, again, err)
		}
	})
}
