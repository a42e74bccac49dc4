package mailbox

import (
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// listeners are functions to be called when there is news. They must not
// block, and not call what they listen to.
type listeners map[*func()]bool

func (l *listeners) add(do func()) *func() {
	if *l == nil {
		*l = make(listeners)
	}
	(*l)[&do] = true
	return &do
}

func (l listeners) tell() {
	for do := range l {
		(*do)()
	}
}

// OnNews arranges for do to be called whenever the channel of Changed is
// closed. It must not block, and not call the folder.
func (f *Folder) OnNews(do func()) (stop func()) {
	f.notify.Lock()
	defer f.notify.Unlock()
	key := f.listeners.add(do)
	if f.closed {
		do() // nobody has looked since the last news, and so nobody is told of the next
	}
	return func() {
		f.notify.Lock()
		defer f.notify.Unlock()
		delete(f.listeners, key)
	}
}

// rootNews is who listens to the set of folders of an account.
type rootNews struct {
	mu        sync.Mutex
	listeners listeners
	told      bool // a timer will tell them
	stamps    [2]stamp
}

// OnFolders arranges for do to be called whenever a folder may have been
// made, removed or renamed, or the subscriptions were changed, by whomever.
// It must not block, and not call the account.
func (a *Account) OnFolders(do func()) (stop func()) {
	a.news.mu.Lock()
	key := a.news.listeners.add(do)
	first := len(a.news.listeners) == 1
	if first {
		a.news.stamps = a.rootStamps()
	}
	a.news.mu.Unlock()
	if first {
		a.host.watch.addRoot(a)
	}
	return func() {
		a.news.mu.Lock()
		delete(a.news.listeners, key)
		last := len(a.news.listeners) == 0
		a.news.mu.Unlock()
		if last {
			a.host.watch.removeRoot(a)
		}
	}
}

// tell tells the listeners a little later, so that many changes are one.
func (n *rootNews) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.told {
		return
	}
	n.told = true
	time.AfterFunc(debounce, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.told = false
		n.listeners.tell()
	})
}

// rootStamps are the stamps of what is watched by poll.
func (a *Account) rootStamps() (s [2]stamp) {
	s[0], _ = stampOf(a.root)
	s[1], _ = stampOf(filepath.Join(a.root, subscriptionsName))
	return s
}

// look compares the stamps with what they were.
func (a *Account) look() {
	now := a.rootStamps()
	a.news.mu.Lock()
	changed := now != a.news.stamps
	a.news.stamps = now
	a.news.mu.Unlock()
	if changed {
		a.news.tell()
	}
}

// addRoot begins to watch the set of folders of an account.
func (w *watcher) addRoot(a *Account) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.roots[a.root] = a
	if w.fs == nil || w.fs.Add(a.root) != nil {
		w.blinded(a.host)
	}
}

func (w *watcher) removeRoot(a *Account) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.roots[a.root] != a {
		return
	}
	delete(w.roots, a.root)
	w.removeTop(a.root)
}

// rootEvent reports whether an event is about what lies in the root of an
// account, and tells the account's listeners if it matters.
func (w *watcher) rootEvent(e fsnotify.Event) bool {
	a := w.roots[filepath.Dir(e.Name)]
	if a == nil {
		return false
	}
	name := filepath.Base(e.Name)
	ours := name == subscriptionsName || strings.HasPrefix(name, ".")
	if ours {
		a.news.tell()
	}
	return ours
}

// blinded turns to looking at folders from time to time, and says so once.
// w.mu is held.
func (w *watcher) blinded(h *Host) {
	if !w.said {
		w.said = true
		h.trouble("cannot watch more folders, they are looked at each second; see fs.inotify in sysctl(8)", "", nil)
	}
	w.startPollLocked()
}

// FolderIDs returns all folders with what identifies each for as long as it
// lives, also when it is renamed.
func (a *Account) FolderIDs() (map[string]string, error) {
	names, err := a.names()
	if err != nil {
		return nil, temporary("cannot list the folders", a.root, err)
	}
	ids := make(map[string]string, len(names))
	for _, name := range names {
		dir, err := a.find(name)
		if err != nil {
			continue // gone meanwhile
		}
		if id := dirID(dir); id != "" {
			ids[name] = id
		}
	}
	return ids, nil
}

// dirID is the inode of a directory, and when it was made: an inode number
// is given again.
func dirID(dir string) string {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return ""
	}
	id := strconv.FormatUint(st.Ino, 36) + "." + strconv.FormatUint(uint64(st.Dev_major)<<32|uint64(st.Dev_minor), 36)
	if st.Mask&unix.STATX_BTIME != 0 {
		id += "." + strconv.FormatInt(st.Btime.Sec, 36) + "." + strconv.FormatUint(uint64(st.Btime.Nsec), 36)
	}
	return id
}
