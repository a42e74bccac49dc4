package mailbox

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// factsName is the file that remembers the facts of a folder's messages, so
// that a message is read once in its life, not once a session. It grows at its
// end, under flock, by whole batches that are not synced; checksums show what
// is torn or out of place, and that is read anew from the message. It is
// rewritten, and replaced by rename, when more than half of it is of no use.
// It may be removed at any time.
const factsName = "peyk-facts"

// minFacts is the number of messages from which a folder is worth the file.
const minFacts = 8

// maxPending is how much a batch collects.
const maxPending = 256 << 10

// minUnindexed is how much may follow the last index, at least: what follows
// it is read when a process first looks at the file.
const minUnindexed = 512 << 10

// A factsFile is the cache of one folder as this process knows it.
type factsFile struct {
	path string
	host *Host

	mu      sync.Mutex // all below
	file    *os.File   // nil: not open
	head    factsFileHead
	entries []factsEntry // ascending by UID
	records int          // that the file has, those of no use included
	end     int64        // how far the file was read
	index   int64        // where the last index begins; 0: there is none
	indexed int64        // where the records that it does not know begin
	torn    bool         // what follows end makes no sense
	retry   time.Time    // before that, nothing is tried again

	pending []byte // records without their checksums
	writing sync.Mutex
	wait    sync.WaitGroup
}

func (f *Folder) factsPath() string {
	if f.host.o.CacheDir == "" {
		return f.path(factsName)
	}
	return filepath.Join(f.host.o.CacheDir, fmt.Sprintf("%x", sha256.Sum256([]byte(f.dir)))[:32]+".facts")
}

// A factsPlace is where a record of facts stands.
type factsPlace struct {
	file *os.File
	head factsFileHead
	at   int64
	have Need
}

// find returns where the facts of a message are.
func (x *factsFile) find(uid uint32) (p factsPlace, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.file == nil {
		return p, false
	}
	i, ok := slices.BinarySearchFunc(x.entries, uid, func(e factsEntry, uid uint32) int { return cmp.Compare(e.uid, uid) })
	if !ok {
		return p, false
	}
	return factsPlace{x.file, x.head, x.entries[i].offset(), x.entries[i].have}, true
}

// catchUp opens the file, or reads what other processes have appended to it.
func (x *factsFile) catchUp(validity uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.catchUpLocked(validity); err != nil && !errors.Is(err, os.ErrNotExist) {
		x.trouble(err)
	}
}

// trouble gives the file up for a while.
func (x *factsFile) trouble(err error) {
	x.forget()
	x.retry = time.Now().Add(time.Minute)
	x.host.trouble("cannot use the cache of message facts", x.path, err)
}

func (x *factsFile) catchUpLocked(validity uint32) error {
	if x.file != nil && x.head.validity == validity {
		size, current := x.current()
		if current && size >= x.end {
			x.readTail(size)
			return nil
		}
	}
	x.forget()
	if time.Now().Before(x.retry) {
		return nil
	}
	return x.open(validity)
}

// current returns how long the file is, and whether it still has its name.
func (x *factsFile) current() (size int64, ok bool) {
	var here, there unix.Stat_t
	if unix.Lstat(x.path, &there) != nil || unix.Fstat(int(x.file.Fd()), &here) != nil {
		return 0, false
	}
	return here.Size, here.Ino == there.Ino && here.Dev == there.Dev
}

// forget lets go of the file.
func (x *factsFile) forget() {
	if x.file != nil {
		x.file.Close()
	}
	x.file, x.entries, x.records, x.torn = nil, nil, 0, false
}

// open opens the file, if it is for this UIDVALIDITY.
func (x *factsFile) open(validity uint32) error {
	file, size, err := openCache(x.path)
	if err != nil {
		return err
	}
	var raw [factsHeader]byte
	file.ReadAt(raw[:], 0)
	head, ok := decodeFactsHead(raw[:])
	if !ok || head.validity != validity {
		file.Close() // the next batch takes its place
		return nil
	}
	x.file, x.head, x.end, x.index, x.indexed = file, head, factsHeader, 0, factsHeader
	x.readIndex(size)
	x.readTail(size)
	return nil
}

func openCache(path string) (*os.File, int64, error) {
	const how = unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_APPEND|how, 0)
	if err == unix.EACCES || err == unix.EROFS {
		fd, err = unix.Open(path, unix.O_RDONLY|how, 0)
	}
	if err != nil {
		return nil, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(fd)
		return nil, 0, &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	unix.SetNonblock(fd, false) // keeps the file from the poller
	return os.NewFile(uintptr(fd), path), st.Size, nil
}

// readIndex begins with the last index, if the file ends with a footer that
// names one.
func (x *factsFile) readIndex(size int64) {
	at := size - factsFooter
	if at < factsHeader {
		return
	}
	raw := make([]byte, factsFooter)
	x.file.ReadAt(raw, at)
	footer := x.head.record(raw, at)
	if footer == nil || footer[15] != recordFooter {
		return
	}
	index := int64(binary.LittleEndian.Uint64(footer[recordHead:]))
	if index < factsHeader || index > at-recordHead {
		return
	}
	raw = raw[:recordHead]
	x.file.ReadAt(raw, index)
	n := int64(recordLength(raw))
	if n == 0 || index+n > size {
		return
	}
	raw = make([]byte, n)
	x.file.ReadAt(raw, index)
	if raw = x.head.record(raw, index); raw == nil {
		return
	}
	if entries, records, ok := decodeIndex(raw, index); ok {
		x.entries, x.records, x.index, x.indexed, x.end = entries, records, index, index+n, index+n
	}
}

// readTail takes in the records from end up to size. What another process is
// just writing looks torn too: only under the lock this is the truth.
func (x *factsFile) readTail(size int64) {
	x.torn = false
	if x.end == size {
		return
	}
	r := &factsReader{}
	var news []factsEntry
	for x.end < size {
		b := r.record(factsPlace{file: x.file, head: x.head, at: x.end}, size)
		if b == nil {
			x.torn = true
			break
		}
		switch b[15] {
		case recordFacts:
			news = append(news, factsEntry{recordUID(b), uint32(x.end / factsAlign), recordHave(b)})
		case recordIndex:
			x.index, x.indexed = x.end, x.end+int64(len(b))
		}
		x.end += int64(len(b))
	}
	x.add(news)
}

// add merges new entries in; a later one takes the place of an earlier.
func (x *factsFile) add(news []factsEntry) {
	x.records += len(news)
	byUID := func(a, b factsEntry) int { return cmp.Compare(a.uid, b.uid) }
	if !slices.IsSortedFunc(news, byUID) {
		slices.SortStableFunc(news, byUID)
	}
	news = lastOfEach(news)
	if len(news) == 0 {
		return
	}
	n := len(x.entries)
	if n == 0 || x.entries[n-1].uid < news[0].uid {
		x.entries = append(x.entries, news...)
		return
	}
	x.entries = mergeEntries(x.entries, news)
}

func lastOfEach(sorted []factsEntry) []factsEntry {
	out := sorted[:0]
	for i, e := range sorted {
		if i+1 < len(sorted) && sorted[i+1].uid == e.uid {
			continue
		}
		out = append(out, e)
	}
	return out
}

func mergeEntries(old, news []factsEntry) []factsEntry {
	out := make([]factsEntry, 0, len(old)+len(news)+len(old)/8)
	for _, e := range news {
		i, replaces := slices.BinarySearchFunc(old, e, func(a, b factsEntry) int { return cmp.Compare(a.uid, b.uid) })
		out = append(append(out, old[:i]...), e)
		if replaces {
			i++
		}
		old = old[i:]
	}
	return append(out, old...)
}

// A factsReader reads records through a buffer: the more in a row, the more at
// a time. What it returns holds until the next call.
type factsReader struct {
	buf  []byte
	have []byte // of buf, what was read
	from int64
	of   *os.File
	next int // how much to read next
}

// The least and the most that is read at a time.
const (
	minFactsRead = 8 << 10
	maxFactsRead = 128 << 10
)

// record returns the record at a place; nil when there is no whole one. limit
// is the end of the file, or less.
func (r *factsReader) record(p factsPlace, limit int64) []byte {
	if r.of != p.file || p.at < r.from || p.at+recordHead > r.from+int64(len(r.have)) {
		r.fill(p, 0, limit)
	}
	b := r.have[max(0, min(p.at-r.from, int64(len(r.have)))):]
	n := recordLength(b)
	if n > len(b) {
		r.fill(p, n, limit)
		b = r.have
	}
	return p.head.record(b, p.at)
}

// fill reads from the place on, n octets at least if the file has them.
func (r *factsReader) fill(p factsPlace, n int, limit int64) {
	inRow := r.of == p.file && p.at >= r.from && p.at <= r.from+int64(len(r.have))+minFactsRead
	if r.next *= 4; !inRow {
		r.next = 0
	}
	r.next = min(max(r.next, minFactsRead), maxFactsRead)
	n = int(min(int64(max(n, r.next)), max(limit-p.at, 0)))
	if n > len(r.buf) {
		r.buf = make([]byte, max(n, min(2*len(r.buf), maxFactsRead)))
	}
	got, _ := p.file.ReadAt(r.buf[:n], p.at)
	r.have, r.from, r.of = r.buf[:got], p.at, p.file
}
