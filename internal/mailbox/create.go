package mailbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"peyk/internal/status"
)

// folderMarker is the empty file that tells a delivery program that it stands
// in a folder, not in a Maildir of its own (Maildir++).
const folderMarker = "maildirfolder"

// Create makes a folder. specialUse is empty or a use of RFC 6154. The error
// wraps ErrExists or ErrName.
func (a *Account) Create(name, specialUse string) error {
	if err := checkNewName(name); err != nil {
		return err
	}
	if err := checkUse(specialUse); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.absent(name); err != nil {
		return err
	}
	if err := a.room(); err != nil {
		return err
	}
	if err := a.makeFolder(name); err != nil {
		return temporary("cannot create the folder", dirOf(name), err)
	}
	if specialUse == "" {
		return nil
	}
	return a.setSpecialUse(func(uses map[string]string) { uses[name] = specialUse })
}

// absent fails when a folder exists already.
func (a *Account) absent(name string) error {
	_, err := a.find(CanonicalName(name))
	if err == nil {
		return status.Newf(550, "5.5.0", "cannot create folder %q, it exists", name).Because("", ErrExists)
	}
	if errors.Is(err, ErrNoFolder) {
		return nil
	}
	return err
}

// makeFolder makes a folder under a name in tmp/ and then moves it into
// place, so that nobody meets half of one.
func (a *Account) makeFolder(name string) error {
	unique, err := a.host.uniqueName()
	if err != nil {
		return err
	}
	acl, err := a.inheritedACL(name)
	if err != nil {
		return err
	}
	tmp := filepath.Join(a.root, "tmp", unique)
	if err := a.fillFolder(tmp, acl); err != nil {
		os.RemoveAll(tmp)
		return err
	}
	if err := a.host.o.Disk.MoveUnsynced(tmp, filepath.Join(a.root, dirOf(name))); err != nil {
		os.RemoveAll(tmp)
		return err
	}
	return a.host.o.Disk.SyncDir(a.root)
}

func (a *Account) fillFolder(dir string, acl []byte) error {
	if err := a.host.makeDirs(dir); err != nil {
		return err
	}
	if len(acl) > 0 {
		if err := a.host.o.Disk.ReplaceFile(filepath.Join(dir, aclName), acl, 0o600); err != nil {
			return err
		}
	}
	marker, err := a.host.create(filepath.Join(dir, folderMarker))
	if err != nil {
		return err
	}
	if err := marker.Close(); err != nil {
		return err
	}
	return a.host.o.Disk.SyncDir(dir)
}

// Delete removes a folder and its messages; folders below it stay, as does
// its subscription (RFC 3501 §6.3.4). INBOX cannot be deleted.
func (a *Account) Delete(name string) error {
	name = CanonicalName(name)
	if name == Inbox {
		return status.New(550, "5.7.1", "cannot delete INBOX")
	}
	if err := CheckName(name); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	dir, err := a.find(name)
	if err != nil {
		return err
	}
	unique, err := a.host.uniqueName()
	if err != nil {
		return err
	}
	trash := filepath.Join(a.root, "tmp", unique)
	t := a.host.tally(a.root, a.quota)
	defer t.done()
	if err := a.host.o.Disk.MoveUnsynced(dir, trash); err != nil {
		return temporary("cannot delete the folder", dir, err)
	}
	if err := a.host.o.Disk.SyncDir(a.root); err != nil {
		os.Rename(trash, dir)
		return temporary("cannot delete the folder", dir, err)
	}
	a.vanish(dir)
	a.host.forgetCaches(dir)
	bytes, messages := a.weigh(trash)
	a.host.countQuota(a.root, -bytes, -messages)
	if err := os.RemoveAll(trash); err != nil {
		a.host.trouble("cannot remove what is left of a deleted folder", trash, err)
	}
	return a.setSpecialUse(func(uses map[string]string) { delete(uses, name) })
}

// weigh counts a folder for maildirsize, if there is one.
func (a *Account) weigh(dir string) (bytes, messages int64) {
	if _, err := os.Lstat(filepath.Join(a.root, maildirsizeName)); err != nil {
		return 0, 0
	}
	var u usage
	a.host.addUp(dir+"/new", &u)
	a.host.addUp(dir+"/cur", &u)
	return u.bytes, u.messages
}

// vanish tells the sessions of this process that a folder is not at its place
// any more. a.mu is held.
func (a *Account) vanish(dir string) {
	f := a.folders[dir]
	if f == nil {
		return
	}
	delete(a.folders, dir)
	f.gone.Store(true)
	a.host.watch.remove(f)
	f.announce()
}

// Rename renames a folder and those below it. INBOX keeps its name and the
// folders below it: its messages move to a new folder (RFC 3501 §6.3.5).
func (a *Account) Rename(old, new string) error {
	old = CanonicalName(old)
	if err := CheckName(old); err != nil {
		return err
	}
	if err := checkNewName(new); err != nil {
		return err
	}
	if old == Inbox {
		return a.renameInbox(new)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.absent(new); err != nil {
		return err
	}
	if below(new, old) {
		return status.New(550, "5.5.0", "cannot move a folder below itself").Because("", ErrName)
	}
	moves, err := a.moves(old, new)
	if err != nil {
		return err
	}
	if err := a.moveDirs(moves); err != nil {
		return temporary("cannot rename the folder", old, err)
	}
	return a.renameUses(old, new)
}

// dirMove is one directory to rename.
type dirMove struct{ from, to string }

// moves lists the directories of a folder and of those below it.
func (a *Account) moves(old, new string) ([]dirMove, error) {
	dirs, err := folderDirs(a.root)
	if err != nil {
		return nil, temporary("cannot rename the folder", a.root, err)
	}
	var moves []dirMove
	for _, dir := range dirs[1:] {
		name, ok := nameOf(dir)
		if !ok || name != old && !below(name, old) {
			continue
		}
		target := new + strings.TrimPrefix(name, old)
		if err := CheckName(target); err != nil {
			return nil, err
		}
		if err := a.absent(target); err != nil {
			return nil, err
		}
		moves = append(moves, dirMove{filepath.Join(a.root, dir), filepath.Join(a.root, dirOf(target))})
	}
	if len(moves) == 0 {
		return nil, noFolder(old)
	}
	return moves, nil
}

// moveDirs renames all of the directories or none.
func (a *Account) moveDirs(moves []dirMove) error {
	for i, m := range moves {
		if err := a.host.o.Disk.MoveUnsynced(m.from, m.to); err != nil {
			for _, back := range moves[:i] {
				os.Rename(back.to, back.from)
			}
			return err
		}
	}
	for _, m := range moves {
		a.vanish(m.from)
		a.host.moveCaches(m.from, m.to)
	}
	return a.host.o.Disk.SyncDir(a.root)
}

func (a *Account) renameInbox(new string) error {
	if err := a.Create(new, ""); err != nil {
		return err
	}
	from, err := a.Folder(Inbox)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := a.Folder(new)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := a.copyMetadata(from, to); err != nil {
		return temporary("cannot copy the metadata", new, err)
	}
	s, err := from.Refresh(context.Background())
	if err != nil {
		return err
	}
	uids := make([]uint32, s.Messages.Len())
	for i, m := range s.Messages.All() {
		uids[i] = m.UID
	}
	_, _, err = from.Move(uids, to)
	return err
}
