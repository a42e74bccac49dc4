package mailbox

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// changesName is the file of what has changed since the folder cache was
// written: each change with its mod-sequence, in the order in which it was
// noticed. All processes append to it under a lock, and read what others
// appended before they give out mod-sequences of their own, so that all agree.
// It is not synced. Its header tells how long it should be, and which boot of
// the system wrote it last: when it is not what it should be, all messages get
// new mod-sequences, which begin with the time, and so never go back.
const changesName = "peyk-changes"

const (
	changesMagic  = "peyk-ch1"
	changesFixed  = 8 + 8 + 8 + 8 + 4 + 8 + 4
	changesHeader = changesFixed + 8 + 8 + 4
	maxChanges    = 1 << 30
	changesWait   = 10 * time.Second
)

// logHeader begins the file.
type logHeader struct {
	id        uint64 // of this file
	parent    uint64 // the file before it; 0 is none
	parentEnd int64  // what is in the parent up to here, and nothing else, is in the folder cache
	validity  uint32
	floor     uint64 // expunges above this mod-sequence are known; of a file without parent
	length    int64  // at least
	boot      uint64
}

var errChanges = errors.New("not a log of changes, or a broken one")

func (h *logHeader) encode() []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, changesHeader), changesMagic...)
	b = le.AppendUint64(le.AppendUint64(le.AppendUint64(b, h.id), h.parent), uint64(h.parentEnd))
	b = le.AppendUint64(le.AppendUint32(b, h.validity), h.floor)
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli()))
	return append(b, h.encodeLength()...)
}

// encodeLength is the part that is written again after each change.
func (h *logHeader) encodeLength() []byte {
	le := binary.LittleEndian
	b := le.AppendUint64(le.AppendUint64(make([]byte, 0, 20), uint64(h.length)), h.boot)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli())^uint32(h.id))
}

func decodeLogHeader(b []byte) (h logHeader, err error) {
	le := binary.LittleEndian
	if len(b) < changesHeader || string(b[:8]) != changesMagic ||
		le.Uint32(b[changesFixed-4:]) != crc32.Checksum(b[:changesFixed-4], castagnoli()) {
		return h, errChanges
	}
	h = logHeader{id: le.Uint64(b[8:]), parent: le.Uint64(b[16:]), parentEnd: int64(le.Uint64(b[24:])),
		validity: le.Uint32(b[32:]), floor: le.Uint64(b[36:])}
	tail := b[changesFixed:changesHeader]
	if le.Uint32(tail[16:]) != crc32.Checksum(tail[:16], castagnoli())^uint32(h.id) {
		return h, errChanges
	}
	h.length, h.boot = int64(le.Uint64(tail)), le.Uint64(tail[8:])
	if h.id == 0 || h.length < changesHeader || h.length > maxChanges {
		return h, errChanges
	}
	return h, nil
}

// changeLog is the file, open and locked.
type changeLog struct {
	file   *os.File
	header logHeader
	size   int64
	err    error // it cannot be used
	old    bool  // another file has its place
}

// lockChanges opens the log, which it makes when there is none, and waits for
// its lock.
func (f *Folder) lockChanges() (*changeLog, error) {
	path := f.changesPath()
	deadline := time.Now().Add(changesWait)
	for {
		file, err := f.openChanges(path)
		if err != nil {
			return nil, err
		}
		err = flockUntil(file, deadline)
		if err != nil {
			file.Close()
			return nil, err
		}
		var st, now unix.Stat_t
		err = errors.Join(unix.Fstat(int(file.Fd()), &st), unix.Lstat(path, &now))
		if err == nil && st.Ino == now.Ino && st.Dev == now.Dev {
			l := &changeLog{file: file, size: st.Size}
			l.readHeader()
			return l, nil
		}
		file.Close() // it was replaced meanwhile
		if time.Now().After(deadline) {
			return nil, errors.Join(err, ErrLocked)
		}
	}
}

func (f *Folder) openChanges(path string) (*os.File, error) {
	file, err := openPlain(path, unix.O_RDWR|unix.O_NOFOLLOW, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return file, err
	}
	if f.host.o.CacheDir != "" {
		if err := os.MkdirAll(f.host.o.CacheDir, 0o700); err != nil {
			return nil, err
		}
	}
	return openPlain(path, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW, 0o600)
}

func flockUntil(file *os.File, deadline time.Time) error {
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 5*time.Millisecond) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return err
		}
		if time.Now().After(deadline) {
			return ErrLocked
		}
		time.Sleep(wait)
	}
}

func (l *changeLog) readHeader() {
	var b [changesHeader]byte
	if _, l.err = l.file.ReadAt(b[:], 0); l.err == nil {
		l.header, l.err = decodeLogHeader(b[:])
	}
	if l.err == nil && (l.size < l.header.length || l.size > maxChanges) {
		l.err = errChanges
	}
}

func (l *changeLog) unlock() { l.file.Close() }

// records reads the file from pos on. The error tells that it ends before it
// should, or inside a record.
func (l *changeLog) records(pos int64) ([]change, error) {
	if l.err != nil || pos < changesHeader || pos > l.size {
		return nil, errors.Join(l.err, errChanges)
	}
	if pos == l.size {
		return nil, nil
	}
	raw := make([]byte, l.size-pos)
	if _, err := l.file.ReadAt(raw, pos); err != nil {
		return nil, err
	}
	changes, n := decodeChanges(raw)
	if n < len(raw) {
		return changes, errChanges
	}
	return changes, nil
}

// append adds records.
func (l *changeLog) append(records []byte, boot uint64) error {
	if _, err := l.file.WriteAt(records, l.size); err != nil {
		return err
	}
	l.size += int64(len(records))
	l.header.length, l.header.boot = l.size, boot
	_, err := l.file.WriteAt(l.header.encodeLength(), changesFixed)
	return err
}

// bootID names the time from one start of the system to the next.
func bootID() uint64 {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(strings.TrimSpace(string(text))))
	return h.Sum64()
}
