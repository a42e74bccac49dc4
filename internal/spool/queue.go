package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/commit"
)

// A Place is a directory in which a message can be.
type Place string

// The places, as paths below the spool directory.
const (
	inTmp     Place = "drop/tmp"
	InDrop    Place = "drop/new"
	inQueue   Place = "queue"
	InQueue   Place = inQueue
	InHold    Place = "hold"
	InCorrupt Place = "corrupt"
)

const logSuffix = ".log"

// Queue is the whole spool, for queue-run and mailctl. It is safe for
// concurrent use; two processes may use it, as every message is locked while
// it is worked on.
type Queue struct {
	dir     string
	disk    *commit.Disk
	buffers sync.Pool // of *[]byte, maxBuffered octets each
}

// OpenQueue returns the queue of the spool directory dir. It touches no file.
func OpenQueue(dir string, disk *commit.Disk) *Queue { return &Queue{dir: dir, disk: disk} }

// Dir returns the spool directory.
func (q *Queue) Dir() string { return q.dir }

// Drop returns the way into this queue.
func (q *Queue) Drop() *Drop { return OpenDrop(q.dir, q.disk) }

// DropDir returns the directory in which new messages appear, by rename.
func (q *Queue) DropDir() string { return q.path(InDrop) }

func (q *Queue) path(p Place, elem ...string) string {
	return filepath.Join(q.dir, string(p), filepath.Join(elem...))
}

// Make creates the directories that are missing. Installed systems have them
// from tmpfiles.d, with the owners that peyk-queue(5) lists.
func (q *Queue) Make() error {
	for _, d := range []struct {
		name string
		mode os.FileMode
	}{{"", 0o751}, {"drop", 0o751}, {string(inTmp), dropMode}, {string(InDrop), dropMode},
		{string(inQueue), 0o700}, {string(InHold), 0o700}, {string(InCorrupt), 0o700}} {
		path := filepath.Join(q.dir, d.name)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		err := q.disk.Mkdir(path, d.mode.Perm())
		if err == nil {
			err = os.Chmod(path, d.mode)
		}
		if err != nil {
			return fmt.Errorf("cannot make the queue: %w", err)
		}
	}
	return nil
}

// dropMode is 3730: members of the group may create and rename, not list.
const dropMode = 0o730 | os.ModeSetgid | os.ModeSticky

// Lock makes this process the one scheduler of the queue until the lock is
// closed, or the process ends. It does not wait.
func (q *Queue) Lock() (io.Closer, error) {
	path := filepath.Join(q.dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the queue: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock the queue: another queue-run holds %s", path)
	}
	return f, nil
}

// Dropped lists the names in the drop, in no order.
func (q *Queue) Dropped() ([]string, error) { return names(q.DropDir()) }

func names(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// Take moves drop/new/NAME into the queue. What is not a queue id goes to
// corrupt/, as does a file whose id is taken: the error is ErrCorrupt then. The
// error is os.ErrNotExist when somebody else took it.
//
// Nothing is synced. A power cut may put the file back into the drop, from
// where it is taken again: it is in one place or the other, and journal and
// message are matched by name.
func (q *Queue) Take(name string) error {
	if !ValidID(name) {
		return q.reject(name, errors.New("its name is not a queue id"))
	}
	err := q.disk.MoveUnsynced(q.path(InDrop, name), q.path(inQueue, name))
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if sameFile(q.path(InDrop, name), q.path(inQueue, name)) {
		return q.disk.Remove(q.path(InDrop, name)) // a move by link and unlink was cut short
	}
	return q.reject(name, errors.New("its id is taken"))
}

// TakeFlush takes away the request that Drop.Flush made.
func (q *Queue) TakeFlush(name string) bool {
	return name == flushName && q.disk.Remove(q.path(InDrop, name)) == nil
}

func (q *Queue) reject(name string, why error) error {
	if err := q.moveAside(InDrop, InCorrupt, name); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, why)
}

func sameFile(a, b string) bool {
	x, err := os.Lstat(a)
	if err != nil {
		return false
	}
	y, err := os.Lstat(b)
	return err == nil && os.SameFile(x, y)
}

// moveAside moves a file, durably. In corrupt/ it gets a name that is free;
// elsewhere a name that is taken is an error.
func (q *Queue) moveAside(from, to Place, name string) error {
	target := name
	for n := 1; ; n++ {
		err := q.disk.MoveUnsynced(q.path(from, name), q.path(to, target))
		if err == nil {
			return q.disk.SyncDirs(q.path(to), q.path(from))
		}
		if !errors.Is(err, fs.ErrExist) || to != InCorrupt || n == 1000 {
			return err
		}
		target = fmt.Sprintf("%s.%d", name, n)
	}
}

// Journal reads queue/ID.log: nil when there is none, and no records when a
// crash has left one without any. The error is ErrJournal when it is damaged.
func (q *Queue) Journal(id string) ([]Record, error) {
	records, _, err := readJournal(q.path(inQueue, id+logSuffix))
	return records, err
}

func readJournal(path string) ([]Record, int64, error) {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	records, whole, err := ParseJournal(data)
	if records == nil && err == nil {
		records = []Record{}
	}
	return records, whole, err
}

// readFile is os.ReadFile for the names that often are not there, and with a
// limit.
func readFile(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if st.Size > maxJournal {
		return nil, ErrJournal
	}
	data := make([]byte, st.Size)
	if err := readFull(fd, data, 0); err != nil {
		return nil, err
	}
	return data, nil
}

// Record appends to the journal of a message, durably, with one flush, and two
// more when the journal is new. A record that a crash tore is cut off first.
func (q *Queue) Record(id string, records ...Record) error {
	path := q.path(inQueue, id+logSuffix)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write journal: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := cutTorn(f, info.Size()); err != nil {
		return err
	}
	var lines []byte
	for i := range records {
		lines = AppendRecord(lines, &records[i])
	}
	if err := q.disk.Append(f, lines); err != nil {
		return fmt.Errorf("cannot write journal: %w", err)
	}
	if info.Size() > 0 {
		return nil
	}
	// The name of a new journal, and the message's move from the drop.
	return q.disk.SyncDirs(q.path(inQueue), q.DropDir())
}

// cutTorn removes what follows the last line feed.
func cutTorn(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, size-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	data, err := os.ReadFile(f.Name())
	if err != nil {
		return err
	}
	_, whole, err := ParseJournal(data)
	if err != nil {
		return err
	}
	return f.Truncate(whole)
}

// Finish removes a message with which nothing is left to do. The message goes
// first: a journal without its message is known to be a leftover, a message
// without its journal would be delivered again. Without a journal nothing is
// synced: a power cut may bring the message back, and it is delivered a second
// time, as after any cut just after a delivery.
func (q *Queue) Finish(id string, journalled bool) error {
	if err := q.disk.Remove(q.path(inQueue, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !journalled {
		return nil
	}
	if err := q.disk.SyncDir(q.path(inQueue)); err != nil {
		return err
	}
	return ignoreAbsent(q.disk.Remove(q.path(inQueue, id+logSuffix)))
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// move takes a message, then its journal, from one place to another, durably.
// When it is cut short the journal follows at the next start: see Repair.
func (q *Queue) move(from, to Place, id string) error {
	if err := q.moveAside(from, to, id); err != nil {
		return err
	}
	return ignoreAbsent(q.moveAside(logPlace(from), logPlace(to), id+logSuffix))
}

// logPlace is where the journal of a message lives: the drop has none.
func logPlace(p Place) Place {
	if p == InDrop {
		return inQueue
	}
	return p
}

// Corrupt sets a message of the queue aside, with its journal, because it is
// damaged.
func (q *Queue) Corrupt(id string) error { return q.move(inQueue, InCorrupt, id) }

// SetAside moves a message of the queue to hold/. The caller has it open, and
// so locked.
func (q *Queue) SetAside(id string) error { return q.move(inQueue, InHold, id) }

// journalOf reports whether a name is that of a journal, and whose.
func journalOf(name string) (id string, ok bool) {
	id, ok = strings.CutSuffix(name, logSuffix)
	return id, ok && ValidID(id)
}

// Sweep removes what writers that died left in drop/tmp longer than 36 hours
// ago: no session lasts as long. It returns how many.
func (q *Queue) Sweep(now time.Time) (int, error) {
	const age = 36 * time.Hour
	list, err := names(q.path(inTmp))
	if err != nil {
		return 0, err
	}
	swept := 0
	for _, name := range list {
		info, err := os.Lstat(q.path(inTmp, name))
		if err != nil || !info.Mode().IsRegular() || now.Sub(info.ModTime()) < age {
			continue
		}
		if q.disk.Remove(q.path(inTmp, name)) == nil {
			swept++
		}
	}
	return swept, nil
}
