package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// The uidlist is written anew when more than a quarter of its lines, and at
// least minDead, are of messages that are gone.
const minDead = 64

// lockUIDs takes the lock of the uidlist.
func (f *Folder) lockUIDs(ctx context.Context) (*dotlock, error) {
	path := f.path(uidlistName)
	return f.host.locks.lock(ctx, path+".lock", path)
}

// identify gives a UID to each file that has none, and mends the uidlist.
// UIDs are given under the lock only, and known to nobody before they are
// durable.
func (f *Folder) identify(ctx context.Context, s *scan) error {
	f.measureAll(s)
	if len(s.unknown) == 0 && !f.ids.rewrite {
		return nil
	}
	if f.starved && f.ids.read && f.ids.header.validity != 0 && !f.ids.doubtful {
		clear(s.unknown) // nobody sees them before their UIDs are durable
		return nil
	}
	fresh := f.measureUnknown(s)
	lock, err := f.lockUIDs(ctx)
	if err != nil {
		return err
	}
	defer lock.release()
	if fresh, err = f.catchUp(s, fresh); err != nil {
		return err
	}
	if f.ids.doubtful && f.ids.rewrite { // still torn, and nobody is writing it: we hold the lock
		if f.ids.header.validity != 0 {
			f.host.trouble("uidlist was cut off or lost; its UIDs get a new UIDVALIDITY", f.path(uidlistName), nil)
		}
		f.ids.header.validity = 0
	}
	f.ids.doubtful, f.sure = false, true
	if err := f.needHeader(ctx); err != nil {
		return err
	}
	for i := range fresh {
		fresh[i].sec, fresh[i].usec = deliveryTime(fresh[i].base)
	}
	slices.SortFunc(fresh, deliveredBefore)
	if err := f.number(fresh); err != nil {
		return err
	}
	before := s.messages.Len()
	f.include(s, fresh)
	if before == s.messages.Len() && !f.ids.rewrite {
		return nil
	}
	return f.writeUIDs(lock, s, before)
}

// catchUp reads, under the lock, what others wrote since, and returns the
// files that still have no UID.
func (f *Folder) catchUp(s *scan, fresh []found) ([]found, error) {
	file, st, err := f.openUIDs()
	if err != nil {
		return nil, err
	}
	if file == nil {
		return fresh, nil
	}
	defer file.Close()
	if !f.ids.read {
		if brokenUIDs(file) {
			return fresh, nil
		}
		return nil, errRestart
	}
	if !f.ids.same(st) || st.Size < f.ids.size {
		return nil, errRestart
	}
	if st.Size == f.ids.size {
		return fresh, nil
	}
	before := s.messages.Len()
	ok, _, err := f.readTail(file, s)
	if !ok || err != nil {
		f.ids.read = false
		return nil, errors.Join(err, errRestart)
	}
	s.seen = s.seen.grow(s.messages.Len())
	return f.matched(s, before, fresh), nil
}

func brokenUIDs(file *os.File) bool {
	var u uidReader
	if _, err := u.readFile(file); err != nil {
		return false
	}
	_, err := u.header()
	return err != nil
}

// matched takes the files that turn out to have a UID, from messages[before:],
// off the list. A message that the scan did not see is believed to be there
// until the next one.
func (f *Folder) matched(s *scan, before int, fresh []found) []found {
	byBase := make(map[string]int, s.messages.Len()-before)
	for i, m := range s.messages.From(before) {
		byBase[m.Base] = i
	}
	rest := slices.DeleteFunc(fresh, func(n found) bool {
		i, ok := byBase[n.base]
		if ok {
			s.place(i, n)
			delete(byBase, n.base)
		}
		return ok
	})
	if len(byBase) > 0 {
		f.dirty.Store(true)
	}
	return rest
}

// place sets a message's flags, sizes and position from its file.
func (s *scan) place(i int, n found) {
	s.seen.set(i)
	base, info := splitName([]byte(n.name))
	flags, keywords := parseInfo(base, info)
	more := s.messages.At(i).Keywords &^ letterBits
	s.set(i, flags, keywords|more, placeOf(n.dir, info, flags, keywords), n.dir+"/"+n.name)
	if s.messages.At(i).FileSize < 0 {
		s.messages.edit(i).measured(n.size, n.wire)
	}
}

// needHeader makes a header for a folder that has no uidlist yet.
func (f *Folder) needHeader(ctx context.Context) (err error) {
	h := &f.ids.header
	if h.guid == "" {
		if h.guid, err = f.host.folderGUID(); err != nil {
			return err
		}
		f.ids.rewrite = true
	}
	if h.validity != 0 {
		return nil
	}
	f.ids.rewrite = true
	h.next = max(h.next, 1)
	h.validity, err = f.account.nextUIDValidity(ctx)
	return err
}

// number gives out UIDs.
func (f *Folder) number(fresh []found) error {
	if uint64(f.ids.header.next)+uint64(len(fresh)) > maxUID {
		return fmt.Errorf("%s: no UIDs are left", f.path(uidlistName))
	}
	for i := range fresh {
		fresh[i].uid = f.ids.header.next
		f.ids.header.next++
		if _, again := f.absent[fresh[i].base]; again {
			// It was expunged for all our sessions, so it comes back as a new
			// message; its old line must go.
			delete(f.absent, fresh[i].base)
			f.ids.rewrite = true
		}
	}
	return nil
}

// include adds files that have a UID now.
func (f *Folder) include(s *scan, fresh []found) {
	if len(fresh) == 0 {
		return
	}
	s.seen = s.seen.grow(s.messages.Len() + len(fresh))
	f.needIndex(s)
	for _, n := range fresh {
		f.push(s, Message{UID: n.uid, Base: n.base, FileSize: -1, saved: f.host.now()})
		s.place(s.messages.Len()-1, n)
	}
}

// push adds a message to the scan and to the index.
func (f *Folder) push(s *scan, m Message) {
	if f.index != nil {
		f.index.add(s.messages.List, &m)
	}
	s.messages.push(m)
}

// writeUIDs makes the uidlist durable: the messages from index before on are
// appended to it, unless it must be written anew.
func (f *Folder) writeUIDs(lock *dotlock, s *scan, before int) error {
	if dead := len(f.absent); dead > minDead && 4*dead > f.ids.lines {
		f.ids.rewrite = true
	}
	var err error
	if f.ids.rewrite {
		err = f.rewriteUIDs(lock, s.messages.List)
	} else {
		err = f.appendUIDs(lock, s.messages.List, before)
	}
	if err != nil {
		f.ids.read = false // whatever the file holds now, read it again
	}
	return err
}

func (f *Folder) appendUIDs(lock *dotlock, messages List, before int) error {
	var lines []byte
	for _, m := range messages.From(before) {
		lines = appendUidRecord(lines, m.UID, m.Base, m.FileSize, m.wire())
	}
	if err := f.appendLines(lock, lines); err != nil {
		return err
	}
	f.ids.size += int64(len(lines))
	f.ids.lines += messages.Len() - before
	return nil
}

// wire returns the size for the uidlist, -1 if it is unknown.
func (m *Message) wire() int64 {
	if m.FileSize < 0 {
		return -1
	}
	return m.Size
}

// appendLines appends to the uidlist, durably.
func (f *Folder) appendLines(lock *dotlock, lines []byte) error {
	file, err := openPlain(f.path(uidlistName), unix.O_RDWR|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.appendTo(file, lock, lines), file.Close())
}

// appendTo is appendLines for an open file.
func (f *Folder) appendTo(file *os.File, lock *dotlock, lines []byte) error {
	if !lock.held() {
		return temporary("cannot lock the folder", lock.path, ErrLocked)
	}
	err := f.host.o.Disk.Append(file, lines)
	if err != nil {
		cutTorn(file, int64(len(lines)))
	}
	return err
}

// cutTorn takes away the half line that an append of so many octets has left,
// as on a full disk: whoever finds one later must fear that UIDs are lost, and
// change the UIDVALIDITY. Whole lines stay, as somebody may have read them.
func cutTorn(file *os.File, octets int64) {
	info, err := file.Stat()
	if err != nil {
		return
	}
	start := max(0, info.Size()-octets)
	tail := make([]byte, info.Size()-start)
	if _, err := file.ReadAt(tail, start); err != nil {
		return
	}
	if end := bytes.LastIndexByte(tail, '\n') + 1; end > 0 && end < len(tail) {
		file.Truncate(start + int64(end))
	}
}

// rewriteUIDs replaces the uidlist by one that has a line for each message,
// and no others. Lines that are there are kept as they stand.
func (f *Folder) rewriteUIDs(lock *dotlock, messages List) error {
	f.host.count.uidWrites.Add(1)
	kept, err := f.oldLines()
	if err != nil {
		return err
	}
	text := f.ids.header.append(make([]byte, 0, 80*messages.Len()+100))
	next, err := kept.next()
	for _, m := range messages.All() {
		for err != io.EOF && (err != nil || next.uid < m.UID) {
			next, err = kept.next()
		}
		if err == nil && next.uid == m.UID && next.base == m.Base && !kept.version1 {
			text = append(append(text, next.line...), '\n')
		} else {
			text = appendUidRecord(text, m.UID, m.Base, m.FileSize, m.wire())
		}
	}
	if !lock.held() {
		return temporary("cannot lock the folder", lock.path, ErrLocked)
	}
	if err := f.replaceUIDs(text); err != nil {
		return err
	}
	clear(f.absent)
	f.ids.lines, f.ids.size, f.ids.rewrite = messages.Len(), int64(len(text)), false
	return nil
}

// oldLines opens the records of the uidlist that is there.
func (f *Folder) oldLines() (*uidReader, error) {
	u := new(uidReader)
	file, _, err := f.openUIDs()
	if file == nil || err != nil {
		return u, err
	}
	defer file.Close()
	if _, err := u.readFile(file); err != nil {
		return nil, err
	}
	if _, err := u.header(); err != nil {
		u.text = ""
	}
	return u, nil
}

// replaceUIDs puts text in the place of the uidlist. Its temporary name is
// Dovecot's; whoever left one did not have the lock any more.
func (f *Folder) replaceUIDs(text []byte) error {
	tmp := f.path(uidlistName + ".tmp")
	os.Remove(tmp)
	file, err := f.host.create(tmp)
	if err != nil {
		return err
	}
	if _, err := file.Write(text); err != nil {
		file.Abort()
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		file.Abort()
		return err
	}
	if err := file.Replace(f.path(uidlistName)); err != nil {
		return err
	}
	f.ids.is(&st)
	return nil
}
