package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// staleLock is the age at which a lock file belongs to nobody any more.
const staleLock = 10 * time.Minute

// appendMbox appends the message to an mbox file in the recipient's home,
// durably, under both locks that mail programs use: fcntl and a lock file
// beside it. After a failure the file is as it was.
func (a *Agent) appendMbox(ctx context.Context, t *transaction, r *recipient, file string) error {
	err := a.appendLocked(ctx, t, r, file)
	if err != nil {
		return status.New(451, "4.2.0", "cannot append to the file of this account").Because("append to "+file, err)
	}
	a.o.Log.Event(eventlog.Filed, "recipient", r.Address, "to", r.home+"/"+file, "kind", "mbox")
	return nil
}

func (a *Agent) appendLocked(ctx context.Context, t *transaction, r *recipient, file string) error {
	root, err := os.OpenRoot(r.home)
	if err != nil {
		return err
	}
	defer root.Close()
	unlock, err := dotLock(ctx, root, file+".lock", a.o.Now)
	if err != nil {
		return err
	}
	defer unlock()
	f, created, err := openMbox(root, file)
	if err != nil {
		return err
	}
	defer f.Close() // which ends the lock
	if created {    // first: once the message is in it there is no way back
		if err := a.o.Disk.SyncDir(dirOf(r.home, file)); err != nil {
			return err
		}
	}
	if err := lockRecord(ctx, f); err != nil {
		return err
	}
	return a.appendTo(f, t, r)
}

// openMbox opens a regular file for appending, and makes it where it is
// absent.
func openMbox(root *os.Root, file string) (f *os.File, created bool, err error) {
	const flags = os.O_RDWR | os.O_APPEND | unix.O_NONBLOCK
	f, err = root.OpenFile(file, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		created = true
		f, err = root.OpenFile(file, flags|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return nil, false, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, false, err
	}
	return f, created, nil
}

// appendTo writes one message. What a failure leaves is cut off again.
func (a *Agent) appendTo(f *os.File, t *transaction, r *recipient) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	err = a.writeMbox(f, t, r, size)
	if err == nil {
		err = a.o.Disk.Append(f, []byte("\n")) // the blank line that ends a message, and the fsync
	}
	if err != nil {
		return errors.Join(err, f.Truncate(size))
	}
	return nil
}

func (a *Agent) writeMbox(f *os.File, t *transaction, r *recipient, size int64) error {
	w := &mboxWriter{w: f, start: true}
	if size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], size-1); err != nil {
			return err
		}
		if last[0] != '\n' { // somebody else left half a line
			w.buf = append(w.buf, '\n')
		}
	}
	sender := t.mail.Sender
	if sender == "" || bytes.ContainsAny([]byte(sender), " \t\"") {
		sender = "MAILER-DAEMON"
	}
	w.buf = append(w.buf, "From "+sender+"  "+a.o.Now().UTC().Format(time.ANSIC)+"\n"...)
	if err := t.msg.plainText(w, r.Address); err != nil {
		return err
	}
	return w.finish()
}

// mboxWriter quotes lines that look like the beginning of a message, so that
// it can be undone (the mboxrd rule: >*From_ gets one > more), and ends the
// last line.
type mboxWriter struct {
	w     io.Writer
	buf   []byte
	start bool   // at the beginning of a line
	begun []byte // of a line that may turn out to be >*From_
}

var fromLine = []byte("From ")

func (m *mboxWriter) Write(p []byte) (int, error) {
	for _, b := range p {
		m.put(b)
	}
	if len(m.buf) < 32<<10 {
		return len(p), nil
	}
	return len(p), m.flush()
}

func (m *mboxWriter) put(b byte) {
	if !m.start {
		m.buf = append(m.buf, b)
		m.start = b == '\n'
		return
	}
	m.begun = append(m.begun, b)
	tail := bytes.TrimLeft(m.begun, ">")
	if len(tail) < len(fromLine) && bytes.HasPrefix(fromLine, tail) && len(m.begun) < 1000 {
		return // undecided
	}
	if bytes.Equal(tail, fromLine) {
		m.buf = append(m.buf, '>')
	}
	m.decide()
}

func (m *mboxWriter) decide() {
	m.buf = append(m.buf, m.begun...)
	if n := len(m.begun); n > 0 {
		m.start = m.begun[n-1] == '\n'
	}
	m.begun = m.begun[:0]
}

func (m *mboxWriter) flush() error {
	_, err := m.w.Write(m.buf)
	m.buf = m.buf[:0]
	return err
}

func (m *mboxWriter) finish() error {
	m.decide()
	if !m.start {
		m.buf = append(m.buf, '\n')
	}
	return m.flush()
}

// lockRecord takes the lock that belongs to the open file, against other
// programs and against our own goroutines.
func lockRecord(ctx context.Context, f *os.File) error {
	return waitFor(ctx, lockTime, func() error {
		lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
		if err == unix.EAGAIN || err == unix.EACCES {
			return errBusy
		}
		return err
	})
}

// dotLock makes the lock file, which says whose it is. One whose process is
// dead, or that is older than ten minutes, is a leftover.
func dotLock(ctx context.Context, root *os.Root, name string, now func() time.Time) (unlock func(), err error) {
	err = waitFor(ctx, lockTime, func() error {
		err := makeLock(root, name)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if abandoned(root, name, now()) {
			root.Remove(name) // whoever makes the new one first has it
		}
		return errBusy
	})
	return func() { removeLock(root, name) }, err
}

// makeLock makes a lock file that says whose it is from the first moment: who
// is killed leaves none that others can only wait for.
func makeLock(root *os.Root, name string) error {
	dir, err := root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	fd, err := unix.Openat(int(dir.Fd()), ".", unix.O_WRONLY|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return makeLockInPlace(root, name)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if _, err := f.WriteString(lockOwner(os.Getpid())); err != nil {
		return err
	}
	err = unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), int(dir.Fd()), filepath.Base(name), unix.AT_SYMLINK_FOLLOW)
	if err != nil && err != unix.EEXIST {
		return makeLockInPlace(root, name)
	}
	return err
}

// makeLockInPlace is makeLock where files without a name are not known.
func makeLockInPlace(root *os.Root, name string) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.WriteString(lockOwner(os.Getpid())) // without it the lock is only aged
	return f.Close()
}

// lockOwner is what a lock file says: process and host.
func lockOwner(pid int) string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%d:%s\n", pid, host)
}

// abandoned reports whether the owner of a lock file is dead.
func abandoned(root *os.Root, name string, now time.Time) bool {
	info, err := root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > 512 {
		return false
	}
	if now.Sub(info.ModTime()) > staleLock {
		return true
	}
	text, err := root.ReadFile(name)
	if err != nil {
		return false
	}
	digits, _, _ := strings.Cut(string(text), ":")
	pid, err := strconv.Atoi(digits)
	return err == nil && pid > 0 && string(text) == lockOwner(pid) && mailbox.ProcessEnded(pid)
}

// removeLock gives a lock back. If that fails it is tried again for a while:
// the next message would wait ten minutes.
func removeLock(root *os.Root, name string) {
	for wait := time.Millisecond; wait < time.Second; wait *= 4 {
		if err := root.Remove(name); err == nil || errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(wait)
	}
}
