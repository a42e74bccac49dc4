package table

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"peyk/internal/address"
	"peyk/internal/commit"
)

// TestMain lets the test binary be the second editor.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PEYK_TEST_EDITOR"); dir != "" {
		os.Exit(editMany(dir, os.Getenv("PEYK_TEST_NAME")))
	}
	os.Exit(m.Run())
}

const editsEach = 20

func editMany(dir, who string) int {
	e := NewEditor(dir, new(commit.Disk))
	for i := range editsEach {
		u := User{Addr: address.Address{Local: who + strconv.Itoa(i), Domain: "a.example"}, UID: -1, GID: -1}
		if err := e.SetUser(u); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func TestEditorsDoNotLoseEachOthersEdits(t *testing.T) {
	dir := tree(t, map[string]string{"domains/a.example/users": "# keep me\n"})
	var wg sync.WaitGroup
	for i := range 4 {
		name := fmt.Sprintf("w%d-", i)
		wg.Go(func() {
			if i%2 == 0 {
				if editMany(dir, name) != 0 {
					t.Error("an editor failed")
				}
				return
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "PEYK_TEST_EDITOR="+dir, "PEYK_TEST_NAME="+name)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	all, err := OpenDomains(dir).Users("a.example")
	if err != nil || len(all) != 4*editsEach {
		t.Fatalf("%d users, %v; want %d", len(all), err, 4*editsEach)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUserEditsKeepTheRest(t *testing.T) {
	dir := tree(t, map[string]string{"domains/a.example/users": "# one\nalice:old:1:2:Alice A.::/bin/sh:quota=1\n\n!!broken/line\n# two\nbob:x\nalice:twice"})
	path := filepath.Join(dir, "domains/a.example/users")
	os.Chmod(path, 0o600)
	e := NewEditor(dir, new(commit.Disk))
	err := e.SetUser(User{Addr: addr(t, "Alice@a.example"), Password: "{PLAIN}new", UID: -1, GID: 5, Fields: map[string]string{"b": "2", "a": ""}})
	if err != nil {
		t.Fatal(err)
	}
	want := "# one\nalice:{PLAIN}new::5:Alice A.::/bin/sh:a b=2\n\n!!broken/line\n# two\nbob:x\n"
	if got := content(t, path); got != want {
		t.Fatalf("after SetUser:\n%s\nwant:\n%s", got, want)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, want the old one", info.Mode())
	}
	found, err := e.RemoveUser(addr(t, "ALICE@a.example"))
	if err != nil || !found || content(t, path) != "# one\n\n!!broken/line\n# two\nbob:x\n" {
		t.Fatalf("after RemoveUser: %v, %v:\n%s", found, err, content(t, path))
	}
	if found, err := e.RemoveUser(addr(t, "nobody@a.example")); found || err != nil {
		t.Fatalf("RemoveUser(nobody) = %v, %v", found, err)
	}
}

func TestAliasEditsKeepTheRest(t *testing.T) {
	dir := tree(t, map[string]string{"domains/a.example/aliases": "# one\ninfo: a,\n# inner\n  b\n\nx: y # z@a.example\nlast: a"})
	path := filepath.Join(dir, "domains/a.example/aliases")
	e := NewEditor(dir, new(commit.Disk))
	if err := e.SetAlias(addr(t, "info@a.example"), []string{"c", "d@far.example"}); err != nil {
		t.Fatal(err)
	}
	if err := e.SetAlias(addr(t, `"a b"@a.example`), []string{"c"}); err != nil {
		t.Fatal(err)
	}
	if err := e.SetAlias(address.Address{Local: CatchAll, Domain: "a.example"}, []string{"c"}); err != nil {
		t.Fatal(err)
	}
	want := "# one\ninfo: c, d@far.example\n# inner\n\nx: y # z@a.example\nlast: a\n\"a b\": c\n*: c\n"
	if got := content(t, path); got != want {
		t.Fatalf("got:\n%s\nwant:\n%s", got, want)
	}
	if found, err := e.RemoveAlias(addr(t, "info@a.example")); !found || err != nil {
		t.Fatalf("RemoveAlias = %v, %v", found, err)
	}
	if got := content(t, path); got != strings.Replace(want, "info: c, d@far.example\n", "", 1) {
		t.Fatalf("got:\n%s", got)
	}
}

func TestEditsThatCannotBeAreRefused(t *testing.T) {
	dir := tree(t, map[string]string{"domains/a.example/users": "alice:x\n"})
	e := NewEditor(dir, new(commit.Disk))
	ok := address.Address{Local: "bob", Domain: "a.example"}
	for _, u := range []User{
		{Addr: ok, Password: "a:b"}, {Addr: ok, Password: "a\nroot:x"}, {Addr: ok, Home: "/a\nb"}, {Addr: ok, Home: "rel"},
		{Addr: ok, Fields: map[string]string{"a b": ""}}, {Addr: ok, Fields: map[string]string{"a": "x\ny"}},
		{Addr: address.Address{Local: "..", Domain: "a.example"}}, {Addr: address.Address{Local: "a/b", Domain: "a.example"}},
		{Addr: address.Address{Local: "#bob", Domain: "a.example"}}, {Addr: address.Address{Local: "", Domain: "a.example"}},
		{Addr: address.Address{Local: "bob", Domain: "missing.example"}}, {Addr: address.Address{Local: "bob", Domain: "../a.example"}},
	} {
		if err := e.SetUser(u); err == nil {
			t.Errorf("SetUser(%q, %q) succeeded", u.Addr, u.Password)
		}
	}
	for _, target := range []string{"|sh", "/file", "a, b", "a\nb: c", "", ":include:x"} {
		if err := e.SetAlias(ok, []string{target}); err == nil {
			t.Errorf("SetAlias(%q) succeeded", target)
		}
	}
	if got := content(t, filepath.Join(dir, "domains/a.example/users")); got != "alice:x\n" {
		t.Fatalf("users = %q", got)
	}
}

func TestDomainsComeAndGo(t *testing.T) {
	dir := t.TempDir()
	e, d := NewEditor(dir, new(commit.Disk)), OpenDomains(dir)
	if err := e.AddDomain("a.example"); err != nil {
		t.Fatal(err)
	}
	if err := e.AddDomain("a.example"); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("twice: %v", err)
	}
	if err := e.SetUser(User{Addr: addr(t, "a@a.example"), UID: -1, GID: -1}); err != nil {
		t.Fatal(err)
	}
	if names, err := d.List(); len(names) != 1 || err != nil {
		t.Fatalf("List = %v, %v", names, err)
	}
	if err := e.RemoveDomain("a.example"); err != nil {
		t.Fatal(err)
	}
	if names, err := d.List(); len(names) != 0 || err != nil {
		t.Fatalf("List = %v, %v", names, err)
	}
	if err := e.RemoveDomain("a.example"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("removing twice: %v", err)
	}
	if err := e.AddDomain("../x"); err == nil {
		t.Fatal("a path became a domain")
	}
}

// A crash at any step leaves the old table or the new one, and no lock.
func TestEditSurvivesEveryFault(t *testing.T) {
	for n := 1; ; n++ {
		dir := tree(t, map[string]string{"domains/a.example/users": "alice:x\n"})
		step := 0
		disk := &commit.Disk{Hook: func(commit.Step, string) error {
			if step++; step == n {
				return unix.EIO
			}
			return nil
		}}
		u := User{Addr: addr(t, "bob@a.example"), UID: -1, GID: -1}
		err := NewEditor(dir, disk).SetUser(u)
		if got := content(t, filepath.Join(dir, "domains/a.example/users")); got != "alice:x\n" && got != "alice:x\nbob:::::::\n" {
			t.Fatalf("step %d: %q", n, got)
		}
		if err == nil {
			break
		}
		if err := NewEditor(dir, new(commit.Disk)).SetUser(u); err != nil {
			t.Fatalf("after a fault at step %d: %v", n, err)
		}
	}
}

// A domain whose removal was cut short goes with the next edit.
func TestRemovalsThatWereCutShortAreEnded(t *testing.T) {
	dir := t.TempDir()
	e := NewEditor(dir, new(commit.Disk))
	if err := e.AddDomain("a.example"); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "domains", removedPrefix+"b.example")
	if err := os.MkdirAll(filepath.Join(left, "dkim"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := e.AddDomain("c.example"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("it is still there")
	}
}
