package mailbox

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"peyk/internal/eventlog"
)

// lockedBuffer is a log that goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// When the limits of inotify are used up, by others perhaps, folders are
// looked at from time to time, and that is said once for the process. Either
// there is no instance (EMFILE), or it takes no more watches (ENOSPC); one
// that is closed refuses them all.
func TestNewsWithoutInotify(t *testing.T) {
	full, err := fsnotify.NewWatcher()
	if err != nil {
		t.Skip("no inotify at all: ", err)
	}
	full.Close()
	for name, fs := range map[string]*fsnotify.Watcher{"no instance": nil, "no watches": full} {
		t.Run(name, func(t *testing.T) {
			log := new(lockedBuffer)
			h := newTestHost(t, func(o *Options) { o.Log = eventlog.New(log, "test", eventlog.Logfmt, time.Now) })
			h.watch = watcherBy(fs, Options{Watch: true})
			root := filepath.Join(t.TempDir(), "Maildir")
			a := openAccount(t, h, root)
			var folders []*Folder
			for _, folder := range []string{Inbox, "one", "two"} {
				if folder != Inbox {
					must(t, a.Create(folder, ""))
				}
				f := openFolder(t, a, folder)
				refresh(t, f)
				folders = append(folders, f)
			}
			for i, f := range folders {
				news := f.Changed()
				deliver(t, newTestHost(t), f.dir, "Subject: x\n\n")
				<-news
				if s := refresh(t, f); s.Messages.Len() != 1 {
					t.Errorf("folder %d: %d messages after the news", i, s.Messages.Len())
				}
			}
			if n := strings.Count(log.String(), "cannot watch more folders"); n != 1 {
				t.Errorf("said %d times, want once:\n%s", n, log)
			}
		})
	}
}

// What the cache directory holds of a folder follows it to another name, and
// goes when it is deleted, also while a session still has it open.
func TestCacheDirForgetsFolders(t *testing.T) {
	caches := filepath.Join(t.TempDir(), "caches")
	root := filepath.Join(t.TempDir(), "Maildir")
	process := func() (*Host, *Account) {
		h := newTestHost(t, func(o *Options) { o.CacheDir = caches })
		return h, openAccount(t, h, root)
	}
	held := func() string {
		var names []string
		all, err := os.ReadDir(caches)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, e := range all {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	}
	look := func(name string) (reads int64) {
		h, a := process()
		f, err := a.Folder(name)
		must(t, err)
		reads = askAll(t, h, f, refresh(t, f))
		f.Close()
		return reads
	}
	_, a := process()
	must(t, a.Create("old", ""))
	must(t, a.Create("old.below", ""))
	for _, name := range []string{"old", "old.below"} {
		dir := filepath.Join(root, "."+name)
		lettersIn(t, dir, 0, 2*minFacts)
		settle(t, dir)
		if look(name) == 0 {
			t.Fatal("the first reads nothing")
		}
		if reads := look(name); reads != 0 {
			t.Fatalf("the second reads %d messages", reads)
		}
	}
	before := strings.Count(held(), ".facts")
	must(t, a.Rename("old", "new"))
	for _, name := range []string{"new", "new.below"} {
		if reads := look(name); reads != 0 {
			t.Errorf("%s: %d messages were read again after RENAME", name, reads)
		}
	}
	if n := strings.Count(held(), ".facts"); n != before {
		t.Errorf("%d files of facts, and before the RENAME %d: %s", n, before, held())
	}
	open, err := a.Folder("new")
	must(t, err)
	refresh(t, open)
	must(t, a.Delete("new"))
	must(t, a.Delete("new.below"))
	open.Close()
	if left := held(); left != "" {
		t.Errorf("still there: %s", left)
	}
}
