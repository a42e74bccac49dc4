// Package commit publishes files. It is the only code in Peyk that may give a
// file its final name, and it keeps one promise: when a call returns nil, a
// power cut cannot take back what it did.
//
// The recipe is write, fsync, rename or link, fsync of the directory. Three
// facts shape it:
//
//   - Without the fsync of the directory ext4 lost the file in every power cut
//     of a single-message trial, so it is never left out.
//   - After a failed fsync the kernel drops the dirty pages and the next fsync
//     of the same file returns success, so an error is final for that file: it
//     is removed, and the caller answers with a temporary failure.
//   - Concurrent fsyncs of one directory are one journal commit, so callers
//     that meet in SyncDir share it.
package commit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// A Step is one of the system calls that publishing a file takes.
type Step string

// The steps, as a Hook sees them.
const (
	StepCreate  Step = "create"
	StepSync    Step = "fsync"
	StepRename  Step = "rename"
	StepLink    Step = "link"
	StepRemove  Step = "unlink"
	StepMkdir   Step = "mkdir"
	StepSyncDir Step = "fsync-dir"
)

// Disk publishes files; one serves a whole process. The zero value is ready.
type Disk struct {
	// Hook, if set, is called before each step; its error replaces the step.
	// Tests use it to fail or to die at every step in turn. It must be set
	// before the Disk is used.
	Hook func(step Step, path string) error

	mu   sync.Mutex
	dirs map[string]*dirSync
}

// File is a file that nobody sees yet, under a temporary name.
type File struct {
	*os.File
	disk *Disk
}

// Create makes a new file at the temporary name path, which must not exist,
// with the permissions perm less the umask.
func (d *Disk) Create(path string, perm os.FileMode) (*File, error) {
	if err := d.step(StepCreate, path); err != nil {
		return nil, err
	}
	fd, err := open(path, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_NOFOLLOW, perm)
	if err != nil {
		return nil, err
	}
	return &File{File: os.NewFile(uintptr(fd), path), disk: d}, nil
}

// open is os.OpenFile without the five system calls by which that finds out
// that files and directories cannot be polled.
func open(path string, flags int, perm os.FileMode) (fd int, err error) {
	for {
		fd, err = unix.Open(path, flags|unix.O_CLOEXEC, uint32(perm.Perm()))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return fd, nil
	}
}

// Publish makes the file durable and then visible as final, which must not
// exist: fsync, rename, fsync of the directory. The file is closed whatever
// happens; after an error neither name is left.
func (f *File) Publish(final string) error {
	if err := f.syncAndClose(); err != nil {
		return err
	}
	return f.disk.publish(f.Name(), final, unix.RENAME_NOREPLACE)
}

// Replace is Publish, but takes the place of a file that is there.
func (f *File) Replace(final string) error {
	if err := f.syncAndClose(); err != nil {
		return err
	}
	return f.disk.publish(f.Name(), final, 0)
}

// PublishChecked makes the file visible as final and then durable with a
// single fsync, which commits the new name as well: half the cache flushes of
// Publish. A power cut in between may leave a torn file under its final name,
// so it is only for formats that show their own truncation, such as a queue
// file with its octet count. The file is closed whatever happens; after an
// error neither name is left, or, with ErrTaken, somebody has it.
func (f *File) PublishChecked(final string) error {
	err := f.disk.rename(f.Name(), final, unix.RENAME_NOREPLACE)
	if err != nil {
		f.Abort()
		return err
	}
	err = f.sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		return nil
	}
	if gone := os.Remove(final); errors.Is(gone, os.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrTaken, err)
	}
	return err
}

// ErrTaken means that somebody took a file away after it had become visible
// and before it was durable: it is whole, unless the power fails.
var ErrTaken = errors.New("it was taken before it was durable")

// LinkChecked is PublishChecked for a file that its writer means to use again:
// final becomes a second name beside the temporary one, and the file stays
// open. After an error of the link everything is as it was; after one of the
// fsync the file is gone, with both its names.
func (f *File) LinkChecked(final string) error {
	if err := f.disk.LinkUnsynced(f.Name(), final); err != nil {
		return err
	}
	err := f.sync()
	if err != nil {
		os.Remove(final)
		f.Abort()
	}
	return err
}

// Unnamed reports whether the file has no name but its temporary one, and no
// lock (flock(2)): what LinkChecked published has been removed by whoever took
// it, everywhere, and nobody still works on it.
func (f *File) Unnamed() bool {
	fd := int(f.Fd())
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Nlink != 1 {
		return false
	}
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	return unix.Flock(fd, unix.LOCK_UN) == nil
}

// Abort closes the file and removes it. Calling it after Publish, Replace or
// PublishChecked does nothing.
func (f *File) Abort() {
	if err := f.Close(); errors.Is(err, os.ErrClosed) {
		return
	}
	os.Remove(f.Name())
}

// Finish makes the content durable and closes the file, which keeps its
// temporary name: the caller gives it its names with LinkUnsynced and
// MoveUnsynced, then syncs the directories. After an error the file is gone.
func (f *File) Finish() error { return f.syncAndClose() }

// Settle is Finish for several files at once, and runs beside them work that
// has to be durable at the same time: their fsyncs share journal commits. The
// first error is returned; the files that have one are gone.
func Settle(files []*File, work func() error) error {
	var wg sync.WaitGroup
	errs := make([]error, len(files))
	for i, f := range files {
		f.startWriting()
		wg.Go(func() { errs[i] = f.Finish() })
	}
	err := work()
	wg.Wait()
	return errors.Join(append(errs, err)...)
}

// startWriting has the kernel begin to write the content, so that the files
// get their places on the disk before the first journal commit.
func (f *File) startWriting() {
	unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}

func (f *File) syncAndClose() error {
	err := f.sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func (f *File) sync() error {
	if err := f.disk.step(StepSync, f.Name()); err != nil {
		return err
	}
	return f.Sync()
}

func (d *Disk) publish(from, to string, flags uint) error {
	err := d.rename(from, to, flags)
	if err != nil {
		os.Remove(from)
		return err
	}
	if err := d.SyncDir(filepath.Dir(to)); err != nil {
		if flags&unix.RENAME_NOREPLACE != 0 {
			os.Remove(to)
		}
		return err
	}
	return nil
}

func (d *Disk) rename(from, to string, flags uint) error {
	if err := d.step(StepRename, to); err != nil {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
	if flags != 0 && (err == unix.EINVAL || err == unix.ENOSYS) {
		return d.renameByLink(from, to) // a file system without RENAME_NOREPLACE, such as NFS
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (d *Disk) renameByLink(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

// ReplaceFile makes data the content of path, at once and durably: a reader
// sees the old content or the new one, never a mixture. The temporary name
// stands beside path and begins with a dot.
func (d *Disk) ReplaceFile(path string, data []byte, perm os.FileMode) error {
	tmp, err := d.createBeside(path, perm)
	if err != nil {
		return err
	}
	if _, err := tmp.Write(data); err != nil {
		tmp.Abort()
		return err
	}
	return tmp.Replace(path)
}

// createBeside makes a temporary file next to path. What a process that died
// left is passed over; Sweep removes it.
func (d *Disk) createBeside(path string, perm os.FileMode) (*File, error) {
	dir, base := filepath.Split(path)
	for n := 0; ; n++ {
		name := filepath.Join(dir, fmt.Sprintf(".%s.%d.%d.tmp", base, os.Getpid(), n))
		f, err := d.Create(name, perm)
		if !errors.Is(err, os.ErrExist) || n == 100 {
			return f, err
		}
	}
}

// Link gives the file a second, durable name, which must not exist.
func (d *Disk) Link(from, to string) error {
	if err := d.LinkUnsynced(from, to); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(to))
}

// LinkUnsynced is Link without the fsync of the directory: the caller links
// several files and then calls SyncDir once, before it promises anything.
func (d *Disk) LinkUnsynced(from, to string) error {
	if err := d.step(StepLink, to); err != nil {
		return err
	}
	return os.Link(from, to)
}

// Rename moves a file that is durable already, and makes the move durable. It
// replaces what stands at to.
func (d *Disk) Rename(from, to string) error {
	if err := d.RenameUnsynced(from, to); err != nil {
		return err
	}
	if err := d.SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return d.SyncDir(filepath.Dir(from))
}

// RenameUnsynced moves a file; a power cut may undo the move, but not lose
// the file. It replaces what stands at to.
func (d *Disk) RenameUnsynced(from, to string) error { return d.rename(from, to, 0) }

// MoveUnsynced is RenameUnsynced, but never takes the place of a file: the
// error is os.ErrExist then.
func (d *Disk) MoveUnsynced(from, to string) error { return d.rename(from, to, unix.RENAME_NOREPLACE) }

// Remove unlinks a file; a power cut may bring it back. Call SyncDir to rule
// that out.
func (d *Disk) Remove(path string) error {
	if err := d.step(StepRemove, path); err != nil {
		return err
	}
	return os.Remove(path)
}

// Mkdir makes a directory, durably; after an error it is not there.
func (d *Disk) Mkdir(path string, perm os.FileMode) error {
	if err := d.step(StepMkdir, path); err != nil {
		return err
	}
	if err := os.Mkdir(path, perm); err != nil {
		return err
	}
	err := d.SyncDir(filepath.Dir(path))
	if err != nil {
		os.Remove(path)
	}
	return err
}

// Append writes one record to the end of an open file and makes it durable.
// The error is final: the file may end with a torn record, which its format
// must show.
func (d *Disk) Append(f *os.File, record []byte) error {
	if _, err := f.Write(record); err != nil {
		return err
	}
	if err := d.step(StepSync, f.Name()); err != nil {
		return err
	}
	return unix.Fdatasync(int(f.Fd()))
}

func (d *Disk) step(s Step, path string) error {
	if d.Hook == nil {
		return nil
	}
	return d.Hook(s, path)
}
