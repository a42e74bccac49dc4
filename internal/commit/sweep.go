package commit

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// SweepAge is how long a temporary name may be left alone before it counts as
// the trace of a crash (maildir(5)).
const SweepAge = 36 * time.Hour

// beside is a name that createBeside makes.
var beside = regexp.MustCompile(`^\..+\.[0-9]+\.[0-9]+\.tmp$`)

// Sweep removes temporary files that a crash left in dir: those of ReplaceFile
// and others that match ours, if they last changed before a time.
func Sweep(dir string, ours *regexp.Regexp, before time.Time) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	f.Close()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if (beside.MatchString(name) || ours.MatchString(name)) && ChangedBefore(path, before) {
			err = errors.Join(err, remove(path))
		}
	}
	return err
}

// remove unlinks a file, and no directory that has such a name.
func remove(path string) error {
	err := unix.Unlink(path)
	if err == unix.ENOENT || err == unix.EISDIR {
		return nil
	}
	return err
}

// ChangedBefore reports whether a file last changed before a time: in content,
// name or anything else, so that nobody can set it.
func ChangedBefore(path string, before time.Time) bool {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return false
	}
	return time.Unix(st.Ctim.Unix()).Before(before)
}
