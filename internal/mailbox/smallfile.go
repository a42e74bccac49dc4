package mailbox

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// fileStamp tells whether a file is still the one that was read. The zero
// value is that of a file that is not there.
type fileStamp struct {
	dev, ino   uint64
	size       int64
	mtim, ctim unix.Timespec
}

func fileStampOf(st *unix.Stat_t) fileStamp {
	return fileStamp{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// stampFile returns the stamp of path.
func stampFile(path string) (fileStamp, error) {
	var st unix.Stat_t
	switch err := unix.Lstat(path, &st); err {
	case nil:
		return fileStampOf(&st), nil
	case unix.ENOENT, unix.ENOTDIR:
		return fileStamp{}, nil
	default:
		return fileStamp{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
}

// readSmall reads a file of at most limit octets. One that is not there is
// empty; any other that cannot be read whole is an error, never empty: what
// is written over it next would take its contents away.
func readSmall(path string, limit int64) (text []byte, is fileStamp, err error) {
	file, info, err := openRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, is, nil
	}
	if err != nil {
		return nil, is, err
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, is, os.NewSyscallError("fstat", err)
	}
	text, err = readWhole(file, info, limit)
	return text, fileStampOf(&st), err
}
