package mailbox

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"peyk/internal/commit"
)

// newTestHost stands for one process.
func newTestHost(t testing.TB, change ...func(*Options)) *Host {
	t.Helper()
	o := Options{Disk: new(commit.Disk), Now: time.Now, Rand: rand.Reader, Hostname: "host.test"}
	for _, c := range change {
		c(&o)
	}
	h, err := NewHost(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func openAccount(t testing.TB, h *Host, root string) *Account {
	t.Helper()
	a, err := h.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func openFolder(t testing.TB, a *Account, name string) *Folder {
	t.Helper()
	f, err := a.Folder(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// newFolderOf makes a host, an account and its open INBOX.
func newInbox(t testing.TB) (*Host, *Account, *Folder) {
	t.Helper()
	h := newTestHost(t)
	a := openAccount(t, h, filepath.Join(t.TempDir(), "Maildir"))
	return h, a, openFolder(t, a, "inbox")
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func deliver(t testing.TB, h *Host, root, msg string) {
	t.Helper()
	for _, err := range h.Deliver([]Target{{Root: root}}, text(msg)) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func refresh(t testing.TB, f *Folder) *Snapshot {
	t.Helper()
	s, err := f.Refresh(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func contentOf(t testing.TB, f *Folder, uid uint32) string {
	t.Helper()
	file, err := f.Open(uid)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	raw, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func uidsOf(s *Snapshot) []uint32 {
	var uids []uint32
	for _, m := range s.all() {
		uids = append(uids, m.UID)
	}
	return uids
}

func TestDeliverAndRead(t *testing.T) {
	h, a, f := newInbox(t)
	if s := refresh(t, f); len(s.all()) != 0 || s.UIDNext != 1 || s.UIDValidity == 0 {
		t.Fatalf("empty folder: %+v", s)
	}
	deliver(t, h, a.Root(), "Subject: a\r\n\r\nbody\r\n")
	s := refresh(t, f)
	if len(s.all()) != 1 || s.UIDNext != 2 {
		t.Fatalf("%+v", s)
	}
	m := s.all()[0]
	if m.UID != 1 || m.FileSize != 17 || m.Size != 20 || !m.Recent || m.Flags != 0 {
		t.Fatalf("%+v", m)
	}
	if got := contentOf(t, f, 1); got != "Subject: a\n\nbody\n" {
		t.Fatalf("%q", got)
	}
	if got := f.TakeRecent(); !slices.Equal(got, []uint32{1}) {
		t.Fatalf("recent %v", got)
	}
	if got := f.TakeRecent(); len(got) != 0 {
		t.Fatalf("recent twice: %v", got)
	}
	files, _ := filepath.Glob(a.Root() + "/cur/*:2,")
	if len(files) != 1 || !strings.HasSuffix(files[0], ".host.test,S=17,W=20:2,") {
		t.Fatalf("%q", files)
	}
	for _, p := range []string{files[0], a.Root() + "/dovecot-uidlist"} {
		if info, _ := os.Stat(p); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
	}
	if left, _ := os.ReadDir(a.Root() + "/tmp"); len(left) != 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

func TestReadOnlyLeavesNew(t *testing.T) {
	h, a, f := newInbox(t)
	deliver(t, h, a.Root(), "x\n")
	s, err := f.RefreshReadOnly(context.Background())
	if err != nil || len(s.all()) != 1 || !s.all()[0].Recent {
		t.Fatalf("%v %+v", err, s)
	}
	if got, _ := os.ReadDir(a.Root() + "/new"); len(got) != 1 {
		t.Fatal("the message left new/")
	}
	if contentOf(t, f, 1) != "x\n" {
		t.Fatal("content")
	}
	if s := refresh(t, f); len(s.all()) != 1 || s.all()[0].UID != 1 {
		t.Fatalf("%+v", s)
	}
	if got, _ := os.ReadDir(a.Root() + "/cur"); len(got) != 1 {
		t.Fatal("the message did not come to cur/")
	}
}

func TestStore(t *testing.T) {
	h, a, f := newInbox(t)
	deliver(t, h, a.Root(), "x\n")
	refresh(t, f)
	check := func(op Op, flags Flags, kw []string, want string, wantKw ...string) {
		t.Helper()
		if err := storeIn(f, []uint32{1}, op, flags, kw); err != nil {
			t.Fatal(err)
		}
		files, _ := filepath.Glob(a.Root() + "/cur/*")
		if len(files) != 1 || !strings.HasSuffix(files[0], want) {
			t.Fatalf("%q, want %q", files, want)
		}
		s := refresh(t, f)
		if got := s.keywordNames(&s.all()[0]); !slices.Equal(got, wantKw) {
			t.Fatalf("keywords %q, want %q", got, wantKw)
		}
		other := openFolder(t, openAccount(t, newTestHost(t), a.Root()), Inbox)
		if o := refresh(t, other); o.all()[0].Flags != s.all()[0].Flags || o.all()[0].Keywords != s.all()[0].Keywords {
			t.Fatalf("another process sees %+v, we %+v", o.all()[0], s.all()[0])
		}
	}
	check(Add, Seen|Deleted, nil, ":2,ST")
	check(Add, Flagged, []string{"Junk", "$Phishing"}, ":2,FSTab", "Junk", "$Phishing")
	check(Remove, Deleted, []string{"junk", "never"}, ":2,FSb", "$Phishing")
	check(Replace, Draft|Passed|Answered, []string{"x"}, ":2,DPRc", "x")
	if got, _ := os.ReadFile(a.Root() + "/dovecot-keywords"); string(got) != "0 Junk\n1 $Phishing\n2 x\n" {
		t.Fatalf("%q", got)
	}
	if err := storeIn(f, []uint32{1, 9}, Add, Seen, nil); !errors.Is(err, ErrGone) {
		t.Fatalf("error %v", err)
	}
}

func TestStoreDoesNotRewriteTheUidlist(t *testing.T) {
	h, a, f := newInbox(t)
	deliver(t, h, a.Root(), "x\n")
	refresh(t, f)
	before, _ := os.Stat(a.Root() + "/dovecot-uidlist")
	reads := h.count.dirReads.Load()
	for i := range 10 {
		storeIn(f, []uint32{1}, Op(i%2), Seen, nil)
	}
	after, _ := os.Stat(a.Root() + "/dovecot-uidlist")
	if !os.SameFile(before, after) || before.Size() != after.Size() {
		t.Fatal("the uidlist was written")
	}
	if n := h.count.dirReads.Load() - reads; n > 4 {
		t.Fatalf("%d directories listed for ten changes", n)
	}
}

func TestStoreFollowsARename(t *testing.T) {
	h, a, f := newInbox(t)
	deliver(t, h, a.Root(), "x\n")
	refresh(t, f)
	files, _ := filepath.Glob(a.Root() + "/cur/*")
	os.Rename(files[0], files[0]+"T")
	if err := storeIn(f, []uint32{1}, Add, Seen, nil); err != nil {
		t.Fatal(err)
	}
	if s := refresh(t, f); s.all()[0].Flags != Seen|Deleted {
		t.Fatalf("%+v", s.all()[0])
	}
	files, _ = filepath.Glob(a.Root() + "/cur/*")
	os.Rename(files[0], files[0]+"z")
	if contentOf(t, f, 1) != "x\n" {
		t.Fatal("Open does not follow a rename")
	}
	os.Remove(files[0] + "z")
	if _, err := f.Open(1); !errors.Is(err, ErrGone) {
		t.Fatalf("error %v", err)
	}
}

func TestAppendExpungeAndUIDs(t *testing.T) {
	_, a, f := newInbox(t)
	at := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	uid, err := f.Append(Seen, []string{"Work"}, at, text("a\r\r\nb\r"))
	if err != nil || uid != 1 {
		t.Fatal(uid, err)
	}
	s := refresh(t, f)
	if m := s.all()[0]; m.Flags != Seen || m.Size != 5 || m.FileSize != 5 || len(s.keywordNames(&m)) != 1 || !m.Recent {
		t.Fatalf("%+v", m)
	}
	if d, err := f.Date(1); err != nil || !d.Equal(at) {
		t.Fatal(d, err)
	}
	uids, err := f.AppendAll([]NewMessage{{Write: text("1")}, {Write: text("2"), Date: at}})
	if err != nil || !slices.Equal(uids, []uint32{2, 3}) {
		t.Fatal(uids, err)
	}
	broken := errors.New("connection lost")
	_, err = f.AppendAll([]NewMessage{{Write: text("1")}, {Write: func(io.Writer) error { return broken }}})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if err := f.Expunge([]uint32{2, 77}); err != nil {
		t.Fatal(err)
	}
	if s := refresh(t, f); !slices.Equal(uidsOf(s), []uint32{1, 3}) || s.UIDNext != 4 {
		t.Fatal(uidsOf(s))
	}
	if err := f.Expunge([]uint32{3}); err != nil {
		t.Fatal(err)
	}
	other := openFolder(t, openAccount(t, newTestHost(t), a.Root()), Inbox)
	if uid, err := other.Append(0, nil, time.Time{}, text("x")); err != nil || uid != 4 {
		t.Fatalf("uid %d %v: a UID must not come back", uid, err)
	}
	if s := refresh(t, f); !slices.Equal(uidsOf(s), []uint32{1, 4}) {
		t.Fatal(uidsOf(s))
	}
	if left, _ := os.ReadDir(a.Root() + "/tmp"); len(left) != 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

func TestCopyAndMove(t *testing.T) {
	_, a, f := newInbox(t)
	if err := a.Create("Sent.Älter & mehr", ""); err != nil {
		t.Fatal(err)
	}
	g := openFolder(t, a, "Sent.Älter & mehr")
	at := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	for _, m := range []string{"one", "two", "three"} {
		if _, err := f.Append(Seen, []string{m}, at, text(m)); err != nil {
			t.Fatal(err)
		}
	}
	g.Append(0, []string{"other"}, at, text("zero"))
	src, dst, err := f.Copy([]uint32{1, 3}, g)
	if err != nil || !slices.Equal(src, []uint32{1, 3}) || !slices.Equal(dst, []uint32{2, 3}) {
		t.Fatal(src, dst, err)
	}
	src, dst, err = f.Move([]uint32{2}, g)
	if err != nil || !slices.Equal(src, []uint32{2}) || !slices.Equal(dst, []uint32{4}) {
		t.Fatal(src, dst, err)
	}
	if s := refresh(t, f); !slices.Equal(uidsOf(s), []uint32{1, 3}) {
		t.Fatal(uidsOf(s))
	}
	s := refresh(t, g)
	for i, want := range []string{"zero", "one", "three", "two"} {
		m := s.all()[i]
		if contentOf(t, g, m.UID) != want || i > 0 && s.keywordNames(&m)[0] != want {
			t.Fatalf("%d: %q %+v", i, contentOf(t, g, m.UID), s.keywordNames(&m))
		}
		if d, _ := g.Date(m.UID); !d.Equal(at) {
			t.Fatal(d)
		}
	}
	if _, _, err := f.Copy([]uint32{1, 2}, g); !errors.Is(err, ErrGone) {
		t.Fatal(err)
	}
	if _, dst, err := f.Copy([]uint32{1}, f); err != nil || dst[0] != 4 {
		t.Fatal(dst, err)
	}
	files, _ := filepath.Glob(a.Root() + "/cur/*")
	os.Rename(files[0], files[0]+"T")
	if _, _, err := f.Move([]uint32{1, 3, 4}, g); err != nil {
		t.Fatal(err)
	}
	if s := refresh(t, g); len(s.all()) != 7 {
		t.Fatal(uidsOf(s))
	}
}

// storeIn is Store without conditions.
func storeIn(f *Folder, uids []uint32, op Op, flags Flags, keywords []string) error {
	_, err := f.Store(uids, Change{Op: op, Flags: flags, Keywords: keywords})
	return err
}
