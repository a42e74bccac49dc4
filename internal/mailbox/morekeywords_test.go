package mailbox

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestKeywordsRunOut(t *testing.T) {
	_, a, f := newInbox(t)
	f.Append(0, nil, time.Time{}, text("x"))
	refresh(t, f)
	for i := range maxBits {
		must(t, storeIn(f, []uint32{1}, Add, 0, []string{fmt.Sprint("k", i)}))
	}
	if err := storeIn(f, []uint32{1}, Add, 0, []string{"one more"}); err == nil || errors.Is(err, ErrKeywords) {
		t.Errorf("a keyword with a space: %v", err)
	}
	if err := storeIn(f, []uint32{1}, Add, 0, []string{"more"}); !errors.Is(err, ErrKeywords) {
		t.Error(err)
	}
	must(t, storeIn(f, []uint32{1}, Remove, 0, []string{"more"}))
	if s := refresh(t, f); len(s.keywordNames(&s.all()[0])) != maxBits {
		t.Error(s.Keywords)
	}
	// One that no message has any more makes room.
	must(t, storeIn(f, []uint32{1}, Remove, 0, []string{"k40"}))
	must(t, storeIn(f, []uint32{1}, Add, 0, []string{"more"}))
	s := refresh(t, f)
	if names := s.keywordNames(s.Messages.At(0)); len(names) != maxBits || !slices.Contains(names, "more") || slices.Contains(names, "k40") {
		t.Error(names)
	}
	os.Remove(a.Root() + "/" + keywordsName)
	if s := refresh(t, f); s.Keywords[3] != "unknown-3" || s.Keywords[30] != "k30" {
		t.Errorf("letters without names are %q", s.Keywords)
	}
}

// manyKeywords makes a folder of three messages, and returns the names of 30
// keywords, of which the last four have no letter.
func manyKeywords(t *testing.T) (a *Account, f *Folder, names []string) {
	t.Helper()
	_, a, f = newInbox(t)
	for i := range 30 {
		names = append(names, fmt.Sprint("k", i))
	}
	for range 3 {
		_, err := f.Append(Seen, names, time.Time{}, text("x"))
		must(t, err)
	}
	return a, f, names
}

func TestKeywordsWithoutLetter(t *testing.T) {
	a, f, names := manyKeywords(t)
	s := refresh(t, f)
	if got := s.keywordNames(s.Messages.At(2)); !slices.Equal(got, names) {
		t.Fatal(got)
	}
	raw, _ := os.ReadFile(a.Root() + "/" + keywordsName)
	if strings.Count(string(raw), "\n") != maxKeywords || strings.Contains(string(raw), "k26") {
		t.Errorf("%s has %q", keywordsName, raw)
	}
	must(t, storeIn(f, []uint32{1}, Remove, 0, []string{"k27", "k3"}))
	must(t, storeIn(f, []uint32{2}, Replace, Flagged, []string{"k29"}))
	must(t, storeIn(f, []uint32{3}, Remove, 0, []string{"k28"}))
	path := a.Root() + "/" + refresh(t, f).Messages.path(2)
	must(t, os.Rename(path, path+"T")) // some other program
	want := map[uint32][]string{1: without(names, "k27", "k3"), 2: {"k29"}, 3: without(names, "k28")}
	check := func(what string, f *Folder) {
		t.Helper()
		s := refresh(t, f)
		for uid, names := range want {
			i, _ := s.Messages.Index(uid)
			if got := s.keywordNames(s.Messages.At(i)); !slices.Equal(got, names) {
				t.Errorf("%s: message %d has %v, want %v", what, uid, got, names)
			}
		}
	}
	f.dirty.Store(true)
	check("we", f)
	g := openFolder(t, openAccount(t, newTestHost(t), a.Root()), Inbox)
	check("another process", g)
	before := refresh(t, f).HighestModSeq
	must(t, storeIn(g, []uint32{1}, Add, 0, []string{"k27"}))
	want[1] = without(names, "k3")
	check("we, of the other process", f)
	if x, y := refresh(t, f), refresh(t, g); !sameModSeqs(x.slice(), y.slice()) || x.HighestModSeq <= before || x.HighestModSeq != y.HighestModSeq {
		t.Errorf("mod-sequences differ: %d, %d", x.HighestModSeq, y.HighestModSeq)
	}
	must(t, a.Create("Other", ""))
	other := openFolder(t, a, "Other")
	_, _, err := f.Copy([]uint32{3}, other)
	must(t, err)
	_, _, err = f.Move([]uint32{1}, other)
	must(t, err)
	o := refresh(t, other)
	for i, uid := range []uint32{3, 1} {
		got := slices.Sorted(slices.Values(o.keywordNames(o.Messages.At(i))))
		if !slices.Equal(got, slices.Sorted(slices.Values(want[uid]))) {
			t.Errorf("copy of %d has %v", uid, got)
		}
	}
	a.DropCaches()
	delete(want, 1)
	check("without caches", openFolder(t, openAccount(t, newTestHost(t), a.Root()), Inbox))
	// A new UIDVALIDITY: the UIDs in the file mean nothing any more.
	os.Remove(a.Root() + "/" + uidlistName)
	a.DropCaches()
	h := openFolder(t, openAccount(t, newTestHost(t), a.Root()), Inbox)
	if s := refresh(t, h); s.Messages.At(0).Keywords&^letterBits != 0 {
		t.Errorf("%+v", s.Messages.At(0))
	}
}

func (s *Snapshot) slice() []Message { return s.Messages.slice() }

func without(names []string, these ...string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(these, n) })
}

// A line that a power cut has torn is passed over, and the next is not
// appended to it.
func TestTornKeywords(t *testing.T) {
	a, f, names := manyKeywords(t)
	refresh(t, f)
	appendTo(a.Root()+"/"+moreName, ":2 ")
	must(t, storeIn(f, []uint32{1}, Remove, 0, []string{"k26"}))
	s := refresh(t, openFolder(t, openAccount(t, newTestHost(t), a.Root()), Inbox))
	for i, want := range [][]string{without(names, "k26"), names, names} {
		if got := s.keywordNames(s.Messages.At(i)); !slices.Equal(got, want) {
			t.Errorf("message %d has %v", i+1, got)
		}
	}
	for i := range 200 {
		must(t, storeIn(f, []uint32{1}, Op(i%2), 0, []string{"k26"}))
	}
	if info, err := os.Stat(a.Root() + "/" + moreName); err != nil || info.Size() > 1000 {
		t.Errorf("%v octets, %v", info.Size(), err)
	}
}

func FuzzMoreKeywords(f *testing.F) {
	f.Add("1 V7\n26 Junk\n:17 5\n:17 1\n:18 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 64<<10 {
			return
		}
		k := parseMore(text)
		if len(k.names) > maxBits-maxKeywords {
			t.Fatal("too many names")
		}
		again := parseMore(string(k.format()))
		if !slices.Equal(again.names, k.names) || !maps.Equal(again.bits, k.bits) || again.validity != k.validity {
			t.Fatalf("no round trip: %q", k.format())
		}
	})
}

// A file that cannot be read for a moment is not an empty one: a keyword that
// was added then would be written without the names and bits of the others.
func TestUnreadableKeywordsRefuseChanges(t *testing.T) {
	for _, name := range []string{keywordsName, moreName} {
		t.Run(name, func(t *testing.T) {
			a, f, names := manyKeywords(t)
			refresh(t, f)
			path := a.Root() + "/" + name
			must(t, os.Rename(path, path+".away"))
			must(t, os.Symlink(name+".away", path)) // opens for nobody, root or not

			if err := storeIn(f, []uint32{1}, Add, 0, []string{"fresh"}); err == nil {
				t.Error("a keyword was added beside ones that cannot be read")
			}
			if err := storeIn(f, []uint32{1}, Remove, 0, []string{"k28"}); err == nil {
				t.Error("a keyword was removed from ones that cannot be read")
			}
			if _, err := f.Append(0, []string{"fresh"}, time.Time{}, text("y")); err == nil {
				t.Error("a message was appended with a keyword beside ones that cannot be read")
			}
			other := openFolder(t, openAccount(t, newTestHost(t), a.Root()), Inbox)
			if _, err := other.Refresh(t.Context()); err == nil {
				t.Error("another process read the folder without its keywords")
			}

			must(t, os.Rename(path+".away", path))
			must(t, storeIn(other, []uint32{2}, Add, 0, []string{"fresh"}))
			for i, want := range [][]string{names, append(slices.Clone(names), "fresh"), names} {
				s := refresh(t, other)
				if got := s.keywordNames(s.Messages.At(i)); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
					t.Errorf("message %d has %q, wants %q", i+1, got, want)
				}
			}
		})
	}
}
