package mailbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"peyk/internal/status"
)

func listNames(t *testing.T, a *Account) string {
	t.Helper()
	infos, err := a.Folders()
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, i := range infos {
		if one, ok, err := a.FolderInfo(i.Name); err != nil || !ok || one != i {
			t.Errorf("FolderInfo %+v, %v, %v, and Folders has %+v", one, ok, err, i)
		}
		w := i.Name
		if !i.Selectable {
			w += "!"
		}
		if i.HasChildren {
			w += "+"
		}
		words = append(words, w+i.SpecialUse)
	}
	return strings.Join(words, " ")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFolders(t *testing.T) {
	_, a, f := newInbox(t)
	must(t, a.Create("A.B.C", ""))
	must(t, a.Create("A.B", ""))
	must(t, a.Create("Sent", ""))
	must(t, a.Create("Gesendet", `\Sent`))
	must(t, a.Create("Trash", ""))
	if got, want := listNames(t, a), `INBOX A!+ A.B+ A.B.C Gesendet\Sent Sent Trash\Trash`; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	if info, err := os.Stat(a.Root() + "/.A.B/maildirfolder"); err != nil || info.Size() != 0 {
		t.Fatal("no maildirfolder", err)
	}
	if info, _ := os.Stat(a.Root() + "/.A.B/cur"); info.Mode().Perm() != 0o700 {
		t.Fatal(info.Mode())
	}
	if err := a.Create("A.B", ""); !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	if err := a.Rename("A.B", "A.B.D"); !errors.Is(err, ErrName) {
		t.Fatal(err)
	}
	if err := a.Rename("none", "x"); !errors.Is(err, ErrNoFolder) {
		t.Fatal(err)
	}
	g := openFolder(t, a, "A.B")
	g.Append(0, nil, time.Time{}, text("x"))
	must(t, a.Rename("A", "Z"))
	if _, err := g.Refresh(context.Background()); !errors.Is(err, ErrNoFolder) {
		t.Fatalf("a renamed folder: %v", err)
	}
	must(t, a.Rename("Gesendet", "Weg"))
	if got, want := listNames(t, a), `INBOX Sent Trash\Trash Weg\Sent Z!+ Z.B+ Z.B.C`; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	if s := refresh(t, openFolder(t, a, "Z.B")); len(s.all()) != 1 {
		t.Fatal("the message did not come along")
	}
	must(t, a.Delete("Z.B"))
	must(t, a.Delete("Weg"))
	if got, want := listNames(t, a), `INBOX Sent\Sent Trash\Trash Z!+ Z.B!+ Z.B.C`; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	if err := a.Delete("inbox"); err == nil {
		t.Fatal("INBOX was deleted")
	}
	f.Append(Seen, nil, time.Time{}, text("y"))
	must(t, a.Rename("INBOX", "Old"))
	if n := len(refresh(t, f).all()); n != 0 {
		t.Fatalf("%d messages in INBOX", n)
	}
	if s := refresh(t, openFolder(t, a, "Old")); len(s.all()) != 1 || s.all()[0].Flags != Seen {
		t.Fatalf("%+v", s)
	}
}

func TestRecreatedFolderHasAnotherUIDValidity(t *testing.T) {
	h, a, _ := newInbox(t)
	fixed := time.Unix(1700000000, 0)
	h.o.Now = func() time.Time { return fixed }
	seen := map[uint32]bool{}
	for range 5 {
		must(t, a.Create("x", ""))
		f := openFolder(t, a, "x")
		v := refresh(t, f).UIDValidity
		if seen[v] || v < uint32(fixed.Unix()) {
			t.Fatalf("UIDVALIDITY %d again", v)
		}
		seen[v] = true
		must(t, a.Delete("x"))
	}
}

func TestBadFolderNames(t *testing.T) {
	_, a, _ := newInbox(t)
	before, _ := filepath.Glob(filepath.Dir(a.Root()) + "/*")
	for _, name := range []string{"", ".", "..", "a..b", ".a", "a.", "../x", "a/b", "/etc", "x\x00", "x\n", "\xff", "a*", "100%",
		strings.Repeat("x", 241), strings.Repeat("ü", 100), "\u202ex", strings.Repeat("a.", 40) + "a"} {
		err := a.Create(name, "")
		var e *status.Error
		if !errors.Is(err, ErrName) || !errors.As(err, &e) {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := a.Folder(name); err == nil {
			t.Errorf("%q can be opened", name)
		}
	}
	if after, _ := filepath.Glob(filepath.Dir(a.Root()) + "/*"); !slices.Equal(before, after) {
		t.Fatalf("%q, then %q", before, after)
	}
	if err := a.Create("x", `\Bogus`); err == nil {
		t.Error("an unknown use is accepted")
	}
}

// A folder that another program named without modified UTF-7 is not hidden.
func TestForeignFolderNames(t *testing.T) {
	h, a, _ := newInbox(t)
	for _, dir := range []string{".Été", ".&broken", ".ok"} {
		must(t, h.makeDirs(a.Root()+"/"+dir))
	}
	os.Symlink("/etc", a.Root()+"/.link")
	os.WriteFile(a.Root()+"/.file", nil, 0o600)
	os.Mkdir(a.Root()+"/.no-maildir", 0o700)
	if got, want := listNames(t, a), "INBOX &broken ok Été"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
	for _, name := range []string{"Été", "&broken"} {
		f := openFolder(t, a, name)
		if _, err := f.Append(0, nil, time.Time{}, text("x")); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"link", "file"} {
		if _, err := a.Folder(name); !errors.Is(err, ErrNoFolder) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	_, a, _ := newInbox(t)
	path := a.Root() + "/subscriptions"
	steps := func(want string) {
		t.Helper()
		must(t, a.Subscribe("inbox"))
		must(t, a.Subscribe("A.Ö"))
		must(t, a.Subscribe("A.Ö"))
		must(t, a.Subscribe("B"))
		must(t, a.Unsubscribe("B"))
		must(t, a.Unsubscribe("nobody"))
		if raw, _ := os.ReadFile(path); string(raw) != want {
			t.Fatalf("%q, want %q", raw, want)
		}
		if names, err := a.Subscribed(); err != nil || !slices.Contains(names, "A.Ö") || !slices.Contains(names, "INBOX") {
			t.Fatal(names, err)
		}
	}
	steps("V\t2\n\nINBOX\nA\t&ANY-\n")
	os.WriteFile(path, []byte("old.one\nINBOX\n&bad\n"), 0o600)
	steps("old.one\nINBOX\n&bad\nA.&ANY-\n")
}

func TestSpecialUseOnFile(t *testing.T) {
	_, a, _ := newInbox(t)
	must(t, a.Create("Entwürfe", `\Drafts`))
	if raw, _ := os.ReadFile(a.Root() + "/peyk-special-use"); string(raw) != "\\Drafts\tEntw&APw-rfe\n" {
		t.Fatalf("%q", raw)
	}
}

func TestLockDrop(t *testing.T) {
	_, a, _ := newInbox(t)
	unlock, err := a.LockDrop()
	must(t, err)
	other := openAccount(t, newTestHost(t), a.Root())
	if _, err := other.LockDrop(); !errors.Is(err, ErrInUse) {
		t.Fatal(err)
	}
	unlock()
	unlock()
	unlock, err = other.LockDrop()
	must(t, err)
	unlock()
}

func TestUIDL(t *testing.T) {
	if got := UIDL(26, 1275660208); got != fmt.Sprintf("%08x%08x", 26, 1275660208) || got != "0000001a4c0907b0" {
		t.Fatal(got)
	}
}

// Uses that cannot be read for a moment are not none, and two processes that
// give uses at once keep both.
func TestSpecialUsesAreNotLost(t *testing.T) {
	_, a, _ := newInbox(t)
	other := openAccount(t, newTestHost(t), a.Root())
	must(t, a.Create("Old mail", `\Archive`))
	path := a.Root() + "/" + specialUseName
	must(t, os.Rename(path, path+".away"))
	must(t, os.Symlink(specialUseName+".away", path)) // opens for nobody
	if err := other.Create("Bin", `\Trash`); err == nil {
		t.Error("a use was given beside ones that cannot be read")
	}
	must(t, os.Rename(path+".away", path))
	var both sync.WaitGroup
	for use, who := range map[string]*Account{`\Junk`: a, `\Drafts`: other} {
		both.Go(func() {
			for i := range 20 {
				if err := who.Create(fmt.Sprint(use[1:], i), use); err != nil {
					t.Error(err)
				}
			}
		})
	}
	both.Wait()
	if uses := a.specialUses(); len(uses) != 41 || uses["Old mail"] != `\Archive` {
		t.Errorf("%d uses are left: %v", len(uses), uses)
	}
}
