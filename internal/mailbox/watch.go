package mailbox

import (
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
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
	fs   *inotify // nil: the system gives us none, so poll
	poll time.Duration
	stop chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	dirs    map[int][]watched // by number of the watch; a folder may have two names for a while
	folders map[*Folder][]int // numbers of their watches
	roots   map[*Account][]int
	blind   map[*Folder]bool // could not be watched
	pending map[*Folder]bool // a timer runs for them; true: there is news since it was set
	polling bool
	said    bool // that folders are polled
}

// watched is a directory: cur/ or new/ of a folder, or the root of an account.
type watched struct {
	folder  *Folder
	sub     string
	account *Account
}

func newWatcher(o Options) *watcher {
	if !o.Watch && o.Poll <= 0 {
		return nil
	}
	var fs *inotify
	if o.Watch {
		fs, _ = newInotify() // EMFILE: poll instead
	}
	return watcherBy(fs, o)
}

// watcherBy is newWatcher with what the system gives, which may be nil.
func watcherBy(fs *inotify, o Options) *watcher {
	w := &watcher{fs: fs, poll: o.Poll, stop: make(chan struct{}), dirs: make(map[int][]watched), folders: make(map[*Folder][]int),
		roots: make(map[*Account][]int), blind: make(map[*Folder]bool), pending: make(map[*Folder]bool)}
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
		w.fs.stop()
	}
	w.done.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fs != nil {
		w.fs.close()
		w.fs = nil
	}
}

// add begins to watch a folder.
func (w *watcher) add(f *Folder) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var wds []int
	for _, sub := range []string{"new", "cur"} {
		wd, ok := w.addDir(f.path(sub), folderEvents, watched{folder: f, sub: sub})
		if !ok {
			w.blind[f] = true // ENOSPC, EMFILE, or a file system that tells nothing
			continue
		}
		wds = append(wds, wd)
	}
	w.folders[f] = wds
	if w.blind[f] {
		w.blinded(f.host)
	}
}

// addDir watches a directory, if it can. w.mu is held.
func (w *watcher) addDir(dir string, events uint32, who watched) (wd int, ok bool) {
	if w.fs == nil {
		return 0, false
	}
	wd, err := w.fs.add(dir, events)
	if err != nil {
		return 0, false
	}
	w.dirs[wd] = append(w.dirs[wd], who)
	return wd, true
}

func (w *watcher) remove(f *Folder) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.blind, f)
	delete(w.pending, f)
	w.removeDirs(w.folders[f], func(who watched) bool { return who.folder == f })
	delete(w.folders, f)
}

// removeDirs ends the watches that nobody else needs. w.mu is held.
func (w *watcher) removeDirs(wds []int, of func(watched) bool) {
	for _, wd := range wds {
		all := slices.DeleteFunc(w.dirs[wd], of)
		if len(all) > 0 {
			w.dirs[wd] = all
			continue
		}
		delete(w.dirs, wd)
		if w.fs != nil {
			w.fs.remove(wd)
		}
	}
}

// watching reports whether changes of a folder come as events.
func (w *watcher) watching(f *Folder) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fs != nil && len(w.folders[f]) > 0 && !w.blind[f]
}

// run takes events in batches that are small enough for the queue in the
// kernel not to overflow.
func (w *watcher) run() {
	buf := make([]byte, 64<<10)
	for {
		batch, err := w.fs.read(buf, firstNews)
		if err != nil {
			return
		}
		for _, f := range w.take(batch) {
			w.tellNow(f)
		}
	}
}

// take notes what a batch of events is about. It returns the folders that are
// to be told now; the others are told when their timer ends.
func (w *watcher) take(batch []byte) (now []*Folder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	eachEvent(batch, func(wd int, mask uint32, name []byte) {
		if mask&unix.IN_Q_OVERFLOW != 0 {
			now = w.overflowed(now)
		}
		for _, who := range w.dirs[wd] {
			if who.account != nil {
				who.account.rootEvent(name)
				continue
			}
			if len(name) > 0 && who.folder.expectedEvent(who.sub, name) {
				continue
			}
			who.folder.dirty.Store(true)
			now = w.tell(now, who.folder)
		}
		if mask&unix.IN_IGNORED != 0 {
			delete(w.dirs, wd)
		}
	})
	return now
}

// overflowed: nobody knows what happened. w.mu is held.
func (w *watcher) overflowed(now []*Folder) []*Folder {
	for f := range w.folders {
		f.dirty.Store(true)
		now = w.tell(now, f)
	}
	return now
}

// tell notes news of a folder, which is to be told now unless its timer runs.
// w.mu is held.
func (w *watcher) tell(now []*Folder, f *Folder) []*Folder {
	_, waits := w.pending[f]
	w.pending[f] = true
	if waits {
		return now
	}
	return append(now, f)
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
	if f.dirty.Load() { // else a session has looked since
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
	var folders []*Folder
	for f := range w.folders {
		if all || w.blind[f] {
			folders = append(folders, f)
		}
	}
	roots := slices.Collect(maps.Keys(w.roots))
	w.mu.Unlock()
	for _, a := range roots {
		a.look()
	}
	for _, f := range folders {
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
