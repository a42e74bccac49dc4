package mailbox

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// stamp tells one state of a directory from another.
type stamp struct {
	dev, ino uint64
	mtime    int64 // nanoseconds
}

// granule is longer than the tick of the clock that stamps directories: a
// change within one tick after another leaves the same time stamp.
const (
	granule       = 20 * time.Millisecond
	coarseGranule = 2 * time.Second // of file systems that keep whole seconds
)

// settled reports whether a stamp taken before at would have moved with any
// change made after at.
func (s stamp) settled(at time.Time) bool {
	g := granule
	if s.mtime%int64(time.Second) == 0 {
		g = coarseGranule
	}
	return at.Sub(time.Unix(0, s.mtime)) > g
}

func stampOf(path string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{dev: uint64(st.Dev), ino: st.Ino, mtime: st.Mtim.Nano()}, nil
}

// readDir calls visit with each name in the directory but those that begin
// with a dot. The name is valid during the call only.
func (h *Host) readDir(path string, visit func(name []byte)) error {
	h.count.dirReads.Add(1)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.PathError{Op: "readdir", Path: path, Err: err}
		}
		if n <= 0 {
			return nil
		}
		eachEntry(buf[:n], func(kind byte, name []byte) {
			if regular(fd, kind, name) {
				visit(name)
			}
		})
	}
}

// eachEntry walks over what getdents(2) returned.
func eachEntry(buf []byte, visit func(kind byte, name []byte)) {
	const header = 19 // inode, offset, length, type
	for len(buf) > header {
		length := int(binary.NativeEndian.Uint16(buf[16:]))
		if length < header || length > len(buf) {
			return
		}
		name := buf[header:length]
		if end := slices.Index(name, 0); end >= 0 {
			name = name[:end]
		}
		if len(name) > 0 && name[0] != '.' {
			visit(buf[18], name)
		}
		buf = buf[length:]
	}
}

// regular reports whether an entry is a plain file. A symbolic link is none:
// it might lead out of the mailbox.
func regular(fd int, kind byte, name []byte) bool {
	if kind != unix.DT_UNKNOWN {
		return kind == unix.DT_REG
	}
	var st unix.Stat_t
	err := unix.Fstatat(fd, string(name), &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// found is a file that the snapshot does not know.
type found struct {
	dir, name string // "new" or "cur"
	base      string
	uid       uint32 // 0: not yet
	size      int64
	wire      int64
	sec, usec int64 // when it was delivered, by its name; -1 is unknown
}

// scan compares the files of a folder with the messages that should be there.
type scan struct {
	host     *Host
	dir      string
	messages draft
	index    *index
	lying    map[uint32]bool // messages that lie in new/
	seen     bitset          // messages whose file was found
	used     uint64          // keywords met
	curKnown bool            // cur was not listed: what was there is there
	more     []moreBits
	expunged []uint32 // to be taken out when the change is done
	unknown  map[string]found
	strange  []found // their names must be changed before they can get a UID

	newStamp, curStamp stamp
	newOK, curOK       bool // a change after the scan would change the stamp
}

// once lists the folder once. It reports whether nothing moved meanwhile, so
// that a file that was not found is not there.
func (s *scan) once() (quiet bool, err error) {
	start := time.Now()
	if err := s.stamps(&s.newStamp, &s.curStamp); err != nil {
		return false, err
	}
	s.newOK, s.curOK = s.newStamp.settled(start), s.curStamp.settled(start)
	// new comes first: a file moved to cur meanwhile is then seen there.
	if err := s.list("new"); err != nil {
		return false, err
	}
	if !s.curKnown {
		err = s.list("cur")
	}
	var after, afterCur stamp
	err = errors.Join(err, s.stamps(&after, &afterCur))
	quiet = s.newOK && s.curOK && after == s.newStamp && afterCur == s.curStamp
	return quiet, err
}

func (s *scan) stamps(n, c *stamp) (err error) {
	if *n, err = stampOf(s.dir + "/new"); err != nil {
		return err
	}
	*c, err = stampOf(s.dir + "/cur")
	return err
}

func (s *scan) list(dir string) error {
	return s.host.readDir(s.dir+"/"+dir, func(name []byte) { s.visit(dir, name) })
}

// visit takes note of one file.
func (s *scan) visit(dir string, name []byte) {
	base, info := splitName(name)
	if !usable(base) {
		s.strange = append(s.strange, found{dir: dir, name: string(name)})
		return
	}
	i := s.index.find(s.messages.List, base)
	if i < 0 {
		f := found{dir: dir, name: string(name)}
		f.base = f.name[:len(base)]
		s.unknown[f.base] = f
		return
	}
	s.seen.set(i)
	s.compare(i, dir, name, info)
}

// compare brings message i up to what its file name says.
func (s *scan) compare(i int, dir string, name, info []byte) {
	m := s.messages.At(i)
	flags, keywords := parseInfo(name[:len(name)-len(info)], info)
	w := placeOf(dir, info, flags, keywords)
	keywords |= m.Keywords &^ letterBits
	if m.Flags == flags && m.Keywords == keywords && m.where == w && (w != odd || s.messages.path(i) == dir+"/"+string(name)) {
		return
	}
	s.set(i, flags, keywords, w, dir+"/"+string(name))
}

// set gives message i what its file name says; path matters when it is odd.
func (s *scan) set(i int, flags Flags, keywords uint64, w where, path string) {
	m := s.messages.edit(i)
	m.Flags, m.Keywords, m.where = flags, keywords, w
	s.used |= keywords
	s.messages.setPath(i, path)
	if w == inNew {
		s.lying[m.UID] = true
	} else {
		delete(s.lying, m.UID)
	}
}

func placeOf(dir string, info []byte, flags Flags, keywords uint64) where {
	if dir == "new" {
		if len(info) == 0 {
			return inNew
		}
		return odd
	}
	if len(info) == 0 && flags == 0 && keywords == 0 {
		return bare
	}
	var room [48]byte
	if string(appendInfo(room[:0], flags, keywords)) == string(info) {
		return inCur
	}
	return odd
}

// missing returns the positions of messages whose file was not found.
func (s *scan) missing() []int {
	var lost []int
	if s.curKnown {
		for uid := range s.lying {
			if i, ok := s.messages.Index(uid); ok && !s.seen.has(i) {
				lost = append(lost, i)
			}
		}
		slices.Sort(lost)
		return lost
	}
	for i := s.seen.next(0); i < s.messages.Len(); i = s.seen.next(i + 1) {
		lost = append(lost, i)
	}
	return lost
}
