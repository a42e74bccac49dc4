package mailbox

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// litterAge is how old a temporary file must be before somebody other than
// its writer removes it: 36 hours (maildir(5)).
const litterAge = 36 * time.Hour

// sweep removes from one Maildir directory what programs that died left
// there: everything in tmp, a deleted folder among it, and temporary files
// beside those that they were to replace. It fails in silence: the next one
// tries again.
func (h *Host) sweep(dir string) {
	now := time.Now() // the files' times are of the system's clock
	h.sweepDir(filepath.Join(dir, "tmp"), func(string) bool { return true }, now)
	h.sweepDir(dir, isTemporary, now)
}

func (h *Host) sweepDir(dir string, ours func(name string) bool, now time.Time) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	for _, name := range names {
		if !ours(name) {
			continue
		}
		path := filepath.Join(dir, name)
		info, err := os.Lstat(path)
		if err != nil || now.Sub(born(info)) <= litterAge {
			continue
		}
		if info.IsDir() && filepath.Base(dir) == "tmp" {
			err = os.RemoveAll(path)
		} else if info.Mode().IsRegular() {
			err = os.Remove(path)
		}
		if err != nil {
			h.trouble("cannot remove what somebody left", path, err)
		}
	}
}

// born is when a file was made: for a folder that was moved here, the time in
// its name, as its own is older.
func born(info fs.FileInfo) time.Time {
	if !info.IsDir() {
		return info.ModTime()
	}
	digits, _, _ := strings.Cut(info.Name(), ".")
	seconds, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return info.ModTime()
	}
	return time.Unix(seconds, 0)
}

// isTemporary knows the names under which files are written before they
// replace another: those of internal/commit, of the caches, of the uidlist,
// and a lock that is being taken over.
func isTemporary(name string) bool {
	return strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".tmp") ||
		strings.HasPrefix(name, cacheName+".") || strings.HasPrefix(name, factsName+".") ||
		name == uidlistName+".tmp" || strings.Contains(name, ".lock.")
}
