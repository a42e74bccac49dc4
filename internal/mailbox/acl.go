package mailbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"peyk/internal/status"
)

// acls remembers the access control lists of an account.
type acls struct {
	mu    sync.Mutex
	known map[string]knownACL // by path
}

// maxKnownACLs bounds what an account remembers.
const maxKnownACLs = 10000

type knownACL struct {
	stamp fileStamp
	list  *ACL
}

// noACL is what a folder without a file has: its owner alone may use it.
func noACL() *ACL { return &ACL{} }

// Account returns the account that the folder belongs to.
func (f *Folder) Account() *Account { return f.account }

// ACL returns the access control list of the folder, as it is on disk now.
// It is shared: not to be changed.
func (f *Folder) ACL() (*ACL, error) { return f.account.aclIn(f.dir) }

// ACL returns the access control list of a folder, which need not exist. It
// is shared: not to be changed.
func (a *Account) ACL(name string) (*ACL, error) {
	dir := filepath.Join(a.root, dirOf(name))
	var st unix.Stat_t
	if unix.Lstat(dir, &st) != nil && name != Inbox {
		dir = filepath.Join(a.root, "."+name) // somebody made it without modified UTF-7
	}
	return a.aclIn(dir)
}

func (a *Account) aclIn(dir string) (*ACL, error) {
	path := dir + "/" + aclName
	stamp, err := stampFile(path)
	if err != nil {
		return nil, temporary("cannot read the access control list", path, err)
	}
	if (stamp == fileStamp{}) {
		return noACL(), nil
	}
	a.acls.mu.Lock()
	known, ok := a.acls.known[path]
	a.acls.mu.Unlock()
	if ok && known.stamp == stamp {
		return known.list, nil
	}
	list, stamp, err := readACL(path)
	if err != nil {
		return nil, temporary("cannot read the access control list", path, err)
	}
	a.acls.remember(path, knownACL{stamp, list})
	return list, nil
}

func (c *acls) remember(path string, k knownACL) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxKnownACLs {
		c.known = make(map[string]knownACL)
	}
	c.known[path] = k
}

func readACL(path string) (*ACL, fileStamp, error) {
	text, is, err := readSmall(path, maxACL)
	return parseACL(string(text)), is, err
}

// ChangeACL changes the access control list of a folder, durably.
func (a *Account) ChangeACL(name string, change func(*ACL)) error {
	name = CanonicalName(name)
	if err := CheckName(name); err != nil {
		return err
	}
	dir, err := a.find(name)
	if err != nil {
		return err
	}
	path := dir + "/" + aclName
	lock, err := a.host.locks.lock(context.Background(), path+".lock", path)
	if err != nil {
		return temporary("cannot lock the access control list", path, err)
	}
	defer lock.release()
	list, _, err := readACL(path)
	if err != nil {
		return temporary("cannot read the access control list", path, err)
	}
	change(list)
	text := list.format()
	if len(list.lines) > maxACLEntries || len(text) > maxACL {
		return status.New(552, "5.3.4", "cannot keep so long an access control list").Because(path, ErrLimit)
	}
	return temporary("cannot save the access control list", path, a.writeACL(path, text))
}

// writeACL replaces the file; an empty list is no file, as with Dovecot.
func (a *Account) writeACL(path string, text []byte) error {
	if len(text) > 0 {
		return a.host.replaceOwned(path, text)
	}
	if err := a.host.o.Disk.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return a.host.o.Disk.SyncDir(filepath.Dir(path))
}

// inheritedACL returns the list that a new folder takes over from the nearest
// one above it (RFC 4314 §4), nil for none.
func (a *Account) inheritedACL(name string) ([]byte, error) {
	up := parents(name)
	for i := len(up) - 1; i >= 0; i-- {
		dir, err := a.find(up[i])
		if errors.Is(err, ErrNoFolder) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list, err := a.aclIn(dir)
		if err != nil || !list.exists {
			return nil, err
		}
		return list.format(), nil
	}
	return nil, nil
}

// OpenExisting is Open for a Maildir that must be there; the error wraps
// ErrNoFolder when it is not.
func (h *Host) OpenExisting(root string) (*Account, error) {
	if err := checkMaildir(root); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, noFolder(Inbox)
		}
		return nil, temporary("cannot open the mailbox", root, err)
	}
	return h.Open(root)
}

// replaceOwned replaces a file; one that root writes, by mailctl, goes to the
// owner of its directory, or the daemons could not read it.
func (h *Host) replaceOwned(path string, text []byte) error {
	if err := h.o.Disk.ReplaceFile(path, text, 0o600); err != nil || os.Geteuid() != 0 {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Dir(path), &st); err != nil {
		return err
	}
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}
