package mailbox

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A tally is held from before messages come or go until maildirsize knows of
// them: a lock on the root of the account, shared by those who change it and
// taken alone by whoever counts it anew. Without it a message that arrives
// during a count is in neither sum or in both. Other programs do not take it;
// what they disturb, the next count mends. Nil is one that nobody needs.
type tally struct{ root *os.File }

// tally waits for a count that is under way. A lock that cannot be had stops
// nobody: mail matters more than its sum.
func (h *Host) tally(root string, q Quota) *tally {
	if q.none() {
		if _, err := os.Lstat(filepath.Join(root, maildirsizeName)); err != nil {
			return nil
		}
	}
	return h.lockTally(root, unix.LOCK_SH)
}

func (h *Host) lockTally(root string, how int) *tally {
	file, err := openPlain(root, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		h.trouble("cannot lock maildirsize", root, err)
		return nil
	}
	for {
		err := unix.Flock(int(file.Fd()), how)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			file.Close()
			h.trouble("cannot lock maildirsize", root, err)
			return nil
		}
		return &tally{file}
	}
}

func (t *tally) done() {
	if t != nil {
		t.root.Close()
	}
}
