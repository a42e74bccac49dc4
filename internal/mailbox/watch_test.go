package mailbox

import (
	"os"
	"path/filepath"
	"testing"
)

// A folder that was open for somebody who does not wait for news tells of
// them once another watches it; also of what happened before.
func TestWatchBeginsLater(t *testing.T) {
	h := newTestHost(t, func(o *Options) { o.Watch = true })
	root := filepath.Join(t.TempDir(), "Maildir")
	fill(t, root, 3, true)
	a := openAccount(t, h, root)
	brief, err := a.FolderForNow(Inbox)
	must(t, err)
	defer brief.Close()
	_, err = brief.RefreshReadOnly(t.Context())
	must(t, err)
	if h.watch.watching(brief) {
		t.Fatal("it is watched")
	}
	f := openFolder(t, a, Inbox)
	if f != brief || h.watch.fs != nil && !h.watch.watching(f) {
		t.Fatal("it is not watched")
	}
	refresh(t, f)
	news := f.Changed()
	deliver(t, newTestHost(t), root, "Subject: x\n\n")
	<-news
	if s := refresh(t, f); s.Messages.Len() != 4 {
		t.Errorf("%d messages", s.Messages.Len())
	}
}

// A folder that is renamed while a session has it open shares its directories
// with the one of the new name for a while: closing it must not take the
// other's watch away.
func TestWatchOfARenamedFolder(t *testing.T) {
	h := newTestHost(t, func(o *Options) { o.Watch = true })
	if h.watch.fs == nil {
		t.Skip("no inotify")
	}
	root := filepath.Join(t.TempDir(), "Maildir")
	a := openAccount(t, h, root)
	must(t, a.Create("old", ""))
	old, err := a.Folder("old")
	must(t, err)
	refresh(t, old)
	must(t, os.Rename(filepath.Join(root, ".old"), filepath.Join(root, ".new"))) // by another program
	f := openFolder(t, a, "new")
	for n, close := range []func(){func() {}, old.Close} { // while both are open, and then
		close()
		refresh(t, f)
		news := f.Changed()
		deliver(t, newTestHost(t), f.dir, "Subject: x\n\n")
		<-news
		if s := refresh(t, f); s.Messages.Len() != n+1 {
			t.Errorf("%d messages", s.Messages.Len())
		}
	}
}
