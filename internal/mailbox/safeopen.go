package mailbox

import (
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// openFile opens a message for reading. No component below the root of the
// account may be a symbolic link, and none leads out of it.
func (a *Account) openFile(path string) (*os.File, error) {
	root, err := unix.Open(a.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: a.root, Err: err}
	}
	defer unix.Close(root)
	fd, err := openBeneath(root, a.rel(path))
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func openBeneath(root int, rel string) (int, error) {
	fd, err := unix.Openat2(root, rel, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	})
	if err == unix.ENOSYS || err == unix.EPERM || err == unix.EAGAIN {
		return openEach(root, rel) // an old kernel, or a seccomp filter
	}
	return fd, err
}

// openEach does the same without openat2(2): one component after the other.
func openEach(root int, rel string) (int, error) {
	parts := strings.Split(rel, "/")
	dir := root
	for i, part := range parts {
		if part == ".." || part == "" {
			return -1, unix.EXDEV
		}
		flags := unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
		if i < len(parts)-1 {
			flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NOFOLLOW
		}
		fd, err := unix.Openat(dir, part, flags, 0)
		if dir != root {
			unix.Close(dir)
		}
		if err != nil {
			return -1, err
		}
		dir = fd
	}
	return dir, nil
}

// openRegular opens a file for reading that must be a plain one: no symbolic
// link, which may lead out of the mailbox, and no pipe, which may wait for
// ever.
func openRegular(path string) (*os.File, os.FileInfo, error) {
	file, err := openPlain(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// readRegular reads such a file, if it is not longer than limit.
func readRegular(path string, limit int64) ([]byte, error) {
	file, info, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readWhole(file, info, limit)
}

func readWhole(file *os.File, info os.FileInfo, limit int64) ([]byte, error) {
	if info.Size() > limit {
		return nil, &os.PathError{Op: "read", Path: file.Name(), Err: unix.EFBIG}
	}
	text := make([]byte, info.Size())
	n, err := io.ReadFull(file, text)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	return text[:n], nil
}

// openPlain is os.OpenFile for a file of our own, without the system calls by
// which that finds out that files cannot be polled.
func openPlain(path string, flags int, perm uint32) (*os.File, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, perm)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return os.NewFile(uintptr(fd), path), nil
	}
}
