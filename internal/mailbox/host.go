package mailbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-maildir"

	"golang.org/x/sys/unix"

	"peyk/internal/commit"
	"peyk/internal/eventlog"
	"peyk/internal/status"
)

// Host is the mail store of one process; its sessions share folders.
type Host struct {
	o        Options
	locks    *locker
	pid      int
	hostname string        // as it may stand in a file name
	counter  atomic.Uint64 // in file names
	chmod    bool          // the umask takes permissions from the owner
	buffers  sync.Pool     // *[]byte for messages being written
	watch    *watcher      // nil: none
	marks    marks
	swept    swept
	count    counters
	boot     uint64 // names the time from one start of the system to the next

	mu       sync.Mutex
	accounts map[string]*Account
	closed   bool

	metaMu   sync.Mutex
	metaNews map[string]*metaNews // by directory

	randMu sync.Mutex
}

// counters tell the tests what a call cost.
type counters struct {
	dirReads  atomic.Int64 // directories listed
	fileStats atomic.Int64 // messages looked at by stat
	fileReads atomic.Int64 // messages read
	uidReads  atomic.Int64 // uidlists read from their beginning
	uidWrites atomic.Int64 // uidlists written anew
}

// NewHost makes the store of this process.
func NewHost(o Options) (*Host, error) {
	if o.Disk == nil || o.Now == nil || o.Rand == nil {
		return nil, errors.New("cannot make a mailbox host: Disk, Now and Rand are required")
	}
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	h := &Host{o: o, pid: os.Getpid(), hostname: hostInName(o.Hostname), accounts: make(map[string]*Account), metaNews: make(map[string]*metaNews)}
	h.buffers.New = func() any { b := make([]byte, 0, bufferSize); return &b }
	h.chmod = umaskBites()
	h.boot = bootID()
	// Locks and time stamps of directories are compared with the clock of the
	// file system, so no other clock will do here.
	h.locks = &locker{host: lockHost(), pid: h.pid, now: time.Now, started: time.Now(), booted: booted(), timeout: lockTimeout}
	h.watch = newWatcher(o)
	return h, nil
}

// booted returns when this machine was started, or the zero time.
func booted() time.Time {
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(up.Nano()))
}

// lockHost is the name that Dovecot puts into lock files.
func lockHost() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// umaskBites reports whether the umask would take read, write or search
// permission from the owner of a new file.
func umaskBites() bool {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return true // unknown: set every mode
	}
	_, after, ok := strings.Cut(string(text), "\nUmask:")
	if !ok {
		return true
	}
	var mask uint32
	if _, err := fmt.Sscanf(after, "%o", &mask); err != nil {
		return true
	}
	return mask&0o700 != 0
}

// Close stops the watcher. Accounts that are still open can be used, but hear
// of no more changes.
func (h *Host) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	h.watch.close()
}

// Open opens the Maildir at root, and makes it when it is absent. An account
// that is open already is shared. Close it.
func (h *Host) Open(root string) (*Account, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	a, fresh, err := h.share(root)
	if fresh {
		h.sweep(root)
	}
	return a, err
}

// share returns the account at root, and whether it was not open yet.
func (h *Host) share(root string) (a *Account, fresh bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a := h.accounts[root]; a != nil {
		a.refs++
		return a, false, nil
	}
	if err := h.initMaildir(root); err != nil {
		return nil, false, temporary("cannot open the mailbox", root, err)
	}
	a = &Account{host: h, root: root, refs: 1, folders: make(map[string]*Folder)}
	h.accounts[root] = a
	return a, true, nil
}

// initMaildir makes root with its cur, new and tmp where they are missing,
// and refuses a symbolic link in their place.
func (h *Host) initMaildir(root string) error {
	err := checkMaildir(root)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(root), 0o700); err != nil {
		return err
	}
	if err := h.makeDirs(root); err != nil {
		return err
	}
	return h.o.Disk.SyncDirs(root, filepath.Dir(root))
}

// makeDirs makes one Maildir directory; those that are there are kept.
func (h *Host) makeDirs(dir string) error {
	if err := maildir.Dir(dir).Init(); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for _, d := range []string{dir, filepath.Join(dir, "cur"), filepath.Join(dir, "new"), filepath.Join(dir, "tmp")} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if !h.chmod {
			continue
		}
		if err := os.Chmod(d, 0o700); err != nil {
			return err
		}
	}
	return checkMaildir(dir)
}

// checkMaildir returns nil when dir and its three directories are
// directories, and not symbolic links to somewhere else.
func checkMaildir(dir string) error {
	info, err := os.Stat(dir) // the admin may place the Maildir itself elsewhere
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return checkDirs(dir)
}

// checkDirs is checkMaildir for a dir that is known to be a directory.
func checkDirs(dir string) error {
	for _, sub := range []string{"/cur", "/new", "/tmp"} {
		info, err := os.Lstat(dir + sub)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is not a directory", dir+sub)
		}
	}
	return nil
}

func (h *Host) random(p []byte) error {
	h.randMu.Lock()
	defer h.randMu.Unlock()
	_, err := io.ReadFull(h.o.Rand, p)
	return err
}

// create makes a new file for writing, with permissions 0600 whatever the
// umask is.
func (h *Host) create(path string) (*commit.File, error) {
	f, err := h.o.Disk.Create(path, 0o600)
	if err == nil && h.chmod {
		err = f.Chmod(0o600)
		if err != nil {
			f.Abort()
		}
	}
	return f, err
}

func (h *Host) trouble(reason, path string, err error) {
	h.o.Log.Event(eventlog.Trouble, "reason", reason, "path", path, "error", err)
}

// temporary makes an error for the network out of one of the system.
func temporary(text, op string, err error) error {
	var e *status.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return status.New(451, "4.3.0", text).Because(op, err)
}
