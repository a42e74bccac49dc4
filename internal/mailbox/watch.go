package mailbox

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A folder's sessions are told at once of the first event, or nearly so: a
// rename is two of them. They are told of what follows when debounce has
// passed, so that many changes are one piece of news. Folders that cannot be
// watched are looked at each second.
const (
	firstNews    = time.Millisecond
	debounce     = 15 * time.Millisecond
	fallbackPoll = time.Second
)

// watcher tells folders of changes: one inotify instance for the process, and
// a slow poll beside it. A nil watcher does nothing.
type watcher struct {
	fs   *fsnotify.Watcher // nil: the system gives us none, so poll
	poll time.Duration
	stop chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex
	folders  map[string]*Folder // by new/ and cur/
	roots    map[string]*Account
	metadata map[string]*metaNews // by directory
	blind    map[*Folder]bool     // could not be watched
	pending  map[*Folder]bool     // a timer runs for them; true: there is news since it was set
	polling  bool
	said     bool // that folders are polled
}

func newWatcher(o Options) *watcher {
	if !o.Watch && o.Poll <= 0 {
		return nil
	}
	var fs *fsnotify.Watcher
	if o.Watch {
		fs, _ = fsnotify.NewWatcher() // EMFILE: poll instead
	}
	return watcherBy(fs, o)
}

// watcherBy is newWatcher with what the system gives, which may be nil.
func watcherBy(fs *fsnotify.Watcher, o Options) *watcher {
	w := &watcher{fs: fs, poll: o.Poll, stop: make(chan struct{}), folders: make(map[string]*Folder), roots: make(map[string]*Account), metadata: make(map[string]*metaNews),
		blind: make(map[*Folder]bool), pending: make(map[*Folder]bool)}
	if w.fs != nil {
		w.done.Go(w.run)
	}
	if w.poll > 0 || o.Watch && w.fs == nil {
		w.startPoll()
	}
	return w
}

func (w *watcher) close() {
	if w == nil {
		return
	}
	close(w.stop)
	if w.fs != nil {
		w.fs.Close()
	}
	w.done.Wait()
}

// add begins to watch a folder.
func (w *watcher) add(f *Folder) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, dir := range []string{f.path("new"), f.path("cur")} {
		w.folders[dir] = f
		if w.fs == nil || w.fs.Add(dir) != nil {
			w.blind[f] = true // ENOSPC, EMFILE, or a file system that tells nothing
		}
	}
	if w.blind[f] {
		w.blinded(f.host)
	}
}

func (w *watcher) remove(f *Folder) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.blind, f)
	delete(w.pending, f)
	for _, dir := range []string{f.path("new"), f.path("cur")} {
		if w.folders[dir] != f {
			continue
		}
		delete(w.folders, dir)
		if w.fs != nil {
			w.fs.Remove(dir) // fails when the directory is gone: then so is the watch
		}
	}
	if w.fs != nil && f.renamed() {
		for dir, other := range w.folders {
			if other.account == f.account {
				w.fs.Add(dir) // the watch that went with the old name was its own, too
			}
		}
	}
}

// watching reports whether changes of a folder come as events.
func (w *watcher) watching(f *Folder) bool {
	if w == nil || w.fs == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.blind[f] && w.folders[f.path("cur")] == f
}

// run takes events as fast as they come, so that the queue in the kernel does
// not overflow; all else happens later.
func (w *watcher) run() {
	for {
		select {
		case e, ok := <-w.fs.Events:
			if !ok {
				return
			}
			w.event(e)
		case err, ok := <-w.fs.Errors:
			if !ok {
				return
			}
			w.failed(err)
		}
	}
}

func (w *watcher) event(e fsnotify.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Op&^fsnotify.Chmod == 0 { // also when a hard link was made or removed elsewhere
		w.nudged(e.Name)
		return
	}
	w.metadataEvent(e.Name)
	if w.rootEvent(e) {
		return
	}
	f := w.folders[filepath.Dir(e.Name)]
	if f == nil {
		f = w.folders[e.Name] // the directory itself
	}
	if f == nil || f.expectedEvent(e.Name) {
		return
	}
	f.dirty.Store(true)
	w.tell(f)
	if !f.renamed() {
		return
	}
	for _, other := range w.folders { // which of them it is now the library does not say
		if other.account == f.account {
			other.dirty.Store(true)
			w.tell(other)
		}
	}
}

// renamed reports whether a folder that is open is no longer at its place. One
// inode has one watch, which fsnotify knows by the name that it got first.
func (f *Folder) renamed() bool {
	_, err := os.Lstat(f.dir)
	return errors.Is(err, os.ErrNotExist)
}

// failed handles an error: after an overflow nobody knows what happened.
func (w *watcher) failed(err error) {
	if !errors.Is(err, fsnotify.ErrEventOverflow) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.folders {
		f.dirty.Store(true)
		w.tell(f)
	}
	for _, n := range w.metadata {
		n.lookSoon()
	}
}

// tell announces news of a folder. w.mu is held.
func (w *watcher) tell(f *Folder) {
	_, waits := w.pending[f]
	w.pending[f] = true
	if !waits {
		time.AfterFunc(firstNews, func() { w.tellNow(f) })
	}
}

// tellNow announces what has happened, and waits for more.
func (w *watcher) tellNow(f *Folder) {
	w.mu.Lock()
	news := w.pending[f]
	w.pending[f] = false
	if !news {
		delete(w.pending, f)
	}
	w.mu.Unlock()
	if !news {
		return
	}
	if f.dirty.Load() || f.nudged.Load() { // else a session has looked since
		f.announce()
	}
	time.AfterFunc(debounce, func() { w.tellNow(f) })
}

func (w *watcher) startPoll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.startPollLocked()
}

func (w *watcher) startPollLocked() {
	if w.polling {
		return
	}
	w.polling = true
	w.done.Go(func() {
		every := fallbackPoll
		if w.poll > 0 {
			every = min(every, w.poll)
		}
		tick := time.NewTicker(every)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-w.stop:
				return
			case now := <-tick.C:
				all := w.poll > 0 && now.Sub(last) >= w.poll
				if all {
					last = now
				}
				w.look(all)
			}
		}
	})
}

// look compares the folders with what they were: all of them, or only those
// that cannot be watched.
func (w *watcher) look(all bool) {
	w.mu.Lock()
	folders := make(map[*Folder]bool)
	for _, f := range w.folders {
		if all || w.blind[f] {
			folders[f] = true
		}
	}
	roots, metadata := slices.Collect(maps.Values(w.roots)), slices.Collect(maps.Values(w.metadata))
	w.mu.Unlock()
	for _, n := range metadata {
		n.look()
	}
	for _, a := range roots {
		a.look()
	}
	for f := range folders {
		if f.looksChanged() {
			f.announce()
		}
	}
}

// looksChanged compares the directories with the last scan. A folder that is
// being worked on is left alone: its sessions hear of the result.
func (f *Folder) looksChanged() bool {
	if !f.mu.TryLock() {
		return false
	}
	defer f.mu.Unlock()
	return f.snap.Load() != nil && !f.unchanged()
}
