package mailbox

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A change of nothing but a keyword without a letter leaves cur/ as it is,
// and is heard of by other processes all the same.
func TestKeywordsWithoutLetterAreNews(t *testing.T) {
	a, g, _ := manyKeywords(t)
	h := newTestHost(t, func(o *Options) { o.Watch = true })
	f := openFolder(t, openAccount(t, h, a.Root()), Inbox)
	has := func(name string) bool {
		s := refresh(t, f)
		return slices.Contains(s.keywordNames(s.Messages.At(1)), name)
	}
	deadline := time.After(20 * time.Second)
	for _, name := range []string{"k29", "k26", "k27"} {
		if !has(name) {
			t.Fatalf("%s is not there", name)
		}
		news := f.Changed()
		must(t, storeIn(g, []uint32{2}, Remove, 0, []string{name}))
		select {
		case <-news: // before anybody looks
		case <-deadline:
			t.Fatalf("never heard of %s", name)
		}
		if has(name) {
			t.Errorf("%s is still there", name)
		}
	}
}

// Metadata is heard of whoever changed it, each change once, and by those
// only who listen to its account.
func TestMetadataOfOthersIsNews(t *testing.T) {
	for _, watch := range []bool{true, false} {
		t.Run(fmt.Sprint("watch ", watch), func(t *testing.T) { metadataNews(t, watch) })
	}
}

func metadataNews(t *testing.T, watch bool) {
	top := t.TempDir()
	root := filepath.Join(top, "Maildir")
	h := newTestHost(t, func(o *Options) {
		if o.Watch = watch; !watch {
			o.Poll = 20 * time.Millisecond
		}
	})
	a := openAccount(t, h, root)
	must(t, a.Create("work", ""))
	b := openAccount(t, newTestHost(t), root)
	set := func(m *MetaStore, name, value string) {
		t.Helper()
		e := MetaEntry{Scope: MetaShared, Name: name}
		if value != "" {
			e.Value = []byte(value)
		}
		must(t, m.Change([]MetaEntry{e}))
	}
	in := func(x *Account, name string) *MetaStore {
		t.Helper()
		m, err := x.Metadata(name)
		must(t, err)
		return m
	}
	set(in(b, Inbox), "/shared/old", "before anybody listened")
	heard := make(chan string, 100)
	note := func(path string, changes []MetaEntry) {
		for _, c := range changes {
			rel, _ := filepath.Rel(top, path)
			heard <- rel + " " + c.Name + string(c.Value)
		}
	}
	defer a.OnMetadata(note)()
	defer a.OnMetadata(func(string, []MetaEntry) {})()
	server := h.MetaStore(filepath.Join(top, ServerMetaName))
	defer server.OnChange(note)()
	expect := func(want ...string) {
		t.Helper()
		var got []string
		for range want {
			select {
			case one := <-heard:
				got = append(got, one)
			case <-time.After(20 * time.Second):
				t.Fatalf("heard %q only, not %q", got, want)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("heard %q, not %q", got, want)
		}
	}
	set(in(b, Inbox), "/shared/comment", "x")
	expect("Maildir/peyk-metadata /shared/comment")
	set(in(b, "work"), "/shared/comment", "y")
	expect("Maildir/.work/peyk-metadata /shared/comment")
	set(in(a, "work"), "/shared/comment", "our own")
	expect("Maildir/.work/peyk-metadata /shared/comment")
	set(b.ServerMetadata(), "/private/vendor/x/y", "z")
	expect("Maildir/peyk-metadata-server /private/vendor/x/y")
	set(b.host.MetaStore(server.Path()), "/shared/comment", "z")
	expect("peyk-metadata /shared/comment")
	must(t, b.Rename("work", "play"))
	must(t, b.Create("new", ""))
	set(in(b, "new"), "/shared/comment", "n")
	expect("Maildir/.new/peyk-metadata /shared/comment")
	set(in(b, "play"), "/shared/comment", "")
	set(in(b, Inbox), "/shared/old", "")
	expect("Maildir/.play/peyk-metadata /shared/comment", "Maildir/peyk-metadata /shared/old")
	in(a, Inbox).Tell([]MetaEntry{{Name: "/private/specialuse"}})
	expect("Maildir/peyk-metadata /private/specialuse")
	if len(heard) > 0 {
		t.Errorf("heard %q twice", <-heard)
	}
}
