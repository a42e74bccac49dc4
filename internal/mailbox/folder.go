package mailbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Folder is one open folder, shared by the sessions of the process.
type Folder struct {
	account *Account
	host    *Host
	name    string
	dir     string
	refs    int  // guarded by account.mu
	watched bool // likewise

	snap   atomic.Pointer[Snapshot]
	dirty  atomic.Bool // somebody changed something that the stamps may not show
	gone   atomic.Bool // deleted or renamed
	nudged atomic.Bool // keywords without a letter may have changed

	mu       sync.Mutex // one scan or change at a time; all below
	ids      uidState
	sure     bool              // ids come from the uidlist itself, not from a cache only
	absent   map[string]uint32 // lines of the uidlist whose file is not there
	index    *index            // of at least the messages of snap; nil: make it
	keywords keywordState
	more     moreState
	saving   bool            // a Store may change keywords without a letter
	recent   map[uint32]bool // came from new/, and no session has taken them
	lying    map[uint32]bool // messages that still lie in new/; nil: find them
	marked   map[uint32]bool // are Recent in snap, or were
	limbo    map[uint32]time.Time
	mods     modState
	dates    dates

	newStamp, curStamp stamp
	starved            bool      // this refresh found no room for new UIDs
	newOK, curOK       bool      // a change since would show in the stamp
	verifyAt           time.Time // if our own change made curStamp: look again then
	scanTook           time.Duration
	facts              factsFile

	notify    sync.Mutex
	changed   chan struct{}
	closed    bool           // changed is
	expecting map[string]int // events that our own changes will cause
	listeners listeners
}

func newFolder(a *Account, name, dir string) *Folder {
	f := &Folder{account: a, host: a.host, name: name, dir: dir,
		absent: make(map[string]uint32), recent: make(map[uint32]bool), marked: make(map[uint32]bool), limbo: make(map[uint32]time.Time),
		changed: make(chan struct{}), expecting: make(map[string]int)}
	f.facts.path, f.facts.host = f.factsPath(), a.host
	return f
}

// Watch begins to listen for changes, if the folder was opened by
// FolderForNow. Then call Refresh.
func (f *Folder) Watch() {
	f.account.mu.Lock()
	defer f.account.mu.Unlock()
	if f.watched {
		return
	}
	f.watched = true
	f.host.watch.add(f)
	if f.snap.Load() != nil {
		f.dirty.Store(true) // it may have changed since
	}
}

// Name returns the folder's name.
func (f *Folder) Name() string { return f.name }

// Close gives the folder back.
func (f *Folder) Close() {
	a := f.account
	a.mu.Lock()
	f.refs--
	last := f.refs == 0
	if last && a.folders[f.dir] == f {
		delete(a.folders, f.dir)
	}
	a.mu.Unlock()
	if !last {
		return
	}
	a.host.watch.remove(f)
	f.facts.close(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leave()
}

// Snapshot returns the last snapshot, nil before the first Refresh.
func (f *Folder) Snapshot() *Snapshot { return f.snap.Load() }

// UIDValidity returns the folder's UIDVALIDITY as far as it is known: after
// Refresh, Append, or being the destination of Copy or Move. 0 is unknown.
func (f *Folder) UIDValidity() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ids.header.validity
}

// Changed returns a channel that is closed as soon as something may have
// changed since the current snapshot; then call Refresh. A session whose own
// snapshot is older than Snapshot uses ChangedSince.
func (f *Folder) Changed() <-chan struct{} {
	f.notify.Lock()
	defer f.notify.Unlock()
	return f.changed
}

// ChangedSince is Changed for a session whose last snapshot had this
// generation: the channel is closed already when there is a newer one.
func (f *Folder) ChangedSince(generation uint64) <-chan struct{} {
	f.notify.Lock()
	defer f.notify.Unlock()
	if s := f.snap.Load(); s != nil && s.Generation != generation {
		now := make(chan struct{})
		close(now)
		return now
	}
	return f.changed
}

// announce closes the channel of Changed.
func (f *Folder) announce() {
	f.notify.Lock()
	defer f.notify.Unlock()
	if !f.closed {
		f.closed = true
		close(f.changed)
		f.listeners.tell()
	}
}

// listen makes a new channel: what happens from now on will be news.
func (f *Folder) listen() {
	f.notify.Lock()
	defer f.notify.Unlock()
	if f.closed {
		f.closed, f.changed = false, make(chan struct{})
	}
}

// TakeRecent returns the messages, among those of the current snapshot, that
// are \Recent (RFC 3501 §2.3.2), and makes sure that no other session of this
// process gets them too.
func (f *Folder) TakeRecent() []uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	uids := make([]uint32, 0, len(f.recent))
	for uid := range f.recent {
		uids = append(uids, uid)
	}
	clear(f.recent)
	slices.Sort(uids)
	return uids
}

// Open opens a message for reading. The error is ErrGone when it was expunged
// meanwhile, by whomever.
func (f *Folder) Open(uid uint32) (*os.File, error) {
	var file *os.File
	err := f.withFile(uid, func(path string) (err error) {
		file, err = f.account.openFile(path)
		return err
	})
	return file, err
}

// withFile calls do with the path of a message; when the file is not there
// any more it looks for it again, since another process may have renamed it.
func (f *Folder) withFile(uid uint32, do func(path string) error) error {
	for range 5 {
		path, ok := f.pathNow(uid)
		if !ok {
			return ErrGone
		}
		err := do(path)
		if !errors.Is(err, os.ErrNotExist) {
			return temporary("cannot open the message", path, err)
		}
		if err := f.lookAgain(context.Background()); err != nil {
			return err
		}
	}
	return ErrGone
}

func (f *Folder) pathNow(uid uint32) (string, bool) {
	s := f.snap.Load()
	if s == nil {
		return "", false
	}
	seq, ok := s.Find(uid)
	if !ok {
		return "", false
	}
	return f.dir + "/" + s.Messages.path(seq-1), true
}

// lookAgain scans the folder whatever the stamps say.
func (f *Folder) lookAgain(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.curOK, f.newOK = false, false
	return f.refresh(ctx, true)
}

func (f *Folder) path(sub string) string { return f.dir + "/" + sub }

// rel returns a path of the folder as seen from the root of the account.
func (a *Account) rel(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, a.root), string(filepath.Separator))
}
