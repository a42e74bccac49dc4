package mailbox

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/commit"
)

// sweepEvery is how often a directory is swept by one process: a folder is
// opened for each STATUS, an account for each delivery.
const sweepEvery = time.Hour

// maxSwept is how many directories are remembered.
const maxSwept = 10000

// swept remembers when directories were swept.
type swept struct {
	mu sync.Mutex
	at map[string]time.Time
}

// due reports whether a directory is to be swept now, and takes it for done.
func (s *swept) due(dir string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.at[dir]; ok && now.Sub(last) < sweepEvery {
		return false
	}
	if s.at == nil || len(s.at) >= maxSwept {
		s.at = make(map[string]time.Time)
	}
	s.at[dir] = now
	return true
}

// sweep removes from a Maildir's tmp/ what a crash left there: messages that
// were never finished, folders that were half made or half removed. What
// changed within 36 hours stays, as maildir(5) has it. The time is that of the
// inode: an APPEND gives its file the date of the message, long before it is
// done.
func (h *Host) sweep(dir string) {
	if !h.swept.due(dir, h.locks.now()) {
		return
	}
	tmp := dir + "/tmp"
	f, err := openPlain(tmp, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var names []string
	if err == nil {
		names, err = f.Readdirnames(-1)
		f.Close()
	}
	before := h.locks.now().Add(-commit.SweepAge)
	for _, name := range names {
		path := filepath.Join(tmp, name)
		if commit.ChangedBefore(path, before) {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	if err != nil {
		h.trouble("cannot clean tmp of the Maildir", dir, err)
	}
}

// ours are the names, besides those of internal/commit, under which files are
// written before they replace another: caches, the uidlist, a lock that is
// being taken over.
var ours = regexp.MustCompile(`^peyk-(cache|changes|facts|sort-[a-z]+)\.[0-9]+\.M[0-9]+P[0-9]+Q|^dovecot-uidlist\.tmp$|^peyk-special-use\.lock$|\.lock\.[0-9]+\.[0-9]+$`)

// sweepFolder is sweep for a folder that is opened, with the temporary names
// beside its files.
func (h *Host) sweepFolder(root, dir string) {
	if dir != root {
		h.sweep(dir) // the account's own was swept when it was opened
	}
	if !h.swept.due(dir+"/", h.locks.now()) {
		return
	}
	if err := commit.Sweep(dir, ours, h.locks.now().Add(-commit.SweepAge)); err != nil {
		h.trouble("cannot clean the folder", dir, err)
	}
}
