package mailbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// cacheName is a file that keeps what a scan of the folder found, so that the
// next process need not list the folder again: the time stamps of the
// directories and of the uidlist tell whether it still holds. What has changed
// since it was written is in the log of changes. It is not synced; a checksum
// shows when it is torn. It may be removed at any time.
const cacheName = "peyk-cache"

// minCached is the number of messages from which a cache is worth its file:
// fewer are all in the log of changes.
const minCached = 32

// minLog is the size up to which the log of changes grows in any case.
const minLog = 64 << 10

// cached is the content of the file, or of it and of the log.
type cached struct {
	at       stamps
	logID    uint64 // the log that goes on where this ends
	logEnd   int64  // and where that is
	floor    uint64 // expunges above this mod-sequence are in vanished
	highest  uint64
	messages List
	absent   map[string]uint32
	vanished []vanished
}

func (f *Folder) cachePath() string { return f.cacheFile(cacheName, ".cache") }

func (f *Folder) changesPath() string { return f.cacheFile(changesName, ".changes") }

func (f *Folder) cacheFile(name, ext string) string {
	if f.host.o.CacheDir == "" {
		return f.path(name)
	}
	return filepath.Join(f.host.o.CacheDir, fmt.Sprintf("%x", sha256.Sum256([]byte(f.dir)))[:32]+ext)
}

// maxCache bounds the file: that of five million messages.
const maxCache = 1 << 30

// readState reads the cache and what the log adds to it. It is not ok when
// something may be missing from them; what there is of the cache is returned
// even then.
func (f *Folder) readState(l *changeLog) (c *cached, size int64, ok bool) {
	raw, err := readRegular(f.cachePath(), maxCache)
	if err == nil {
		if c, err = decodeCache(raw); err != nil {
			f.host.trouble("folder cache is broken, the folder is read anew", f.cachePath(), err)
			c = nil
		}
	}
	if l == nil || l.err != nil {
		return c, 0, false
	}
	h := &l.header
	pos := int64(changesHeader)
	switch {
	case c == nil && h.parent == 0:
		c = &cached{absent: make(map[string]uint32), floor: h.floor, highest: h.floor}
	case c == nil || c.at.ids.header.validity != h.validity:
		return c, 0, false
	case c.logID == h.id:
		pos = c.logEnd
	case c.logID != h.parent || c.logEnd != h.parentEnd:
		return c, 0, false
	}
	changes, err := l.records(pos)
	if err != nil {
		return c, 0, false
	}
	c.fold(changes)
	if c.at.ids.header.validity != h.validity {
		return nil, 0, false
	}
	return c, int64(len(raw)), h.boot == f.host.boot || f.isAsIn(c)
}

// isAsIn reports whether cur/ is what the cache says. After a power cut, a
// change that the log has lost shows there: the directory was synced.
func (f *Folder) isAsIn(c *cached) bool {
	st, err := stampOf(f.path("cur"))
	return err == nil && st == c.at.cur
}

// loadCache begins with what a former process knew. A cache that cannot be
// read, or does not belong to this uidlist, is as good as none.
func (f *Folder) loadCache() {
	l, err := f.lockChanges()
	if err != nil {
		f.withoutLog(err)
	}
	c, size, ok := f.readState(l)
	if l != nil {
		defer l.unlock()
	}
	if c == nil || f.loadNames(c.at.ids.header.validity) != nil {
		return
	}
	if ok {
		f.mods.id, f.mods.pos, f.mods.baseSize = l.header.id, l.size, size
	} else {
		c.renew(f.nextModSeq(c.highest))
	}
	f.mods.validity, f.mods.highest, f.mods.floor, f.mods.vanished = c.at.ids.header.validity, c.highest, c.floor, c.vanished
	f.mods.logged = c.at
	f.sure = f.fits(c)
	if !f.sure {
		c.at.newOK, c.at.curOK, c.at.ids.read = false, untrusted, false
	}
	f.ids, f.absent, f.index = c.at.ids, c.absent, nil
	f.newStamp, f.curStamp, f.newOK, f.curOK = c.at.new, c.at.cur, c.at.newOK, c.at.curOK == trusted
	if c.at.curOK == ownChanges {
		f.verifyAt = time.Now().Add(minVerify)
	}
	f.begin(c)
}

// begin publishes the messages of the cache as the first snapshot.
func (f *Folder) begin(c *cached) {
	s := &Snapshot{Generation: 1, UIDValidity: c.at.ids.header.validity, UIDNext: c.at.ids.header.next, HighestModSeq: c.highest}
	f.lying = make(map[uint32]bool)
	d := draftOf(c.messages)
	for i, m := range c.messages.All() {
		s.used |= m.Keywords
		if m.where == inNew {
			f.lying[m.UID], f.marked[m.UID] = true, true
			d.edit(i).Recent = true
		}
	}
	s.Messages = d.List
	s.Keywords = nameAll(f.keywordNamesNow(), s.used)
	f.snap.Store(s)
}

// renew gives all messages a new mod-sequence: nobody knows which of them have
// changed since a client saw them.
func (c *cached) renew(modSeq uint64) {
	messages, odds := c.messages.slice(), c.messages.odds()
	for i := range messages {
		messages[i].ModSeq = modSeq
	}
	c.messages = ListOf(messages)
	c.messages.setOdd(odds)
	c.highest, c.floor, c.vanished = modSeq, modSeq, nil
}

// fits reports whether the uidlist is the one that the cache was made with,
// or has only grown since.
func (f *Folder) fits(c *cached) bool {
	var st unix.Stat_t
	if unix.Lstat(f.path(uidlistName), &st) != nil || !c.at.ids.same(&st) || st.Size < c.at.ids.size {
		return false
	}
	return st.Size > c.at.ids.size || st.Mtim.Nano() == c.at.idsMtime
}

// fold makes the changes of the log.
func (c *cached) fold(changes []change) {
	last := make(map[uint32]*change)
	for i := range changes {
		r := &changes[i]
		c.highest = max(c.highest, r.m.ModSeq)
		switch r.kind {
		case sawFolder:
			c.at = r.at
		case sawFolder2:
			c.at.new.mtime, c.at.newOK, c.at.cur.mtime, c.at.curOK = r.at.new.mtime, r.at.newOK, r.at.cur.mtime, r.at.curOK
		case highest:
		default:
			if r.kind == expunged {
				c.vanished = append(c.vanished, vanished{r.m.ModSeq, r.m.UID})
			}
			last[r.m.UID] = r.after(last[r.m.UID])
		}
	}
	c.trim()
	if len(last) > 0 {
		c.apply(last)
	}
}

// trim forgets the oldest expunges when there are more than messages.
func (c *cached) trim() { c.vanished, c.floor = trimVanished(c.vanished, c.floor, c.messages.n) }

func trimVanished(v []vanished, floor uint64, messages int) ([]vanished, uint64) {
	keep := max(maxVanished, messages)
	if len(v) <= keep+keep/4 {
		return v, floor
	}
	cut := v[:len(v)-keep]
	return slices.Clone(v[len(v)-keep:]), cut[len(cut)-1].modSeq
}

// apply makes the last change of each message.
func (c *cached) apply(last map[uint32]*change) {
	d := draftOf(c.messages)
	var gone []uint32
	var fresh []*change
	for uid, r := range last {
		i, ok := d.Index(uid)
		switch {
		case ok && r.kind == expunged:
			c.absent[d.At(i).Base] = uid
			gone = append(gone, uid)
		case ok:
			r.update(&d, i)
		case r.kind == added:
			fresh = append(fresh, r)
		}
	}
	if len(gone) > 0 {
		d.drop(gone)
	}
	slices.SortFunc(fresh, func(a, b *change) int { return int(int64(a.m.UID) - int64(b.m.UID)) })
	if len(fresh) > 0 && fresh[0].m.UID <= d.lastUID() {
		d.rebuild(fresh)
		fresh = nil
	}
	for _, r := range fresh {
		d.push(r.m)
		d.setPath(d.n-1, r.path)
		delete(c.absent, r.m.Base)
	}
	c.messages = d.List
}

// rebuild puts messages among others.
func (d *draft) rebuild(fresh []*change) {
	all, odds := d.slice(), d.odds()
	for _, r := range fresh {
		all = append(all, r.m)
		if r.m.where == odd {
			odds[r.m.UID] = r.path
		}
	}
	slices.SortFunc(all, func(a, b Message) int { return int(int64(a.UID) - int64(b.UID)) })
	*d = draftOf(ListOf(all))
	d.setOdd(odds)
	d.touched = true
}

// after returns what two changes of a message come to.
func (c *change) after(first *change) *change {
	if first == nil || c.kind == expunged {
		return c
	}
	if first.kind == expunged {
		return first // a UID is never used again
	}
	both := *c
	if both.m.date == 0 {
		both.m.date = first.m.date
	}
	if both.m.saved == 0 {
		both.m.saved = first.m.saved
	}
	switch {
	case c.kind == setDates && first.kind != setDates:
		date, saved := both.m.date, both.m.saved
		both = *first
		both.m.date, both.m.saved = date, saved
	case c.kind == setFlags && first.kind == added:
		both = *first
		m := &both.m
		m.ModSeq, m.Flags, m.Keywords, m.where, both.path = c.m.ModSeq, c.m.Flags, c.m.Keywords, c.m.where, c.path
	}
	return &both
}

// update makes the change to message i of a draft.
func (c *change) update(d *draft, i int) {
	m := d.edit(i)
	if c.m.date != 0 {
		m.date = c.m.date
	}
	if c.m.saved != 0 {
		m.saved = c.m.saved
	}
	switch c.kind {
	case setDates:
		return
	case added:
		m.Base, m.Size, m.FileSize = c.m.Base, c.m.Size, c.m.FileSize
	}
	m.ModSeq, m.Flags, m.Keywords, m.where = c.m.ModSeq, c.m.Flags, c.m.Keywords, c.m.where
	d.setPath(i, c.path)
}

// state is what the folder is now, for the cache.
func (f *Folder) state(messages List) *cached {
	m := &f.mods
	return &cached{at: f.stamps(), floor: m.floor, highest: m.highest, messages: messages, absent: f.absent, vanished: m.vanished}
}

// changes is the state as records of a log that has no cache before it.
func (c *cached) changes() []byte {
	b := (&change{kind: sawFolder, at: c.at}).append(nil)
	for _, v := range c.vanished {
		b = (&change{kind: expunged, m: Message{UID: v.uid, ModSeq: v.modSeq}}).append(b)
	}
	for i, m := range c.messages.All() {
		b = changeOf(added, c.messages, i, m).append(b)
	}
	return (&change{kind: highest, m: Message{ModSeq: c.highest}}).append(b)
}

func changeOf(kind changeKind, l List, i int, m *Message) *change {
	r := &change{kind: kind, m: *m}
	if m.where == odd {
		r.path = l.path(i)
	}
	return r
}

// rotate writes a new cache and begins a new log, whose lock nobody has. With
// chain, it goes on where the old log ends.
func (f *Folder) rotate(l *changeLog, messages List, chain bool) error {
	var raw [8]byte
	if err := f.host.random(raw[:]); err != nil {
		return err
	}
	h := logHeader{id: 1, validity: f.ids.header.validity, floor: f.mods.floor, boot: f.host.boot, length: changesHeader}
	for _, octet := range raw {
		h.id = h.id<<8 + uint64(octet) | 1
	}
	c := f.state(messages)
	var records, base []byte
	if chain {
		h.parent, h.parentEnd = l.header.id, l.size
		c.logID, c.logEnd = l.header.id, l.size
	} else {
		c.logID, c.logEnd = h.id, changesHeader
	}
	if chain || messages.n >= minCached {
		base = c.encode()
		if err := f.host.writeCache(f.cachePath(), base); err != nil {
			return err
		}
	} else {
		if err := os.Remove(f.cachePath()); err != nil && !os.IsNotExist(err) {
			return err
		}
		records = c.changes()
	}
	h.length += int64(len(records))
	if err := f.host.writeCache(f.changesPath(), append(h.encode(), records...)); err != nil {
		return err
	}
	l.old = true
	m := &f.mods
	m.id, m.pos, m.baseSize, m.logged = h.id, h.length, int64(len(base)), c.at
	return nil
}

func (h *Host) writeCache(path string, data []byte) error {
	if h.o.CacheDir != "" {
		if err := os.MkdirAll(h.o.CacheDir, 0o700); err != nil {
			return err
		}
	}
	name, err := h.uniqueName()
	if err != nil {
		return err
	}
	tmp := path + "." + name
	file, err := h.create(tmp)
	if err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		file.Abort()
		return err
	}
	err = file.Close()
	if err == nil {
		err = h.o.Disk.RenameUnsynced(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// DropCaches removes what can be rebuilt from the mail: the folder caches with
// their logs of changes, the message facts, and the sort keys.
func (a *Account) DropCaches() error {
	dirs, err := folderDirs(a.root)
	if err != nil {
		return temporary("cannot list the folders", a.root, err)
	}
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, a.host.dropCaches(filepath.Join(a.root, dir)))
	}
	return errors.Join(errs...)
}

// cacheFiles returns where the caches of the folder at dir are.
func (h *Host) cacheFiles(dir string) []string {
	f := &Folder{host: h, dir: dir}
	return append(f.sortPaths(), f.cachePath(), f.changesPath(), f.factsPath())
}

func (h *Host) dropCaches(dir string) error {
	var errs []error
	for _, path := range h.cacheFiles(dir) {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// forgetCaches removes what the cache directory has of a folder that was
// deleted; caches in the folder have gone with it. What stays does no harm,
// for another folder at dir has another uidlist.
func (h *Host) forgetCaches(dir string) {
	if h.o.CacheDir == "" {
		return
	}
	if err := h.dropCaches(dir); err != nil {
		h.trouble("cannot remove the caches of a folder that is gone", dir, err)
	}
}

// moveCaches lets what the cache directory has of a folder follow it. A cache
// that cannot follow is made anew.
func (h *Host) moveCaches(from, to string) {
	if h.o.CacheDir == "" {
		return
	}
	old := h.cacheFiles(from)
	for i, path := range h.cacheFiles(to) {
		if h.o.Disk.RenameUnsynced(old[i], path) != nil {
			os.Remove(path)
		}
	}
}

// dates are INTERNALDATE and SAVEDATE of messages that were asked for since
// the folder was opened.
type dates struct {
	mu    sync.Mutex
	known map[uint32]Message // date and saved
}

func (d *dates) get(uid uint32) Message {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known[uid]
}

func (d *dates) set(uid uint32, change func(m *Message)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = make(map[uint32]Message)
	}
	m := d.known[uid]
	change(&m)
	d.known[uid] = m
}
