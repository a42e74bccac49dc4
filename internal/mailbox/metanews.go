package mailbox

import (
	"bytes"
	"crypto/sha256"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// metaNews tells of changes of metadata in the files of one account, or of
// the server, by whomever. It knows what the files had when it last looked.
type metaNews struct {
	host  *Host
	top   string // the directory of the account or of the server's file
	files func() []string
	soon  atomic.Bool // a timer will look

	mu        sync.Mutex
	listeners map[*func(path string, changes []MetaEntry)]bool
	known     map[string]knownMeta // by path
}

// knownMeta is what a file had: of the values only their sums.
type knownMeta struct {
	stamp   stamp
	entries []MetaEntry
}

// OnMetadata arranges for do to be called whenever metadata of a folder or
// the server entries of the account were changed, by whomever. It must not
// block, and not keep the entries, which have no values.
func (a *Account) OnMetadata(do func(path string, changes []MetaEntry)) (stop func()) {
	return a.host.onMetadata(a.root, a.metaFiles, do)
}

// OnChange is OnMetadata for the store of a server.
func (m *MetaStore) OnChange(do func(path string, changes []MetaEntry)) (stop func()) {
	return m.host.onMetadata(m.top, func() []string { return []string{m.path} }, do)
}

// metaFiles are the files that an account may have.
func (a *Account) metaFiles() []string {
	files := []string{filepath.Join(a.root, serverMetadataName)}
	dirs, err := folderDirs(a.root)
	if err != nil {
		return files
	}
	for _, dir := range dirs {
		files = append(files, filepath.Join(a.root, dir, metadataName))
	}
	return files
}

func (h *Host) onMetadata(top string, files func() []string, do func(string, []MetaEntry)) (stop func()) {
	h.metaMu.Lock()
	n := h.metaNews[top]
	if n == nil {
		n = &metaNews{host: h, top: top, files: files, listeners: make(map[*func(string, []MetaEntry)]bool)}
		h.metaNews[top] = n
		h.watch.addMetadata(n)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	h.metaMu.Unlock()
	if n.known == nil {
		n.lookLocked()
	}
	n.listeners[&do] = true
	return func() { n.drop(&do) }
}

func (n *metaNews) drop(do *func(string, []MetaEntry)) {
	n.host.metaMu.Lock()
	defer n.host.metaMu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.listeners, do)
	if len(n.listeners) == 0 && n.host.metaNews[n.top] == n {
		delete(n.host.metaNews, n.top)
		n.host.watch.removeMetadata(n)
	}
}

// changed looks at once at what this process has changed, and lets others
// look.
func (m *MetaStore) changed() {
	nudge(m.top)
	if n := m.news(); n != nil {
		n.look()
	}
}

// Tell tells the listeners of entries that are kept elsewhere, and have been
// changed.
func (m *MetaStore) Tell(changes []MetaEntry) {
	if n := m.news(); n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.tell(m.path, changes)
	}
}

func (m *MetaStore) news() *metaNews {
	m.host.metaMu.Lock()
	defer m.host.metaMu.Unlock()
	return m.host.metaNews[m.top]
}

// tell: n.mu is held.
func (n *metaNews) tell(path string, changes []MetaEntry) {
	for do := range n.listeners {
		(*do)(path, changes)
	}
}

// lookSoon looks a little later, so that many changes are one.
func (n *metaNews) lookSoon() {
	if !n.soon.Swap(true) {
		time.AfterFunc(debounce, func() {
			n.soon.Store(false)
			n.look()
		})
	}
}

// look compares the files with what is known, and tells what differs.
func (n *metaNews) look() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lookLocked()
}

func (n *metaNews) lookLocked() {
	first, known := n.known == nil, make(map[string]knownMeta)
	for _, path := range n.files() {
		st, err := stampOf(path)
		was, ok := n.known[path]
		if !ok {
			was = n.movedFrom(st)
		}
		if err == nil && was.stamp == st || err != nil && was.stamp == (stamp{}) {
			known[path] = was
			continue
		}
		all, err := n.host.MetaStore(path).read()
		if err != nil {
			known[path] = was
			continue
		}
		now := knownMeta{st, summed(all)}
		known[path] = now
		if changes := was.changes(now); len(changes) > 0 && !first {
			n.tell(path, changes)
		}
	}
	n.known = known
}

// movedFrom is what is known of a file whose folder had another name.
func (n *metaNews) movedFrom(st stamp) knownMeta {
	for _, k := range n.known {
		if k.stamp == st && st != (stamp{}) {
			return k
		}
	}
	return knownMeta{}
}

// summed puts sums in the place of values, which may be large.
func summed(all []MetaEntry) []MetaEntry {
	for i := range all {
		sum := sha256.Sum256(all[i].Value)
		all[i].Value = sum[:]
	}
	return all
}

// changes are the entries, without values, that are not what they were.
func (k knownMeta) changes(now knownMeta) (changes []MetaEntry) {
	add := func(e MetaEntry) { changes = append(changes, MetaEntry{Scope: e.Scope, Name: e.Name}) }
	for _, e := range now.entries {
		i, found := slices.BinarySearchFunc(k.entries, e, compareMeta)
		if !found || !bytes.Equal(k.entries[i].Value, e.Value) {
			add(e)
		}
	}
	for _, e := range k.entries {
		if _, found := slices.BinarySearchFunc(now.entries, e, compareMeta); !found {
			add(e)
		}
	}
	return changes
}

// nudge lets processes that watch a directory look at what they know to be
// near it: its mode becomes what it is, which changes nothing else.
func nudge(dir string) {
	var st unix.Stat_t
	if unix.Stat(dir, &st) == nil {
		unix.Chmod(dir, st.Mode&0o7777) // whoever may not do this is heard by the poll
	}
}

// addMetadata begins to watch the directory of metadata.
func (w *watcher) addMetadata(n *metaNews) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.metadata[n.top] = n
	if w.fs == nil || w.fs.Add(n.top) != nil {
		w.blinded(n.host)
	}
}

func (w *watcher) removeMetadata(n *metaNews) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.metadata, n.top)
	w.removeTop(n.top)
}

// removeTop ends the watch of a directory that nobody wants any more.
// w.mu is held.
func (w *watcher) removeTop(dir string) {
	if w.fs != nil && w.roots[dir] == nil && w.metadata[dir] == nil {
		w.fs.Remove(dir) // fails when the directory is gone: then so is the watch
	}
}

// nudged handles the mode of a directory that was changed. w.mu is held.
func (w *watcher) nudged(dir string) {
	if n := w.metadata[dir]; n != nil {
		n.lookSoon()
	}
	if f := w.folders[dir]; f != nil {
		f.nudged.Store(true)
		w.tell(f)
	}
}

// metadataEvent looks at metadata whose file was changed. w.mu is held.
func (w *watcher) metadataEvent(path string) {
	if n := w.metadata[filepath.Dir(path)]; n != nil && strings.HasPrefix(filepath.Base(path), metadataName) {
		n.lookSoon()
	}
}
