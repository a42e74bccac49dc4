package mailbox

import (
	"errors"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// maxVanished is how many expunges are remembered at least, if there were as
// many; a folder with more messages remembers as many as it has.
const maxVanished = 10_000

// vanished is a message that is gone.
type vanished struct {
	modSeq uint64
	uid    uint32
}

// modState is what a folder knows of mod-sequences.
type modState struct {
	validity uint32 // the UIDVALIDITY that all this is for
	id       uint64 // of the log of changes; 0: there is none that holds what we know
	pos      int64  // how far we have read it
	baseSize int64  // of the cache before it
	off      bool   // it cannot be used; mod-sequences are in memory only
	logged   stamps // what it says last
	highest  uint64
	floor    uint64
	vanished []vanished
	ahead    map[uint32]*change // of messages that others have seen and we have not
	locking  bool               // a conditional Store is at work
	held     *changeLog         // which has this lock
}

// nextModSeq returns a mod-sequence above all that were: the time in
// microseconds, so that it never goes back, even if none is remembered.
func (f *Folder) nextModSeq(highest uint64) uint64 {
	return max(highest+1, uint64(max(f.host.o.Now().UnixMicro(), 1)))
}

// withoutLog goes on with mod-sequences in memory. The log is removed, so that
// the next process does not take it for complete.
func (f *Folder) withoutLog(err error) {
	if !errors.Is(err, os.ErrPermission) && !errors.Is(err, unix.EROFS) {
		f.host.trouble("cannot use the log of changes", f.changesPath(), err)
	}
	f.mods.off = true
	if !errors.Is(err, ErrLocked) {
		os.Remove(f.changesPath())
	}
}

// settle gives mod-sequences to all that a draft changes, after it has read
// what other processes gave, and logs them.
func (f *Folder) settle(old *Snapshot, s *scan) {
	m := &f.mods
	if m.validity != f.ids.header.validity {
		*m = modState{validity: f.ids.header.validity, off: m.off, locking: m.locking, held: m.held, highest: m.highest, floor: f.nextModSeq(m.highest)}
	}
	l := m.held
	if l != nil && l.old {
		f.releaseLog()
		f.holdLog()
		l = m.held
	}
	if l == nil && !m.off {
		var err error
		if l, err = f.lockChanges(); err != nil {
			f.withoutLog(err)
		} else {
			defer l.unlock()
		}
	}
	var tail []change
	whole := true
	if l != nil {
		tail, whole = f.readChanges(l)
	}
	a := f.adopt(old, s, tail)
	records := f.stampChanges(old, s, a, whole)
	if m.highest == 0 {
		m.highest = f.nextModSeq(0) // RFC 7162 §3.1.2.1: positive
		m.floor = m.highest
	}
	if l == nil {
		return
	}
	if err := f.log(l, records, s.messages.List, whole); err != nil {
		f.withoutLog(err)
	}
}

// holdLog locks the log for a conditional Store, and takes over what others
// have logged: from here on, no other process gives out a mod-sequence
// (RFC 7162 §3.1.3).
func (f *Folder) holdLog() {
	if f.mods.off {
		return
	}
	l, err := f.lockChanges()
	if err != nil {
		f.withoutLog(err)
		return
	}
	f.mods.held = l
	if l.err != nil || l.header.id != f.mods.id || l.size != f.mods.pos {
		f.amend(func(*scan) {})
	}
}

func (f *Folder) releaseLog() {
	if f.mods.held != nil {
		f.mods.held.unlock()
		f.mods.held = nil
	}
}

// readChanges returns what others logged since we last read. It is not whole
// when the log cannot be gone on with.
func (f *Folder) readChanges(l *changeLog) (tail []change, whole bool) {
	m := &f.mods
	pos := int64(-1)
	if l.err == nil && l.header.validity == m.validity && m.id != 0 {
		switch {
		case l.header.id == m.id:
			pos = m.pos
		case l.header.parent == m.id && l.header.parentEnd == m.pos:
			pos = changesHeader
		}
	}
	if pos >= 0 {
		changes, err := l.records(pos)
		m.id, m.pos = l.header.id, l.size
		return changes, err == nil
	}
	if c, size, ok := f.readState(l); ok && l.header.validity == m.validity {
		m.id, m.pos, m.baseSize, m.logged = l.header.id, l.size, size, c.at
		m.highest = max(m.highest, c.highest)
		m.floor, m.vanished = c.floor, nil
		return c.asChanges(), true
	}
	if m.id != 0 || m.highest != 0 {
		m.highest = f.nextModSeq(m.highest)
	}
	return nil, false
}

// asChanges is all that a cache and its log say.
func (c *cached) asChanges() []change {
	all := make([]change, 0, c.messages.n+len(c.vanished))
	for _, v := range c.vanished {
		all = append(all, change{kind: expunged, m: Message{UID: v.uid, ModSeq: v.modSeq}})
	}
	for i, m := range c.messages.All() {
		all = append(all, *changeOf(added, c.messages, i, m))
	}
	return all
}

// adopted tells what a draft and the log have in common by now.
type adopted struct {
	settled map[uint32]bool // the log says what the draft says
	contra  map[uint32]bool // the log says something else, and is wrong
	gone    map[uint32]bool // the log says that they were expunged
}

// adopt takes over what other processes have logged. Where it differs from
// what we found, the file's name decides.
func (f *Folder) adopt(old *Snapshot, s *scan, tail []change) adopted {
	a := adopted{settled: make(map[uint32]bool), contra: make(map[uint32]bool), gone: make(map[uint32]bool)}
	m := &f.mods
	if len(tail) == 0 && len(m.ahead) == 0 {
		return a
	}
	last := m.ahead
	if last == nil {
		last = make(map[uint32]*change)
	}
	m.ahead = nil
	for i := range tail {
		r := &tail[i]
		m.highest = max(m.highest, r.m.ModSeq)
		switch r.kind {
		case sawFolder, sawFolder2, highest:
			continue
		case expunged:
			m.vanished = append(m.vanished, vanished{r.m.ModSeq, r.m.UID})
		}
		last[r.m.UID] = r.after(last[r.m.UID])
	}
	var gone []uint32
	for _, uid := range slices.Sorted(maps.Keys(last)) {
		r := last[uid]
		i, there := s.messages.Index(uid)
		switch {
		case r.kind == expunged:
			a.gone[uid] = true
			if there {
				f.dropped(s.messages.At(i))
				gone = append(gone, uid)
			}
		case there:
			f.reconcile(s, i, r, &a)
		case !hadUID(old, uid):
			if m.ahead == nil {
				m.ahead = make(map[uint32]*change)
			}
			m.ahead[uid] = r
		}
	}
	if len(gone) > 0 {
		s.messages.drop(gone)
		f.dirty.Store(true)
	}
	return a
}

func hadUID(s *Snapshot, uid uint32) bool {
	if s == nil {
		return false
	}
	_, ok := s.Messages.Index(uid)
	return ok
}

// reconcile compares message i with what another process said of it.
func (f *Folder) reconcile(s *scan, i int, r *change, a *adopted) {
	m := s.messages.At(i)
	same := r.kind == setDates || m.Flags == r.m.Flags && m.Keywords == r.m.Keywords
	if !same && m.Flags == r.m.Flags && (m.Keywords^r.m.Keywords)&letterBits == 0 {
		if f.loadMore() != nil || f.more.bits[m.UID] != r.m.Keywords&^letterBits {
			a.contra[m.UID] = true
			return
		}
		s.messages.edit(i).Keywords = r.m.Keywords
		s.used |= r.m.Keywords
		m, same = s.messages.At(i), true
	}
	if !same {
		if _, err := os.Lstat(f.path(s.messages.path(i))); err == nil {
			a.contra[m.UID] = true
			return
		}
		f.dirty.Store(true) // it was renamed after we had looked
		s.set(i, r.m.Flags, r.m.Keywords, r.m.where, r.path)
		m = s.messages.At(i)
	}
	date, saved, modSeq := m.date, m.saved, m.ModSeq
	if r.m.date != 0 {
		date = r.m.date
	}
	if r.m.saved != 0 {
		saved = r.m.saved
	}
	if r.kind != setDates {
		modSeq = r.m.ModSeq
		a.settled[m.UID] = true
	}
	if date != m.date || saved != m.saved || modSeq != m.ModSeq {
		e := s.messages.edit(i)
		e.date, e.saved, e.ModSeq = date, saved, modSeq
	}
}

// stampChanges gives a new mod-sequence to what differs between the last
// snapshot and the draft, and returns the records that say so.
func (f *Folder) stampChanges(old *Snapshot, s *scan, a adopted, whole bool) (records []byte) {
	m := &f.mods
	was := List{}
	if old != nil && old.UIDValidity == m.validity {
		was = old.Messages
	}
	now := f.nextModSeq(m.highest)
	var gone []uint32
	var changed []news
	Diff(was, s.messages.List, func(i, j int) {
		if j >= 0 {
			changed = newsOf(changed, was, i, s.messages.List, j, a)
		} else if uid := was.At(i).UID; !a.gone[uid] {
			gone = append(gone, uid)
		}
	})
	for _, uid := range gone {
		m.highest = now
		m.vanished = append(m.vanished, vanished{now, uid})
		if whole {
			records = (&change{kind: expunged, m: Message{UID: uid, ModSeq: now}}).append(records)
		}
	}
	for uid := range a.contra {
		if j, ok := s.messages.Index(uid); ok {
			changed = append(changed, news{j, setFlags, true})
		}
	}
	for _, n := range changed {
		if n.stamp {
			s.messages.edit(n.i).ModSeq = now
			m.highest = now
		}
		if whole {
			records = changeOf(n.kind, s.messages.List, n.i, s.messages.At(n.i)).append(records)
		}
	}
	m.vanished, m.floor = trimVanished(m.vanished, m.floor, s.messages.n)
	return records
}

// news is a message that differs from what it was.
type news struct {
	i     int // in the draft
	kind  changeKind
	stamp bool // it gets a new mod-sequence
}

// newsOf adds how message j differs from what message i was; i is -1 for one
// that was not there.
func newsOf(all []news, was List, i int, is List, j int, a adopted) []news {
	m := is.At(j)
	settled := a.settled[m.UID]
	if i < 0 {
		if settled {
			return all
		}
		return append(all, news{j, added, true})
	}
	o := was.At(i)
	changed := (o.Flags != m.Flags || o.Keywords != m.Keywords) && !settled
	switch {
	case o.FileSize != m.FileSize || o.Base != m.Base:
		return append(all, news{j, added, changed})
	case changed || o.where != m.where:
		return append(all, news{j, setFlags, changed})
	}
	return all
}

// log appends records, and what the directories look like now; or begins a
// new log, when this one is not whole or has grown long.
func (f *Folder) log(l *changeLog, records []byte, messages List, whole bool) error {
	m := &f.mods
	if !whole {
		return f.rotate(l, messages, false)
	}
	if len(records) == 0 {
		return nil
	}
	at := f.stamps()
	records = at.since(&m.logged).append(records)
	if err := l.append(records, f.host.boot); err != nil {
		return err
	}
	m.pos, m.logged = l.size, at
	if l.size > max(minLog, m.baseSize/2) {
		return f.rotate(l, messages, true)
	}
	return nil
}

// since returns the record that tells these stamps after those.
func (s *stamps) since(was *stamps) *change {
	same := *was
	same.newOK, same.curOK, same.new.mtime, same.cur.mtime = s.newOK, s.curOK, s.new.mtime, s.cur.mtime
	if same == *s {
		return &change{kind: sawFolder2, at: *s}
	}
	return &change{kind: sawFolder, at: *s}
}

// stamps returns what the folder's files looked like when they were as the
// folder knows them.
func (f *Folder) stamps() stamps {
	at := stamps{ids: f.ids, new: f.newStamp, cur: f.curStamp, newOK: f.newOK}
	logged := &f.mods.logged
	at.idsMtime = logged.idsMtime
	if at.ids != logged.ids {
		var st unix.Stat_t
		if unix.Lstat(f.path(uidlistName), &st) == nil && f.ids.same(&st) {
			at.idsMtime = st.Mtim.Nano()
		}
	}
	if !f.ids.read || f.ids.rewrite {
		at.ids.ino, at.ids.rewrite, at.ids.read = 0, false, true
	}
	at.ids.doubtful = false
	switch {
	case f.curOK:
		at.curOK = trusted
	case !f.verifyAt.IsZero():
		at.curOK = ownChanges
	}
	return at
}

// leave logs, when the folder is closed, what the next process would have to
// find out again.
func (f *Folder) leave() {
	m, s := &f.mods, f.snap.Load()
	if s == nil || m.off || m.id == 0 || f.gone.Load() {
		return
	}
	f.dates.mu.Lock()
	known := f.dates.known
	f.dates.mu.Unlock()
	if at := f.stamps(); at == m.logged && len(known) == 0 {
		return
	}
	l, err := f.lockChanges()
	if err != nil {
		return
	}
	defer l.unlock()
	if l.err != nil || l.header.id != m.id || l.size != m.pos {
		return // others know better
	}
	d := draftOf(s.Messages)
	records := d.takeDates(known)
	at := f.stamps()
	records = at.since(&m.logged).append(records)
	if err := l.append(records, f.host.boot); err != nil {
		f.withoutLog(err)
		return
	}
	m.pos, m.logged = l.size, at
	if l.size > max(minLog, m.baseSize/2) {
		if err := f.rotate(l, d.List, true); err != nil {
			f.withoutLog(err)
		}
	}
}

// takeDates puts dates into the messages, and returns the records of them.
func (d *draft) takeDates(known map[uint32]Message) (records []byte) {
	for _, uid := range slices.Sorted(maps.Keys(known)) {
		i, ok := d.Index(uid)
		if !ok {
			continue
		}
		r := change{kind: setDates, m: Message{UID: uid, date: known[uid].date, saved: known[uid].saved}}
		r.update(d, i)
		records = r.append(records)
	}
	return records
}

// Vanished returns the messages that were expunged after the folder's
// highest mod-sequence was since, ascending. It is not complete when the
// folder does not remember as much.
func (f *Folder) Vanished(since uint64) (uids []uint32, complete bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.mods.vanished {
		if v.modSeq > since {
			uids = append(uids, v.uid)
		}
	}
	slices.Sort(uids)
	return slices.Compact(uids), since >= f.mods.floor
}

// Date returns when a message arrived: the modification time of its file, in
// seconds (INTERNALDATE).
func (f *Folder) Date(uid uint32) (time.Time, error) {
	return f.dateOf(uid, func(m *Message) *uint32 { return &m.date }, func(st *unix.Stat_t) unix.Timespec { return st.Mtim })
}

// SaveDate returns when a message came into this folder (RFC 8514); for one
// that another program put there, when its file last changed.
func (f *Folder) SaveDate(uid uint32) (time.Time, error) {
	return f.dateOf(uid, func(m *Message) *uint32 { return &m.saved }, func(st *unix.Stat_t) unix.Timespec { return st.Ctim })
}

// dateOf returns a date of a message from what is known, or from its file.
func (f *Folder) dateOf(uid uint32, field func(*Message) *uint32, of func(*unix.Stat_t) unix.Timespec) (time.Time, error) {
	known := f.dates.get(uid)
	if s := f.snap.Load(); s != nil && *field(&known) == 0 {
		if i, ok := s.Messages.Index(uid); ok {
			known = *s.Messages.At(i)
		}
	}
	if sec := *field(&known); sec != 0 {
		return time.Unix(int64(sec), 0), nil
	}
	var at time.Time
	err := f.withFile(uid, func(path string) error {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: path, Err: err}
		}
		at = time.Unix(of(&st).Sec, 0)
		return nil
	})
	if sec := at.Unix(); err == nil && sec > 0 && sec < 1<<32 {
		f.dates.set(uid, func(m *Message) { *field(m) = uint32(sec) })
	}
	return at, err
}

// ID returns what names the folder for as long as it lives, whatever it is
// called (RFC 8474 §4); it is empty before the first Refresh.
func (f *Folder) ID() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ids.header.guid
}
