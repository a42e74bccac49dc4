package mailbox

import (
	"errors"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"peyk/internal/status"
)

// Account is one user's mail: INBOX and the folders below it.
type Account struct {
	host *Host
	root string
	refs int // guarded by host.mu

	mu      sync.Mutex // folders, and changes to the set of folders
	folders map[string]*Folder
	quota   Quota

	acls acls
	news rootNews
}

// Root returns the path of the Maildir.
func (a *Account) Root() string { return a.root }

// Close gives the account back. Its folders must be closed before.
func (a *Account) Close() {
	a.host.mu.Lock()
	defer a.host.mu.Unlock()
	a.refs--
	if a.refs == 0 {
		delete(a.host.accounts, a.root)
	}
}

// SetQuota sets the limit that Append and Copy enforce; none is set at first.
func (a *Account) SetQuota(q Quota) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.quota = q
}

// Quota returns what SetQuota set.
func (a *Account) Quota() Quota {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.quota
}

// Folder opens a folder, which must exist, and listens for its changes; Close it. The error wraps
// ErrNoFolder or ErrName.
func (a *Account) Folder(name string) (*Folder, error) {
	f, err := a.FolderForNow(name)
	if err == nil {
		f.Watch()
	}
	return f, err
}

// FolderForNow is Folder for somebody who will not wait for news, which makes
// it cheaper.
func (a *Account) FolderForNow(name string) (*Folder, error) {
	name = CanonicalName(name)
	if err := CheckName(name); err != nil {
		return nil, err
	}
	dir, err := a.find(name)
	if err != nil {
		return nil, err
	}
	f, fresh := a.share(name, dir)
	if fresh {
		a.host.sweepFolder(a.root, dir)
	}
	return f, nil
}

// share returns the folder in dir, and whether it was not open yet.
func (a *Account) share(name, dir string) (f *Folder, fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f = a.folders[dir]
	if f == nil {
		f, fresh = newFolder(a, name, dir), true
		a.folders[dir] = f
	}
	f.refs++
	return f, fresh
}

// find returns the directory of an existing folder.
func (a *Account) find(name string) (string, error) {
	dirs := []string{dirOf(name)}
	if raw := "." + name; name != Inbox && raw != dirs[0] {
		dirs = append(dirs, raw) // somebody made it without modified UTF-7
	}
	var err error
	for _, d := range dirs {
		dir := filepath.Join(a.root, d)
		if err = a.openable(dir, d != ""); err == nil {
			return dir, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", temporary("cannot open the folder", dir, err)
		}
	}
	return "", noFolder(name)
}

func noFolder(name string) error {
	return status.Newf(550, "5.1.1", "cannot find folder %q", name).Because("", ErrNoFolder)
}

// openable checks the directories of a folder; one that has lost tmp, cur or
// new gets it back.
func (a *Account) openable(dir string, sub bool) error {
	if sub {
		info, err := os.Lstat(dir)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return os.ErrNotExist // a file or a symbolic link is no folder
		}
	}
	check := checkMaildir
	if sub {
		check = checkDirs
	}
	err := check(dir)
	if errors.Is(err, os.ErrNotExist) {
		return a.host.makeDirs(dir)
	}
	return err
}

// LockDrop takes the lock that one POP3 session holds on a maildrop
// (RFC 1939 §4), against all processes; the error wraps ErrInUse when another
// session has it. It ends with the process, too.
func (a *Account) LockDrop() (unlock func(), err error) {
	path := filepath.Join(a.root, "peyk-pop3.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if noRoom(err) {
		f, err = os.Open(a.root) // no room for a file is no reason not to read
	}
	if err != nil {
		return nil, temporary("cannot lock the maildrop", path, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return sync.OnceFunc(func() { f.Close() }), nil
	}
	f.Close()
	if err == unix.EWOULDBLOCK {
		err = ErrInUse
	}
	return nil, status.New(450, "4.2.0", "cannot lock the maildrop, another session has it").Because(path, err)
}
