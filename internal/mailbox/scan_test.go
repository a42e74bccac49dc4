package mailbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// Every regular file is a message, whatever it is called; nothing else is.
func TestStrangeNames(t *testing.T) {
	_, a, f := newInbox(t)
	secret := filepath.Join(t.TempDir(), "secret")
	os.WriteFile(secret, []byte("secret"), 0o600)
	files := map[string]Flags{
		"cur/noinfo": 0, "cur/semi;2,S": Seen, "cur/bang!2,FS": Flagged | Seen, "cur/exp:1,S": 0, "cur/unknown:2,SX9": Seen,
		"cur/unsorted:2,TSF": Seen | Flagged | Deleted, "cur/double:2,SS": Seen, "cur/two:2,S,more": Seen, "cur/bad\xff\xfe:2,S": Seen,
		"cur/space in name:2,S": Seen, "cur/,S=-5,W=x:2,S": Seen, "cur/S=99999999999999999999,S=99999999999999999999:2,": 0,
		"new/withflags:2,S": Seen, "new/plain": 0, "cur/line\nend:2,S": Seen, "cur/:2,S": Seen, "cur/" + strings.Repeat("l", 240) + ":2,S": Seen,
		"cur/colon:in:2,S": Seen,
	}
	for name := range files {
		os.WriteFile(a.Root()+"/"+name, []byte(name+"\n"), 0o600)
	}
	os.Symlink(secret, a.Root()+"/cur/link:2,S")
	os.Mkdir(a.Root()+"/cur/dir:2,S", 0o700)
	unix.Mkfifo(a.Root()+"/cur/fifo:2,S", 0o600)
	os.WriteFile(a.Root()+"/cur/.hidden", nil, 0o600)
	for range 2 { // the second time by another process
		s := refresh(t, f)
		if len(s.all()) != len(files) {
			t.Fatalf("%d messages of %d", len(s.all()), len(files))
		}
		for i := range s.all() {
			m := &s.all()[i]
			body := strings.TrimSuffix(contentOf(t, f, m.UID), "\n")
			want, ok := files[body]
			if !ok || m.Flags != want || m.FileSize != int64(len(body))+1 {
				t.Errorf("%q: %+v, want flags %b", body, m, want)
			}
		}
		f = openFolder(t, openAccount(t, newTestHost(t), a.Root()), Inbox)
	}
	s := refresh(t, f)
	if err := storeIn(f, uidsOf(s), Add, Flagged, nil); err != nil && !errors.Is(err, os.ErrInvalid) {
		t.Fatal(err)
	}
	s = refresh(t, f)
	for i := range s.all() {
		if s.all()[i].Flags&Flagged == 0 {
			t.Errorf("%q was not flagged", s.all()[i].Base)
		}
	}
	if m, _ := filepath.Glob(a.Root() + "/cur/unknown:2,9FSX"); len(m) != 1 {
		t.Error("unknown flags were lost")
	}
	if m, _ := filepath.Glob(a.Root() + "/cur/two:2,FS,more"); len(m) != 1 {
		t.Error("the second set of flags was lost")
	}
	must(t, f.Expunge(uidsOf(s)))
	if raw, _ := os.ReadFile(secret); string(raw) != "secret" {
		t.Error("the file behind a link was touched")
	}
}

func TestSymbolicLinksAreRefused(t *testing.T) {
	_, a, f := newInbox(t)
	other := filepath.Join(t.TempDir(), "Maildir")
	fill(t, other, 1, true)
	f.Append(0, nil, time.Time{}, text("x"))
	refresh(t, f)
	files, _ := filepath.Glob(a.Root() + "/cur/*")
	victim, _ := filepath.Glob(other + "/cur/*")
	os.Remove(files[0])
	os.Symlink(victim[0], files[0])
	if file, err := f.Open(1); err == nil {
		file.Close()
		t.Error("a link is opened as a message")
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		root := filepath.Join(t.TempDir(), "Maildir")
		openAccount(t, newTestHost(t), root)
		os.RemoveAll(root + "/" + sub)
		os.Symlink(other+"/"+sub, root+"/"+sub)
		h := newTestHost(t)
		if _, err := h.Open(root); err == nil {
			t.Errorf("%s may be a link", sub)
		}
		if sub != "cur" {
			if err := h.Deliver([]Target{{Root: root}}, text("x"))[0]; err == nil {
				t.Errorf("delivered although %s is a link", sub)
			}
		}
	}
	if n, _ := filepath.Glob(other + "/*/*"); len(n) != 1 {
		t.Errorf("the other Maildir has %v", n)
	}
	root, err := unix.Open(a.Root(), unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	defer unix.Close(root)
	for _, path := range []string{"../x", "cur/../../x", files[0][len(a.Root())+1:], "cur//x"} {
		if fd, err := openEach(root, path); err == nil {
			unix.Close(fd)
			t.Errorf("without openat2, %q is opened", path)
		}
	}
}

func TestUidlistAppendsAndRewrites(t *testing.T) {
	h, a, f := newInbox(t)
	for i := range 300 {
		if _, err := f.Append(0, nil, time.Time{}, text(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.count.uidWrites.Load(); n > 1 {
		t.Fatalf("the uidlist was written %d times for 300 messages", n)
	}
	s := refresh(t, f)
	must(t, f.Expunge(uidsOf(s)[:200]))
	deliver(t, h, a.Root(), "new\n")
	s = refresh(t, f)
	if s.all()[len(s.all())-1].UID != 301 || len(s.all()) != 101 {
		t.Fatal(uidsOf(s))
	}
	raw, _ := os.ReadFile(a.Root() + "/" + uidlistName)
	if n := strings.Count(string(raw), "\n"); n != 102 {
		t.Fatalf("%d lines after most messages have gone", n)
	}
	if !strings.Contains(string(raw), " N302 ") {
		t.Fatalf("%q", raw[:60])
	}
}

func TestDamagedUidlists(t *testing.T) {
	damage := map[string]struct {
		do   func(path string)
		kept bool // UIDs and UIDVALIDITY stay, for a process that begins now
	}{
		"torn":                    {func(p string) { appendTo(p, "9 :half") }, false},                 // UIDs that were given out may be lost
		"power cut":               {func(p string) { appendTo(p, "\x00\x00\x00\x00\x00\x00") }, true}, // nobody was told of these
		"power cut inside a line": {func(p string) { appendTo(p, "9 :half\x00\x00") }, true},
		"cut off": {func(p string) {
			info, _ := os.Stat(p)
			os.Truncate(p, info.Size()-3) // inside the last line
		}, false},
		"bad line": {func(p string) { appendTo(p, "what is this\n") }, true},
		"unknown fields": {func(p string) {
			raw, _ := os.ReadFile(p)
			os.WriteFile(p, []byte(strings.Replace(string(raw), "\n1 ", " Zfield\n1 Gabc Px ", 1)), 0o600)
		}, true},
		"lost":  {func(p string) { os.Remove(p) }, false},
		"empty": {func(p string) { os.Truncate(p, 0) }, false},
		"noise": {func(p string) { os.WriteFile(p, []byte("\x00\x01\x02\n"), 0o600) }, false},
	}
	for name, d := range damage {
		_, a, f := newInbox(t)
		for i := range 5 {
			f.Append(0, nil, time.Time{}, text(fmt.Sprint(i)))
		}
		before := refresh(t, f)
		d.do(a.Root() + "/" + uidlistName)
		if s := refresh(t, f); name != "cut off" && !slices.Equal(uidsOf(s), uidsOf(before)) || s.UIDValidity != before.UIDValidity {
			t.Errorf("%s: the process that knew has %v", name, uidsOf(s))
		}
		d.do(a.Root() + "/" + uidlistName)
		g := openFolder(t, openAccount(t, newTestHost(t), a.Root()), Inbox)
		s := refresh(t, g)
		if len(s.all()) != 5 || d.kept && (s.UIDValidity != before.UIDValidity || !slices.Equal(uidsOf(s), uidsOf(before))) {
			t.Errorf("%s: %d messages, %v", name, len(s.all()), uidsOf(s))
		}
		if !d.kept && s.UIDValidity == before.UIDValidity {
			t.Errorf("%s: new UIDs, old UIDVALIDITY", name)
		}
		if uid, err := g.Append(0, nil, time.Time{}, text("x")); err != nil || uid <= 5 {
			t.Errorf("%s: next is %d, %v", name, uid, err)
		}
		raw, _ := os.ReadFile(a.Root() + "/" + uidlistName)
		if name == "unknown fields" && (!strings.Contains(string(raw), "Zfield") || !strings.Contains(string(raw), "1 Gabc Px")) {
			t.Errorf("fields were lost: %s", raw)
		}
	}
}

func appendTo(path, s string) {
	f, _ := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	f.WriteString(s)
	f.Close()
}

// Version 1 is what Courier writes.
func TestUidlistVersion1(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	fill(t, root, 3, false)
	names, _ := filepath.Glob(root + "/cur/*")
	var b strings.Builder
	b.WriteString("1 1234567 90\n")
	for i, n := range names {
		base, _ := splitName(filepath.Base(n))
		fmt.Fprintf(&b, "%d %s\n", 10*(i+1), base)
	}
	os.WriteFile(root+"/"+uidlistName, []byte(b.String()), 0o600)
	visit(t, root, func(_ *Host, _ *Folder, s *Snapshot) {
		if s.UIDValidity != 1234567 || !slices.Equal(uidsOf(s), []uint32{10, 20, 30}) || s.UIDNext != 90 {
			t.Fatalf("%+v", s)
		}
	})
	if raw, _ := os.ReadFile(root + "/" + uidlistName); !strings.HasPrefix(string(raw), "3 V1234567 N90 G") || !strings.Contains(string(raw), "\n10 W14 S12 :") && !strings.Contains(string(raw), "\n10 W15 S12 :") {
		t.Fatalf("%s", raw)
	}
}

// What was expunged for us comes back as a new message.
func TestReturnedMessageGetsANewUID(t *testing.T) {
	_, a, f := newInbox(t)
	for i := range 3 {
		f.Append(0, nil, time.Time{}, text(fmt.Sprint(i)))
	}
	s := refresh(t, f)
	name := a.Root() + "/" + s.Messages.path(1)
	os.Rename(name, a.Root()+"/away")
	if s := refresh(t, f); !slices.Equal(uidsOf(s), []uint32{1, 3}) {
		t.Fatal(uidsOf(s))
	}
	os.Rename(a.Root()+"/away", name)
	if s := refresh(t, f); !slices.Equal(uidsOf(s), []uint32{1, 3, 4}) {
		t.Fatal(uidsOf(s))
	}
	visit(t, a.Root(), func(_ *Host, _ *Folder, s *Snapshot) {
		if !slices.Equal(uidsOf(s), []uint32{1, 3, 4}) {
			t.Fatal(uidsOf(s))
		}
	})
}

func TestRefreshIsCheap(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	fill(t, root, 50, true)
	visit(t, root, func(h *Host, f *Folder, s *Snapshot) {
		reads := h.count.dirReads.Load()
		for range 10 {
			if again := refresh(t, f); again != s {
				t.Fatal("another snapshot of an unchanged folder")
			}
		}
		if n := h.count.dirReads.Load() - reads; n != 0 {
			t.Fatalf("%d directories listed", n)
		}
		deliver(t, newTestHost(t), root, "x\n")
		reads = h.count.dirReads.Load()
		if again := refresh(t, f); len(again.all()) != 51 {
			t.Fatal("new mail not seen")
		}
		if n := h.count.dirReads.Load() - reads; n != 1 {
			t.Fatalf("%d directories listed for one new message, cur/ had not changed", n)
		}
	})
}

func TestChangesAreAnnounced(t *testing.T) {
	for _, watch := range []bool{true, false} {
		h := newTestHost(t, func(o *Options) {
			o.Watch = watch
			o.Poll = 20 * time.Millisecond
		})
		root := filepath.Join(t.TempDir(), "Maildir")
		f := openFolder(t, openAccount(t, h, root), Inbox)
		other := newTestHost(t)
		wait := func(what string, do func(), ok func(s *Snapshot) bool) {
			t.Helper()
			s := refresh(t, f)
			do()
			deadline := time.After(20 * time.Second)
			for !ok(s) {
				select {
				case <-f.ChangedSince(s.Generation):
				case <-deadline:
					t.Fatalf("watch %v: no news of %s", watch, what)
				}
				s = refresh(t, f)
			}
		}
		wait("a delivery", func() { deliver(t, other, root, "x\n") }, func(s *Snapshot) bool { return len(s.all()) == 1 })
		g := openFolder(t, openAccount(t, other, root), Inbox)
		refresh(t, g)
		wait("a flag", func() { must(t, storeIn(g, []uint32{1}, Add, Seen, nil)) }, func(s *Snapshot) bool { return s.all()[0].Flags == Seen })
		wait("an expunge", func() { must(t, g.Expunge([]uint32{1})) }, func(s *Snapshot) bool { return len(s.all()) == 0 })
		wait("our own append", func() { f.Append(0, nil, time.Time{}, text("x")) }, func(s *Snapshot) bool { return len(s.all()) == 1 })
		if h.watch.fs != nil {
			wait("an overflow", func() { h.watch.failed(overflow()) }, func(s *Snapshot) bool { return true })
		}
	}
}

// What one session finds, by whatever made it look, is news to those that
// wait, although the event that comes later finds nothing new.
func TestWhatOneSessionFindsIsNewsToOthers(t *testing.T) {
	h := newTestHost(t)
	root := filepath.Join(t.TempDir(), "Maildir")
	fill(t, root, 3, true)
	a := openAccount(t, h, root)
	f := openFolder(t, a, Inbox)
	refresh(t, f)
	changes := map[string]func(other *Folder){
		"a delivery": func(*Folder) { deliver(t, newTestHost(t), root, "x\n") },
		"a flag":     func(g *Folder) { must(t, storeIn(g, []uint32{1}, Add, Flagged, nil)) },
		"an expunge": func(g *Folder) { must(t, g.Expunge([]uint32{2})) },
	}
	for name, change := range changes {
		g := openFolder(t, openAccount(t, newTestHost(t), root), Inbox)
		refresh(t, g)
		s := refresh(t, f)
		waiting := f.Changed()
		change(g)
		for refresh(t, f) == s { // the other session
			time.Sleep(granule)
		}
		select {
		case <-waiting:
		default:
			t.Errorf("%s: a session that waits is not told", name)
		}
	}
}

// Own changes must not make a watched folder look at itself again.
func TestOwnChangesAreNoNews(t *testing.T) {
	h := newTestHost(t, func(o *Options) { o.Watch = true })
	root := filepath.Join(t.TempDir(), "Maildir")
	fill(t, root, 10, true)
	f := openFolder(t, openAccount(t, h, root), Inbox)
	refresh(t, f)
	reads := h.count.dirReads.Load()
	for i := range 20 {
		must(t, storeIn(f, []uint32{3}, Op(i%2), Flagged, nil))
		refresh(t, f)
	}
	time.Sleep(3 * debounce) // events that were not expected would have come by now
	refresh(t, f)
	if n := h.count.dirReads.Load() - reads; n != 0 && h.watch.watching(f) {
		t.Fatalf("%d directories listed", n)
	}
}

func overflow() error { return fsnotify.ErrEventOverflow }

func TestCancelledRefresh(t *testing.T) {
	_, a, f := newInbox(t)
	lock, err := f.host.locks.lock(context.Background(), a.Root()+"/"+uidlistName+".lock", "")
	must(t, err)
	defer lock.release()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Refresh(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
