package mailbox

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/commit"
)

// Append adds a message (RFC 3501 §6.3.11): write is given a writer that takes
// CRLF or LF. It is durable when Append returns; on an error nothing is
// visible. A zero date is now.
func (f *Folder) Append(flags Flags, keywords []string, date time.Time, write func(io.Writer) error) (uid uint32, err error) {
	uids, err := f.AppendAll([]NewMessage{{Flags: flags, Keywords: keywords, Date: date, Write: write}})
	if err != nil {
		return 0, err
	}
	return uids[0], nil
}

// AppendAll adds all of the messages or none (RFC 3502).
func (f *Folder) AppendAll(messages []NewMessage) ([]uint32, error) {
	a := f.Begin()
	defer a.Abort()
	for i := range messages {
		if err := a.Add(messages[i]); err != nil {
			return nil, temporary("cannot store the message", f.dir, err)
		}
	}
	return a.Commit()
}

// item is a message that is about to get its place in cur/.
type item struct {
	base       string
	flags      Flags
	keywords   []string
	size, wire int64
	date       uint32                   // if it is known
	tmp        string                   // temporary file, if it has one
	file       *commit.File             // the same, as long as it is not durable
	put        func(final string) error // gives the file its name
	undo       func(final string)       // takes it back
}

func dropItems(items []item) {
	for _, it := range items {
		if it.file != nil {
			it.file.Abort()
		} else if it.tmp != "" {
			os.Remove(it.tmp)
		}
	}
}

// unsettled returns the files of items that are not durable yet, and counts on
// the caller to change that: after an error they are gone.
func unsettled(items []item) (files []*commit.File) {
	for i := range items {
		if items[i].file != nil {
			files = append(files, items[i].file)
			items[i].file = nil
		}
	}
	return files
}

// writeItem writes one message into tmp/. It is not durable yet.
func (f *Folder) writeItem(m *NewMessage) (item, error) {
	w, err := f.host.writeUnsynced(f.dir, "", func(w *mailWriter) error {
		if err := m.Write(w); err != nil || m.Date.IsZero() {
			return err
		}
		w.flush() // the time stays as it is set only when nothing is written after it
		return w.setTime(m.Date)
	})
	if err != nil {
		return item{}, err
	}
	name := w.tmp[strings.LastIndexByte(w.tmp, '/')+1:]
	return item{base: withSizes(name, w.size, w.wire), flags: m.Flags, keywords: m.Keywords,
		size: w.size, wire: w.wire, date: seconds(m.Date), tmp: w.tmp, file: w.file,
		put:  func(final string) error { return f.host.o.Disk.MoveUnsynced(w.tmp, final) },
		undo: func(final string) { os.Remove(final) },
	}, nil
}

// seconds returns a time as messages keep it, 0 when it is unknown or cannot
// be kept.
func seconds(at time.Time) uint32 {
	if s := at.Unix(); s > 0 && s < 1<<32 {
		return uint32(s)
	}
	return 0
}

func (h *Host) now() uint32 { return seconds(h.o.Now()) }

// setTime sets the modification time, which is the message's INTERNALDATE.
func (w *mailWriter) setTime(at time.Time) error {
	if w.cr {
		w.cr = false
		w.put([]byte{'\r'})
		w.flush()
	}
	if w.err != nil {
		return w.err
	}
	return os.Chtimes(w.file.Name(), at, at)
}

// add gives items their places in cur/ and UIDs: all of them or none. Others
// that find the files wait for the lock before they number them. A line of the
// uidlist whose file is not there yet would be taken for one of a message that
// is gone. f.mu is held.
func (f *Folder) add(ctx context.Context, items []item) ([]uint32, error) {
	bits := make([]uint64, len(items))
	for i := range items {
		var err error
		if bits[i], err = f.keywordBits(ctx, items[i].keywords, true); err != nil {
			return nil, err
		}
	}
	lock, list, tail, err := f.lockTail(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.release()
	defer list.Close()
	fresh := make([]Message, len(items))
	var lines []byte
	for i, it := range items {
		m := Message{UID: tail.next + uint32(i), Base: it.base, Flags: it.flags, Keywords: bits[i], FileSize: it.size, Size: it.wire, date: it.date, saved: f.host.now()}
		lines = appendUidRecord(lines, m.UID, m.Base, m.FileSize, m.Size)
		fresh[i] = m
	}
	if err := commit.Settle(unsettled(items), func() error { return f.appendMore(lock, tail, fresh) }); err != nil {
		return nil, err
	}
	if err := f.putAll(items, fresh); err != nil {
		return nil, err
	}
	if err := f.listAll(list, lock, lines); err != nil {
		f.takeBack(items, fresh)
		f.ids.read = false // there may be lines without files
		return nil, err
	}
	f.took(tail, int64(len(lines)), fresh)
	uids := make([]uint32, len(fresh))
	for i := range fresh {
		uids[i] = fresh[i].UID
	}
	return uids, nil
}

// appendMore saves the keywords without a letter of new messages.
func (f *Folder) appendMore(lock *dotlock, tail uidTail, fresh []Message) error {
	var more []moreBits
	for i := range fresh {
		if bits := fresh[i].Keywords &^ letterBits; bits != 0 {
			more = append(more, moreBits{fresh[i].UID, bits})
		}
	}
	if len(more) == 0 {
		return nil
	}
	f.ids.header.validity = tail.validity
	return f.saveMore(lock, more)
}

// putAll moves the items into cur/, and takes all back when one fails.
func (f *Folder) putAll(items []item, fresh []Message) error {
	own := f.changeCur()
	defer own.done()
	for i := range items {
		to := fresh[i].usualPath()
		own.expect(to)
		if err := items[i].put(f.path(to)); err != nil {
			f.takeBack(items[:i], fresh)
			return err
		}
	}
	return nil
}

// listAll makes the places of messages and their UIDs durable; both at once,
// so that they share a journal commit.
func (f *Folder) listAll(list *os.File, lock *dotlock, lines []byte) error {
	synced := make(chan error, 1)
	go func() { synced <- f.host.o.Disk.SyncDir(f.path("cur")) }()
	return errors.Join(f.appendTo(list, lock, lines), <-synced)
}

func (f *Folder) takeBack(items []item, fresh []Message) {
	for i := range items {
		items[i].undo(f.path(fresh[i].usualPath()))
	}
	f.dirty.Store(true)
}

// took publishes messages that we added, unless others added some before
// them that we have not seen yet: then the next Refresh does it.
func (f *Folder) took(tail uidTail, octets int64, fresh []Message) {
	for i := range fresh {
		f.recent[fresh[i].UID] = true
	}
	known := f.snap.Load() != nil && f.ids.read && f.ids.dev == tail.dev && f.ids.ino == tail.ino && f.ids.size == tail.size
	if !known {
		f.ids.header.validity = tail.validity
		f.dirty.Store(true)
		f.announce()
		return
	}
	f.ids.size += octets
	f.ids.lines += len(fresh)
	f.ids.raise(fresh[len(fresh)-1].UID)
	f.amend(func(s *scan) {
		for _, m := range fresh {
			m.Recent, s.used = true, s.used|m.Keywords
			f.push(s, m)
		}
	})
}

// uidTail is what one needs of a uidlist to append to it.
type uidTail struct {
	dev, ino uint64
	size     int64
	validity uint32
	next     uint32
}

// lockTail takes the lock of the uidlist, opens it and reads its ends. One
// that cannot be appended to is mended by a refresh first.
func (f *Folder) lockTail(ctx context.Context) (*dotlock, *os.File, uidTail, error) {
	for range 3 {
		lock, err := f.lockUIDs(ctx)
		if err != nil {
			return nil, nil, uidTail{}, err
		}
		list, tail, ok, err := f.readEnds()
		if ok && err == nil {
			return lock, list, tail, nil
		}
		list.Close()
		lock.release()
		if err != nil {
			return nil, nil, tail, err
		}
		f.ids.read, f.newOK = false, false
		if err := f.refresh(ctx, true); err != nil {
			return nil, nil, tail, err
		}
	}
	return nil, nil, uidTail{}, errUidlist
}

// readEnds opens the uidlist for appending and reads the first and the last
// line. It is not ok when the file cannot be appended to.
func (f *Folder) readEnds() (list *os.File, t uidTail, ok bool, err error) {
	list, err = openPlain(f.path(uidlistName), unix.O_RDWR|unix.O_APPEND|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, t, false, nil
	}
	if err != nil {
		return nil, t, false, err
	}
	t, ok, err = f.readTailOf(list)
	return list, t, ok, err
}

func (f *Folder) readTailOf(list *os.File) (t uidTail, ok bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(list.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return t, false, err
	}
	t = uidTail{dev: uint64(st.Dev), ino: st.Ino, size: st.Size}
	first, last, ok := endsOf(list, &st)
	if !ok || !strings.HasPrefix(first, "3 ") {
		return t, false, nil
	}
	h, err := parseUidHeader(first)
	if err != nil || h.guid == "" {
		return t, false, nil
	}
	t.validity, t.next = h.validity, h.next
	if last != first {
		r, err := parseUidRecord(last, false)
		if err != nil {
			return t, false, nil
		}
		t.next = max(t.next, r.uid+1)
	}
	if f.ids.header.validity == t.validity {
		t.next = max(t.next, f.ids.header.next)
	}
	return t, t.next < maxUID-1<<20, nil
}

const endSize = 4096

func endsOf(file *os.File, st *unix.Stat_t) (first, last string, ok bool) {
	head := make([]byte, min(endSize, st.Size))
	end := make([]byte, min(endSize, st.Size))
	_, herr := file.ReadAt(head, 0)
	_, eerr := file.ReadAt(end, st.Size-int64(len(end)))
	if err := errors.Join(herr, eerr); err != nil || len(end) == 0 || end[len(end)-1] != '\n' {
		return "", "", false
	}
	first, _, ok = strings.Cut(string(head), "\n")
	text := string(end[:len(end)-1])
	if st.Size > endSize && !strings.Contains(text, "\n") {
		return "", "", false
	}
	last = text[strings.LastIndexByte(text, '\n')+1:]
	return first, last, ok
}
