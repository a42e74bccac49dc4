package mailbox

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// How often, and how far apart, a folder is listed to find a message that
// was not in the first list. A list that races with a rename misses files in
// most runs, so nothing is taken for expunged before a list in which nothing
// moved, or before it has been missing for limboTime.
const (
	maxLooks  = 6
	lookPause = granule + 5*time.Millisecond
	limboTime = 2 * time.Second
)

// errRestart means that the uidlist was replaced while we worked.
var errRestart = errors.New("uidlist was replaced")

// Refresh returns a snapshot of the folder as it is now. New messages are
// moved from new/ to cur/, which makes them not recent for later sessions.
// It costs a few stat calls when nothing has changed.
func (f *Folder) Refresh(ctx context.Context) (*Snapshot, error) { return f.refreshed(ctx, false) }

// RefreshReadOnly is Refresh that leaves new messages in new/, for EXAMINE
// and STATUS (RFC 3501 §6.3.2).
func (f *Folder) RefreshReadOnly(ctx context.Context) (*Snapshot, error) {
	return f.refreshed(ctx, true)
}

func (f *Folder) refreshed(ctx context.Context, readOnly bool) (*Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refresh(ctx, readOnly); err != nil {
		return nil, err
	}
	return f.snap.Load(), nil
}

// refresh brings snap up to date. f.mu is held.
func (f *Folder) refresh(ctx context.Context, readOnly bool) error {
	if f.gone.Load() {
		return noFolder(f.name)
	}
	f.listen()
	loaded := f.snap.Load() == nil
	if loaded {
		f.loadCache()
	}
	f.nudged.Store(false)
	dirty := f.dirty.Swap(false)
	if !dirty && (readOnly || len(f.lying) == 0) && f.filesUnchanged() && (loaded || f.keywordsUnchanged()) && (f.mods.id != 0 || f.mods.off) {
		return nil
	}
	if dirty {
		f.curOK, f.newOK = false, false
	}
	err := f.rescan(ctx, readOnly)
	for again := 0; err == nil && again < 2 && f.dirty.Swap(false); again++ {
		f.curOK, f.newOK = false, false
		err = f.rescan(ctx, readOnly) // a file moved while we worked on it
	}
	if err != nil {
		f.dirty.Store(true)
	}
	if errors.Is(err, os.ErrNotExist) {
		return noFolder(f.name)
	}
	return temporary("cannot read the folder", f.dir, err)
}

// unchanged reports whether the folder is as it was at the last scan.
func (f *Folder) unchanged() bool { return f.filesUnchanged() && f.keywordsUnchanged() }

func (f *Folder) filesUnchanged() bool {
	if f.snap.Load() == nil || !f.newOK || !f.curKnown() {
		return false
	}
	n, err := stampOf(f.path("new"))
	if err != nil || n != f.newStamp {
		return false
	}
	c, err := stampOf(f.path("cur"))
	return err == nil && c == f.curStamp && f.ids.unchanged(f.path(uidlistName))
}

// keywordsUnchanged is for a folder that was not just loaded: that looks at
// the same files.
func (f *Folder) keywordsUnchanged() bool {
	return f.keywords.unchanged(f.path(keywordsName)) && f.more.unchanged(f.path(moreName))
}

// curKnown reports whether the time stamp of cur/ can be trusted.
func (f *Folder) curKnown() bool {
	return f.curOK || !f.verifyAt.IsZero() && time.Now().Before(f.verifyAt)
}

// rescan lists the folder and publishes what it found.
func (f *Folder) rescan(ctx context.Context, readOnly bool) error {
	for range 4 {
		err := f.rescanOnce(ctx, readOnly)
		if err == nil {
			return nil
		}
		f.lying, f.ids.read = nil, false // they may be ahead of the snapshot
		if !f.starved && noRoom(err) {
			f.starved = true
			defer func() { f.starved = false }()
			continue
		}
		if !errors.Is(err, errRestart) {
			return err
		}
	}
	return errRestart
}

// noRoom reports whether the file system cannot take the uidlist now. What has
// a UID already can be read all the same.
func noRoom(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

func (f *Folder) rescanOnce(ctx context.Context, readOnly bool) error {
	if err := f.keywords.load(f.path(keywordsName)); err != nil {
		return err
	}
	s, err := f.expected()
	if err != nil {
		return err
	}
	gone, err := f.look(ctx, s)
	if err != nil {
		return err
	}
	f.mend(s)
	if err := f.identify(ctx, s); err != nil {
		return err
	}
	if err := f.applyMore(s); err != nil {
		return err
	}
	f.remember(s)
	f.forget(s, gone)
	if !readOnly {
		f.moveNew(s)
	}
	f.markRecent(s)
	f.publish(s)
	if f.starved {
		f.curOK, f.newOK, f.verifyAt = false, false, time.Time{} // there is more to see
	}
	return nil
}

// expected begins a scan with the messages that should be there: those of the
// snapshot, and those that other processes added to the uidlist since.
func (f *Folder) expected() (*scan, error) {
	old := f.snap.Load()
	if old == nil {
		old = &Snapshot{}
	}
	f.needLying(old)
	s := &scan{host: f.host, dir: f.dir, messages: draftOf(old.Messages), lying: f.lying, unknown: make(map[string]found)}
	fresh, err := f.readUIDs(s)
	if err != nil {
		return nil, err
	}
	f.needIndex(s)
	s.index, s.seen = f.index, newBitset(s.messages.Len())
	c, err := stampOf(f.path("cur"))
	s.curKnown = err == nil && !fresh && f.curKnown() && c == f.curStamp
	return s, nil
}

// look lists the folder until it is plain which messages are gone, and
// returns their positions.
func (f *Folder) look(ctx context.Context, s *scan) ([]int, error) {
	for try := 1; ; try++ {
		start := time.Now()
		quiet, err := s.once()
		if err != nil {
			return nil, err
		}
		if !s.curKnown {
			f.scanTook = time.Since(start)
		}
		if s.curKnown && len(s.lying) == 0 {
			return nil, nil
		}
		missing := s.missing()
		if len(missing) == 0 || quiet && !s.curKnown {
			return missing, nil
		}
		if try == maxLooks {
			return f.doubt(s, missing), nil
		}
		s.curKnown = false
		if err := sleep(ctx, lookPause); err != nil {
			return nil, err
		}
	}
}

// doubt sorts out messages that were not found while the folder was changing
// all the time: only those that have been missing for long are gone.
func (f *Folder) doubt(s *scan, missing []int) []int {
	s.curOK = false // look again next time
	time.AfterFunc(limboTime, f.announce)
	now := time.Now()
	var gone []int
	for _, i := range missing {
		uid := s.messages.At(i).UID
		since, known := f.limbo[uid]
		if !known {
			f.limbo[uid] = now
		}
		if known && now.Sub(since) > limboTime {
			gone = append(gone, i)
		}
	}
	return gone
}

// remember keeps what the scan learnt about the directories.
func (f *Folder) remember(s *scan) {
	f.newStamp, f.newOK = s.newStamp, s.newOK
	if !s.curKnown {
		f.curStamp, f.curOK, f.verifyAt = s.curStamp, s.curOK, time.Time{}
		f.notify.Lock()
		clear(f.expecting)
		f.notify.Unlock()
	}
	for uid := range f.limbo {
		if i, ok := s.messages.Index(uid); !ok || i < len(s.seen)*64 && s.seen.has(i) {
			delete(f.limbo, uid)
		}
	}
}

// forget takes messages that are gone out of the scan.
func (f *Folder) forget(s *scan, gone []int) {
	if len(gone) == 0 {
		return
	}
	uids := make([]uint32, len(gone))
	for n, i := range gone {
		m := s.messages.At(i)
		uids[n] = m.UID
		f.dropped(m)
	}
	s.messages.drop(uids)
}

// dropped remembers that a line of the uidlist has no file any more.
func (f *Folder) dropped(m *Message) {
	f.absent[m.Base] = m.UID
	delete(f.recent, m.UID)
	delete(f.limbo, m.UID)
	delete(f.lying, m.UID)
	delete(f.marked, m.UID)
}

// moveNew moves the messages that lie in new/ to cur/.
func (f *Folder) moveNew(s *scan) {
	own := f.changeCur()
	for _, uid := range slices.Sorted(maps.Keys(s.lying)) {
		i, ok := s.messages.Index(uid)
		if !ok {
			continue
		}
		m := s.messages.At(i)
		to := (&Message{Base: m.Base, Flags: m.Flags, Keywords: m.Keywords}).usualPath()
		own.expect("new/"+m.Base, to)
		if err := f.host.o.Disk.RenameUnsynced(f.path("new/"+m.Base), f.path(to)); err != nil {
			f.dirty.Store(true) // another process was faster, or the disk is read-only
			continue
		}
		s.messages.edit(i).where = inCur
		delete(s.lying, uid)
		f.recent[uid] = true
	}
	own.done()
	f.newOK = f.newOK && !own.any
}

// needLying finds the messages that lie in new/, if that is not known.
func (f *Folder) needLying(s *Snapshot) {
	if f.lying != nil {
		return
	}
	f.lying = make(map[uint32]bool)
	for _, m := range s.Messages.All() {
		if m.where == inNew {
			f.lying[m.UID] = true
		}
	}
}

// markRecent marks the messages that lie in new/, or did, and are recent.
func (f *Folder) markRecent(s *scan) {
	if !s.messages.touched {
		return
	}
	mark := func(uid uint32, recent bool) {
		if i, ok := s.messages.Index(uid); ok && s.messages.At(i).Recent != recent {
			s.messages.edit(i).Recent = recent
		}
	}
	for uid := range f.marked {
		if !s.lying[uid] && !f.recent[uid] {
			mark(uid, false)
			delete(f.marked, uid)
		}
	}
	for _, set := range []map[uint32]bool{s.lying, f.recent} {
		for uid := range set {
			mark(uid, true)
			f.marked[uid] = true
		}
	}
}

// publish makes the scan the current snapshot, if it differs.
func (f *Folder) publish(s *scan) {
	old := f.snap.Load()
	f.settle(old, s)
	next := &Snapshot{HighestModSeq: f.mods.highest, UIDValidity: f.ids.header.validity, UIDNext: f.ids.header.next}
	if old != nil {
		next.Generation = old.Generation
	}
	next.used = s.used
	if old != nil {
		next.used |= old.used
	}
	names := f.keywordNamesNow()
	if old != nil && !s.messages.touched && old.UIDNext == next.UIDNext && old.UIDValidity == next.UIDValidity && old.HighestModSeq == next.HighestModSeq && slices.Equal(old.Keywords, nameAll(names, next.used)) {
		return
	}
	next.Keywords = nameAll(names, next.used)
	next.Generation++
	next.Messages = s.messages.List
	f.snap.Store(next)
	if old != nil {
		f.announce() // to the other sessions: events that come later are no news any more
	}
}

// amend publishes a snapshot that differs from the current one by a change of
// our own.
func (f *Folder) amend(change func(s *scan)) {
	old := f.snap.Load()
	if old == nil {
		return
	}
	f.needLying(old)
	s := &scan{host: f.host, dir: f.dir, messages: draftOf(old.Messages), lying: f.lying}
	change(s)
	f.markRecent(s)
	f.publish(s)
}
