package mailbox

import (
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// uidState is what a folder knows of its uidlist.
type uidState struct {
	header   uidHeader
	dev, ino uint64
	size     int64 // octets read so far
	lines    int
	read     bool // dev, ino and size are of a file that was read
	rewrite  bool // the file must be written anew: it is old, torn, broken or lost
	doubtful bool // it was torn or lost when we knew nothing for sure: UIDs that were given out may be lost
}

// unchanged reports whether the file on disk is the one we read, wholly.
func (u *uidState) unchanged(path string) bool {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return err == nil && u.read && !u.rewrite && u.same(&st) && st.Size == u.size
}

func (u *uidState) same(st *unix.Stat_t) bool { return uint64(st.Dev) == u.dev && st.Ino == u.ino }

func (u *uidState) is(st *unix.Stat_t) { u.dev, u.ino, u.read = uint64(st.Dev), st.Ino, true }

// raise makes sure that the next UID is above uid.
func (u *uidState) raise(uid uint32) {
	if uid >= u.header.next {
		u.header.next = uid + 1
	}
}

// openUIDs opens the uidlist and says whether it is still the one that we
// read; nil and no error when there is none.
func (f *Folder) openUIDs() (file *os.File, st *unix.Stat_t, err error) {
	file, err = openPlain(f.path(uidlistName), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	st = new(unix.Stat_t)
	if err = unix.Fstat(int(file.Fd()), st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = &os.PathError{Op: "open", Path: file.Name(), Err: errors.New("not a regular file")}
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, st, nil
}

// readUIDs brings the messages of a scan up to the uidlist on disk. It
// reports whether there is anything new in it.
func (f *Folder) readUIDs(s *scan) (fresh bool, err error) {
	file, st, err := f.openUIDs()
	if err != nil {
		return false, err
	}
	if file == nil {
		f.ids.read, f.ids.rewrite, f.ids.doubtful = false, true, !f.sure // identify will write it
		return false, nil
	}
	defer file.Close()
	if f.ids.read && f.ids.same(st) && st.Size >= f.ids.size && st.Size <= maxUidlist {
		if st.Size == f.ids.size {
			return false, nil
		}
		ok, fresh, err := f.readTail(file, s)
		if ok || err != nil {
			return fresh, err
		}
	}
	return true, f.readAll(file, st, s)
}

// readTail reads the lines appended since. It is not ok when they contradict
// what we know.
func (f *Folder) readTail(file *os.File, s *scan) (ok, fresh bool, err error) {
	var u uidReader
	if _, err := file.Seek(f.ids.size, io.SeekStart); err != nil {
		return false, false, err
	}
	n, err := u.readFile(file)
	if err != nil {
		return false, false, err
	}
	f.needIndex(s)
	for {
		r, err := u.next()
		if err == io.EOF {
			break
		}
		if err != nil || f.index.find(s.messages.List, []byte(r.base)) >= 0 || r.uid <= s.messages.lastUID() {
			return false, false, nil
		}
		f.push(s, r.message())
		delete(f.absent, r.base)
		f.ids.raise(r.uid)
		f.ids.lines++
		fresh = true
	}
	f.ids.size += n
	f.ids.rewrite = f.ids.rewrite || u.torn
	return true, fresh, nil
}

func (f *Folder) needIndex(s *scan) {
	if f.index == nil {
		f.index = newIndex(s.messages.List)
	}
}

func (l List) lastUID() uint32 {
	if l.n == 0 {
		return 0
	}
	return l.lasts[len(l.lasts)-1]
}

// message returns a record as a message whose file has not been seen yet.
func (r *uidRecord) message() Message {
	m := Message{UID: r.uid, Base: r.base}
	size, wire := sizesOf(r.base)
	if size < 0 {
		size = r.size
	}
	if wire < 0 {
		wire = r.wire
	}
	m.measured(size, wire)
	return m
}

// measured sets the sizes; if one of them is unknown, -1, so are both.
func (m *Message) measured(size, wire int64) {
	if size < 0 || wire < 0 {
		m.FileSize, m.Size = -1, 0
		return
	}
	m.FileSize, m.Size = size, wire
}

// readAll reads the whole uidlist, which replaces all that we knew but the
// flags and sizes of messages that keep their UID.
func (f *Folder) readAll(file *os.File, st *unix.Stat_t, s *scan) error {
	f.host.count.uidReads.Add(1)
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var u uidReader
	n, err := u.readFile(file)
	if err != nil {
		return err
	}
	h, err := u.header()
	if err != nil {
		f.host.trouble("uidlist is broken, it is written anew", f.path(uidlistName), err)
		f.ids.read, f.ids.rewrite, f.ids.doubtful = false, true, !f.sure
		return nil
	}
	f.needIndex(s)
	old := s.messages.List
	if known := f.ids.header.validity; known != 0 && known != h.validity {
		f.absent = make(map[string]uint32)
		old, f.index = List{}, newIndex(List{})
	} else if known != 0 {
		h.next = max(h.next, f.ids.header.next)
	}
	f.ids = uidState{header: h, size: n, rewrite: u.torn || u.version1 || h.guid == "", doubtful: u.torn && !u.unsynced && !f.sure}
	f.sure = f.sure || !u.torn
	f.ids.is(st)
	f.takeAll(&u, old, s)
	return nil
}

// takeAll makes the messages of s out of all records of the reader.
func (f *Folder) takeAll(u *uidReader, old List, s *scan) {
	var fresh draft
	byBase := newIndexFor(List{}, strings.Count(u.text, "\n"))
	absent := make(map[string]uint32)
	latest := make(map[string]uint32) // of bases that stand there twice
	var drop []uint32
	for {
		r, err := u.next()
		if err == io.EOF {
			break
		}
		f.ids.lines++
		if err != nil {
			f.host.trouble("line of the uidlist is left out", f.path(uidlistName), err)
			f.ids.rewrite = true
			u.last = max(u.last, fresh.lastUID())
			continue
		}
		f.ids.raise(r.uid)
		if f.absent[r.base] == r.uid {
			absent[r.base] = r.uid
			continue
		}
		m := f.known(&r, old)
		if i := byBase.find(fresh.List, []byte(r.base)); i >= 0 { // the later line wins
			drop = append(drop, max(latest[r.base], fresh.At(i).UID))
			latest[r.base] = r.uid
		} else {
			byBase.add(fresh.List, &m)
		}
		fresh.push(m)
		if m.where == odd {
			i, _ := old.Index(m.UID)
			fresh.setPath(fresh.Len()-1, old.path(i))
		}
	}
	s.messages, f.index, f.absent = fresh, byBase, absent
	s.messages.touched = true
	clear(s.lying)
	for _, m := range fresh.All() {
		if m.where == inNew {
			s.lying[m.UID] = true
		}
	}
	if len(drop) > 0 {
		f.ids.rewrite = true
		s.messages.drop(drop)
		f.index = newIndex(s.messages.List)
	}
}

// known returns the message of a record, with what the last snapshot knew.
func (f *Folder) known(r *uidRecord, old List) Message {
	m := r.message()
	i := f.index.find(old, []byte(r.base))
	if i < 0 {
		return m
	}
	o := old.At(i)
	if o.UID != r.uid {
		if m.FileSize < 0 {
			m.FileSize, m.Size = o.FileSize, o.Size
		}
		return m
	}
	base := m.Base
	m = *o
	m.Base = base // the old text of the uidlist may go
	return m
}
