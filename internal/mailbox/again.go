package mailbox

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
)

// ErrFiled is the answer of Deliver for a target in which an earlier attempt
// had put the message: it is there, and durable.
var ErrFiled = errors.New("the message is in the mailbox already")

// A mark is what a file name says about the message's identifier.
type mark uint64

func markOf(ident string) mark {
	sum := sha256.Sum256([]byte(ident))
	return mark(binary.BigEndian.Uint64(sum[:]))
}

// markIn returns the mark in a file name, if it has one: 16 hexadecimal digits
// behind the R of the delivery identifier, where others have 8.
func markIn(name string) (mark, bool) {
	_, rest, _ := strings.Cut(name, ".")
	unique, _, _ := strings.Cut(rest, ".")
	_, digits, ok := strings.Cut(unique, "R")
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	return mark(n), err == nil
}

// marks remembers what this process filed last: its reader may have moved or
// removed it when queue-run comes back and asks. And it remembers which marks
// the folders held that were asked for: after a restart the whole queue may
// ask about the same few folders. What that says of a mark that is there is
// looked up once more; what it does not know is delivered, so it can cost a
// second copy, but never a message.
type marks struct {
	mu     sync.Mutex
	dirs   map[string]*folderMarks
	filed  map[filing]struct{}
	latest []filing // the same in a ring
	next   int
}

// filing is a message that is durable in a folder.
type filing struct {
	dir  string
	mark mark
}

// maxFiled is how many of the last deliveries are remembered: those of some
// seconds, which is what a queue-run takes to come back.
const maxFiled = 4096

type folderMarks struct {
	mu   sync.Mutex
	read bool
	set  map[mark]struct{}
}

// maxMarked is how many folders are remembered, and maxMarks how many marks of
// each; a larger folder is listed each time. 20 MB at most.
const (
	maxMarked = 16
	maxMarks  = 1 << 16
)

// of returns the marks of a folder; nil if it is not known and not to be.
func (m *marks) of(dir string, remember bool) *folderMarks {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.dirs[dir]
	if f != nil || !remember {
		return f
	}
	if m.dirs == nil || len(m.dirs) >= maxMarked {
		m.dirs = make(map[string]*folderMarks)
	}
	f = &folderMarks{set: make(map[mark]struct{})}
	m.dirs[dir] = f
	return f
}

// add notes a delivery.
func (m *marks) add(dir, ident string) {
	if ident == "" {
		return
	}
	one := filing{dir, markOf(ident)}
	m.remember(one)
	if f := m.of(dir, false); f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.read {
			f.set[one.mark] = struct{}{}
			f.bound()
		}
	}
}

// bound forgets the marks of a folder that has too many.
func (f *folderMarks) bound() {
	if len(f.set) > maxMarks {
		f.set, f.read = make(map[mark]struct{}), false
	}
}

func (m *marks) remember(one filing) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.filed[one]; known {
		return
	}
	if m.filed == nil {
		m.filed = make(map[filing]struct{})
	}
	if len(m.latest) < maxFiled {
		m.latest = append(m.latest, one)
	} else {
		delete(m.filed, m.latest[m.next])
		m.latest[m.next] = one
		m.next = (m.next + 1) % maxFiled
	}
	m.filed[one] = struct{}{}
}

func (m *marks) has(one filing) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.filed[one]
	return ok
}

// filedBefore returns ErrFiled when a folder holds a message with this mark,
// and makes its name durable.
func (h *Host) filedBefore(dir string, k mark) error {
	if h.marks.has(filing{dir, k}) {
		return ErrFiled
	}
	f := h.marks.of(dir, true)
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.set[k]; f.read && !known {
		return nil
	}
	in := ""
	for _, sub := range []string{"/new", "/cur"} { // in the order in which a message moves
		names, err := readNames(dir + sub)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for _, name := range names {
			m, ok := markIn(name)
			if !ok {
				continue
			}
			f.set[m] = struct{}{}
			if m == k {
				in = sub
			}
		}
	}
	f.read = true
	f.bound()
	if in == "" {
		return nil
	}
	if err := h.o.Disk.SyncDir(dir + in); err != nil {
		return err
	}
	return ErrFiled
}

func readNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}
