package table

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"peyk/internal/address"
	"peyk/internal/commit"
)

// Permissions of new tables. The hashes are for authd's group, which the
// set-group-id bit of the domains directory hands down.
const (
	dirPerm     = 0o755
	usersPerm   = 0o640
	aliasesPerm = 0o644
	lockPerm    = 0o640 // authd locks too, where users change their passwords
)

// Editor changes the tables: atomically, under a lock against a second
// editor, and so that comments and order stay.
type Editor struct {
	dir  string
	disk *commit.Disk
}

// NewEditor returns an editor of the tables below a control directory.
func NewEditor(controlDir string, disk *commit.Disk) *Editor {
	return &Editor{dir: filepath.Join(controlDir, "domains"), disk: disk}
}

// AddDomain makes a domain local. One that is there already is fs.ErrExist.
func (e *Editor) AddDomain(domain string) error {
	if !isDomain(domain) {
		return fmt.Errorf("cannot add %q: not a domain name in lower case", domain)
	}
	return e.locked(func() error {
		err := e.disk.Mkdir(filepath.Join(e.dir, domain), dirPerm)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cannot add %s: %w", domain, fs.ErrExist)
		}
		return err
	})
}

// RemoveDomain removes a domain with all its users and aliases, though not
// their mail. It disappears at once, whatever happens then.
func (e *Editor) RemoveDomain(domain string) error {
	if !isDomain(domain) {
		return fmt.Errorf("cannot remove %q: not a domain name in lower case", domain)
	}
	return e.locked(func() error {
		gone := filepath.Join(e.dir, removedPrefix+domain)
		if err := e.disk.Rename(filepath.Join(e.dir, domain), gone); err != nil {
			return fmt.Errorf("cannot remove %s: %w", domain, err)
		}
		return os.RemoveAll(gone)
	})
}

// SetUser adds a user or replaces the line of that name.
func (e *Editor) SetUser(u User) error {
	if u.Addr.Local != address.KeyLocal(u.Addr.Local) {
		u.Addr.Local = address.KeyLocal(u.Addr.Local)
	}
	return e.edit(u.Addr.Domain, "users", usersPerm, func(t *text) error {
		at := t.userLines(u.Addr)
		gecos, shell := "", ""
		if len(at) > 0 {
			gecos, shell = oldFields(t.lines[at[0][0]])
		}
		line, err := u.format(gecos, shell)
		if err != nil {
			return err
		}
		t.replace(at, line)
		return nil
	})
}

// UpdateUser changes the line of a user under the lock. One who is not there
// is fs.ErrNotExist.
func (e *Editor) UpdateUser(addr address.Address, change func(*User) error) error {
	return e.edit(addr.Domain, "users", usersPerm, func(t *text) error {
		at := t.userLines(addr)
		if len(at) == 0 {
			return fmt.Errorf("cannot change %s: %w", addr, fs.ErrNotExist)
		}
		old := t.lines[at[0][0]]
		u, _, err := parseUser(t.domain, []byte(old))
		if err == nil {
			err = change(&u)
		}
		if err != nil {
			return err
		}
		gecos, shell := oldFields(old)
		line, err := u.format(gecos, shell)
		if err == nil {
			t.replace(at, line)
		}
		return err
	})
}

// RemoveUser removes a user with app passwords, second factor and limits: they
// must not wait for the next one of that name. found is false when there was
// none.
func (e *Editor) RemoveUser(addr address.Address) (found bool, err error) {
	err = e.edit(addr.Domain, "users", usersPerm, func(t *text) error {
		at := t.userLines(addr)
		found = len(at) > 0
		t.replace(at, "")
		return nil
	})
	if err == nil {
		err = e.ForgetFactors(addr)
	}
	if err == nil {
		err = e.dropAccess(addr)
	}
	return found, err
}

// ForgetFactors removes the app passwords and the second factor of an account.
func (e *Editor) ForgetFactors(addr address.Address) error {
	for _, file := range []string{appPasswordsFile, secondFactorFile} {
		if _, err := e.drop(addr, file, whichever); err != nil {
			return err
		}
	}
	return nil
}

// SetAlias adds an alias or replaces its targets. The local part may be
// CatchAll.
func (e *Editor) SetAlias(addr address.Address, targets []string) error {
	name := quotedName(addr)
	line := name + ": " + strings.Join(targets, ", ")
	entry, err := parseAlias(addr.Domain, line)
	if err == nil && (len(entry.Targets) != len(targets) || entry.Name != address.KeyLocal(addr.Local)) {
		err = errors.New("each target must be one address, local part or included file")
	}
	if err == nil && isComment([]byte(line)) {
		err = errors.New("the line would be a comment")
	}
	if err != nil {
		return fmt.Errorf("cannot set the alias %s: %w", name, err)
	}
	return e.edit(addr.Domain, "aliases", aliasesPerm, func(t *text) error {
		t.replace(t.aliasLines(addr), line)
		return nil
	})
}

// RemoveAlias removes an alias; found is false when there was none.
func (e *Editor) RemoveAlias(addr address.Address) (found bool, err error) {
	err = e.edit(addr.Domain, "aliases", aliasesPerm, func(t *text) error {
		at := t.aliasLines(addr)
		found = len(at) > 0
		t.replace(at, "")
		return nil
	})
	return found, err
}

// quotedName returns a local part as it stands before the colon.
func quotedName(addr address.Address) string {
	a := address.Address{Local: address.KeyLocal(addr.Local), Domain: "x"}
	return strings.TrimSuffix(a.String(), "@x")
}

// edit changes one table of a domain under the lock. Nothing is written when
// change fails or changes nothing.
func (e *Editor) edit(domain, file string, perm os.FileMode, change func(*text) error) error {
	if !isDomain(domain) {
		return fmt.Errorf("cannot edit the %s of %q: not a domain name in lower case", file, domain)
	}
	return e.locked(func() error {
		path := filepath.Join(e.dir, domain, file)
		old, _, err := readTable(path)
		if errors.Is(err, fs.ErrNotExist) {
			_, err = os.Stat(filepath.Dir(path))
		}
		if err != nil {
			return fmt.Errorf("cannot edit the %s of %s: %w", file, domain, err)
		}
		t := newText(domain, string(old))
		if err := change(t); err != nil {
			return err
		}
		if t.String() == string(old) {
			return nil
		}
		return e.write(path, []byte(t.String()), perm)
	})
}

// write replaces a table, keeping the owner and permissions that it had: a
// root that edits must not lock authd out.
func (e *Editor) write(path string, data []byte, perm os.FileMode) error {
	var st unix.Stat_t
	old := unix.Stat(path, &st) == nil
	if old {
		perm = os.FileMode(st.Mode & 0o777)
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	os.Remove(tmp) // left by a crash: we hold the lock
	f, err := e.disk.Create(tmp, perm)
	if err != nil {
		return err
	}
	if old {
		err = keepOwner(f.File, &st)
	}
	if err == nil {
		err = f.Chmod(perm) // whatever the umask says
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err != nil {
		f.Abort()
		return err
	}
	return f.Replace(path)
}

// keepOwner gives a file the owner of another; only root may give files away,
// everybody else keeps at least the group or fails.
func keepOwner(f *os.File, st *unix.Stat_t) error {
	if err := f.Chown(int(st.Uid), int(st.Gid)); err == nil {
		return nil
	}
	return f.Chown(-1, int(st.Gid))
}

// locked runs change while no other editor runs, in this process or another.
func (e *Editor) locked(change func() error) error {
	if err := e.disk.Mkdir(e.dir, dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(e.dir, ".lock"), os.O_RDONLY|os.O_CREATE, lockPerm)
	if err != nil {
		return err
	}
	defer lock.Close()
	lock.Chmod(lockPerm) // whatever the umask says; only its owner can
	for {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("cannot lock %s: %w", lock.Name(), err)
	}
	if err := e.clear(); err != nil {
		return err
	}
	return change()
}

// removedPrefix begins the names of domains that are being removed.
const removedPrefix = ".removed-"

// clear removes what the removal of a domain left when it was cut short.
func (e *Editor) clear() error {
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), removedPrefix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(e.dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
