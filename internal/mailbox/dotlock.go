package mailbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/status"
)

// How Dovecot treats dovecot-uidlist.lock, and so do we.
const (
	lockStale   = 120 * time.Second // unchanged for so long: its owner is dead
	lockTimeout = lockStale + 2*time.Second
	lockFresh   = 2 * time.Second // younger than this: its owner is alive
)

// dotlock is a lock file that we hold. It stays open, so that its inode cannot
// become another lock's while we believe it to be ours.
type dotlock struct {
	path string
	file *os.File
	info os.FileInfo
}

// locker takes dot locks for one process.
type locker struct {
	host    string
	pid     int
	now     func() time.Time
	started time.Time // a lock with our pid that is older is of a former life
	booted  time.Time // a lock of this host that is older has no owner any more
	timeout time.Duration
}

// lock takes path, which ends in ".lock", for changes to the file protects.
// It waits as long as the lock changes hands, takes over a stale one, and
// fails with ErrLocked.
func (l *locker) lock(ctx context.Context, path, protects string) (*dotlock, error) {
	deadline := time.Now().Add(l.timeout)
	for wait := time.Millisecond; ; wait = min(2*wait, 25*time.Millisecond) {
		d, err := l.try(path)
		if d != nil || err != nil {
			return d, err
		}
		if old := l.stale(path, protects); old != nil {
			l.breakLock(path, old)
			continue
		}
		if time.Now().After(deadline) {
			return nil, status.New(451, "4.2.0", "cannot lock the folder, another program holds it").Because(path, ErrLocked)
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// try makes the lock file; nil and no error when somebody has it.
func (l *locker) try(path string) (*dotlock, error) {
	f, err := l.create(path)
	if errors.Is(err, os.ErrExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		os.Remove(path)
		return nil, err
	}
	return &dotlock{path: path, file: f, info: info}, nil
}

// create makes a lock file that says whose it is from the first moment: who
// is killed leaves none that others can only wait for.
func (l *locker) create(path string) (*os.File, error) {
	text := fmt.Sprintf("%d:%s", l.pid, l.host)
	fd, err := unix.Open(filepath.Dir(path), unix.O_WRONLY|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return createInPlace(path, text)
	}
	f := os.NewFile(uintptr(fd), path)
	if _, err = f.WriteString(text); err == nil {
		err = unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	}
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return createInPlace(path, text)
}

// createInPlace is create where files without a name are not known.
func createInPlace(path, text string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err == nil {
		f.WriteString(text) // without it the lock is only aged, not probed
	}
	return f, err
}

// stale returns the lock file if its owner is dead: its process is gone, or
// the host was started since, or the lock lost its content in a power cut, or
// neither the lock nor the file it protects has changed for two minutes.
func (l *locker) stale(path, protects string) os.FileInfo {
	info, err := os.Lstat(path)
	if err != nil {
		return nil // released: try again
	}
	if l.dead(path, protects, info) {
		return info
	}
	return nil
}

func (l *locker) dead(path, protects string, info os.FileInfo) bool {
	age := l.now().Sub(info.ModTime())
	if age >= 0 && age < lockFresh {
		return false
	}
	if info.Size() == 0 {
		return true // the power was cut: nobody leaves it empty for longer than a moment
	}
	if pid := l.owner(path); pid > 0 {
		if info.ModTime().Before(l.booted) {
			return true // whoever has that number now is another
		}
		if pid == l.pid {
			return info.ModTime().Before(l.started)
		}
		return ProcessEnded(pid)
	}
	if age < lockStale {
		return false
	}
	guarded, err := os.Stat(protects)
	return err != nil || l.now().Sub(guarded.ModTime()) >= lockStale
}

// ProcessEnded reports whether a process has ended, also when nobody has asked
// for its exit status yet, as in a container whose first process never does:
// such a one has a number still, and holds no lock any more.
func ProcessEnded(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err == unix.ESRCH || unix.Kill(pid, 0) == unix.ESRCH // Linux before 5.3
	}
	defer unix.Close(fd)
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n == 1
}

// owner returns the process that wrote the lock, 0 when it is of another host
// or does not say.
func (l *locker) owner(path string) int {
	text, err := readRegular(path, 512)
	if err != nil {
		return 0
	}
	pid, host, ok := strings.Cut(strings.TrimSpace(string(text)), ":")
	if !ok || host != l.host {
		return 0
	}
	n, err := strconv.Atoi(pid)
	if err != nil || n <= 0 {
		return 0
	}
	return n
}

// breakLock removes a lock that was found stale. It is moved aside first and
// looked at again, so that a lock that somebody took meanwhile is given back.
func (l *locker) breakLock(path string, judged os.FileInfo) {
	aside := fmt.Sprintf("%s.%d.%d", path, l.pid, time.Now().UnixNano())
	if os.Rename(path, aside) != nil {
		return
	}
	taken, err := os.Lstat(aside)
	if err == nil && (!os.SameFile(judged, taken) || !judged.ModTime().Equal(taken.ModTime())) {
		os.Link(aside, path) // it was a live one after all
	}
	os.Remove(aside)
}

// release gives the lock back, unless somebody took it over meanwhile. A lock
// file that cannot be removed would hold everybody up for as long as we live,
// so that is tried again.
func (d *dotlock) release() {
	if d.remove() == nil {
		d.file.Close()
		return
	}
	go func() {
		defer d.file.Close()
		for wait := time.Millisecond; d.remove() != nil && wait < lockStale; wait *= 2 {
			time.Sleep(wait)
		}
	}()
}

func (d *dotlock) remove() error {
	if !d.held() {
		return nil
	}
	return os.Remove(d.path)
}

// held reports whether the lock is still ours.
func (d *dotlock) held() bool {
	info, err := os.Lstat(d.path)
	return err == nil && os.SameFile(info, d.info)
}
