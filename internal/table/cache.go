package table

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxTable is the largest table file that is read, in bytes.
const maxTable = 64 << 20

// maxLine is the longest line of a table, in bytes.
const maxLine = 64 << 10

// A stamp tells one state of a file from the next.
type stamp struct {
	mtime, ctime time.Time
	size         int64
	inode        uint64
}

// cache holds parsed files by path. It is as large as the tables are: only
// names that exist get in.
type cache[T any] struct {
	mu    sync.Mutex
	files map[string]cached[T]
}

type cached[T any] struct {
	stamp stamp
	value T
}

// get returns the parsed file at path, reading it when it has changed. An
// absent file is fs.ErrNotExist.
func (c *cache[T]) get(path string, parse func(path string, text []byte) T) (T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var none T
	now, err := stampOf(path)
	if err != nil {
		delete(c.files, path)
		return none, err
	}
	if have, ok := c.files[path]; ok && have.stamp == now {
		return have.value, nil
	}
	text, now, err := readTable(path)
	if err != nil {
		return none, err
	}
	v := parse(path, text)
	if c.files == nil {
		c.files = make(map[string]cached[T])
	}
	c.files[path] = cached[T]{now, v}
	return v, nil
}

func stampOf(path string) (stamp, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return stamp{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return newStamp(&st), nil
}

func newStamp(st *unix.Stat_t) stamp {
	return stamp{time.Unix(st.Mtim.Unix()), time.Unix(st.Ctim.Unix()), st.Size, st.Ino}
}

// readTable reads a file whose stamp was taken before its content: a change
// in between is seen the next time.
func readTable(path string) ([]byte, stamp, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a fifo must not hold us up
	if err != nil {
		return nil, stamp{}, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, stamp{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, stamp{}, fmt.Errorf("%s: %w", path, errors.New("not a regular file"))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTable+1))
	if err == nil && len(text) > maxTable {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxTable)
	}
	return text, newStamp(&st), err
}
