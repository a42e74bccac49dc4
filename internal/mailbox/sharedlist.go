package mailbox

import (
	"context"
	"slices"
	"strings"
	"sync"

	"peyk/internal/status"
)

// SharedName is the file in the mail root that says who shares folders, and
// with whom: lines "OWNER<TAB>IDENTIFIER", where the identifier is one of
// dovecot-acl. It only saves looking everywhere: what one may see is decided
// by each folder's own list. mailctl(8) acl rebuild makes it anew.
const SharedName = "peyk-shared"

// maxShared bounds the file, and maxSharedIDs what one owner may take of it:
// nobody fills it for all.
const (
	maxShared    = 16 << 20
	maxSharedIDs = 1000
)

// A SharedList is that file.
type SharedList struct {
	host *Host
	path string

	mu    sync.Mutex
	stamp fileStamp
	lines []sharedLine
}

type sharedLine struct{ owner, id string }

// SharedList returns the list in a file.
func (h *Host) SharedList(path string) *SharedList { return &SharedList{host: h, path: path} }

// Owners returns who shares something with somebody, in order.
func (l *SharedList) Owners(w Who) ([]string, error) {
	lines, err := l.read()
	if err != nil {
		return nil, err
	}
	var owners []string
	for _, line := range lines {
		if line.owner != w.User && w.matches(line.id) {
			owners = append(owners, line.owner)
		}
	}
	slices.Sort(owners)
	return slices.Compact(owners), nil
}

// read returns the lines; it reads the file only when it has changed.
func (l *SharedList) read() ([]sharedLine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	stamp, err := stampFile(l.path)
	if err == nil && stamp == l.stamp {
		return l.lines, nil
	}
	text, stamp, err := readSmall(l.path, maxShared)
	if err != nil {
		return nil, temporary("cannot read the list of shared folders", l.path, err)
	}
	l.stamp, l.lines = stamp, parseShared(string(text))
	return l.lines, nil
}

// parseShared passes over what it cannot read.
func parseShared(text string) []sharedLine {
	lines := []sharedLine{}
	for line := range strings.Lines(text) {
		owner, id, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if ok && owner != "" && class(id) != 0 && !strings.HasPrefix(owner, "#") {
			lines = append(lines, sharedLine{owner, id})
		}
	}
	return lines
}

// Admits returns an error that wraps ErrLimit when the owner of an account
// shares with so many already that an identifier must not come to them.
func (l *SharedList) Admits(a *Account, id string) error {
	ids, err := a.sharedWith()
	if err != nil || len(ids) < maxSharedIDs || id == "owner" || slices.Contains(ids, id) {
		return err
	}
	return status.Newf(552, "5.3.4", "cannot share folders with more than %d users and groups", maxSharedIDs).Because(l.path, ErrLimit)
}

// Update lists an owner's folders as they are shared now. Of more than
// maxSharedIDs identifiers, which others wrote, it lists the first.
func (l *SharedList) Update(owner string, a *Account) error {
	ids, err := a.sharedWith()
	if err != nil {
		return err
	}
	return l.change(func(lines []sharedLine) []sharedLine {
		lines = slices.DeleteFunc(lines, func(line sharedLine) bool { return line.owner == owner })
		for _, id := range ids[:min(len(ids), maxSharedIDs)] {
			lines = append(lines, sharedLine{owner, id})
		}
		return lines
	})
}

// Rebuild replaces the whole list: accounts holds the Maildir of each owner.
func (l *SharedList) Rebuild(accounts map[string]*Account) error {
	var all []sharedLine
	for owner, a := range accounts {
		ids, err := a.sharedWith()
		if err != nil {
			return err
		}
		for _, id := range ids {
			all = append(all, sharedLine{owner, id})
		}
	}
	return l.change(func([]sharedLine) []sharedLine { return all })
}

func (l *SharedList) change(f func([]sharedLine) []sharedLine) error {
	lock, err := l.host.locks.lock(context.Background(), l.path+".lock", l.path)
	if err != nil {
		return temporary("cannot lock the list of shared folders", l.path, err)
	}
	defer lock.release()
	was, err := l.read()
	if err != nil {
		return err
	}
	now := f(slices.Clone(was))
	slices.SortFunc(now, func(a, b sharedLine) int {
		if c := strings.Compare(a.owner, b.owner); c != 0 {
			return c
		}
		return strings.Compare(a.id, b.id)
	})
	if slices.Equal(was, now) {
		return nil
	}
	var b strings.Builder
	for _, line := range now {
		b.WriteString(line.owner + "\t" + line.id + "\n")
	}
	if b.Len() > maxShared { // it could not be read again, by nobody
		return status.New(452, "4.3.1", "cannot list who shares folders with whom: the list is full").Because(l.path, ErrLimit)
	}
	err = l.host.replaceOwned(l.path, []byte(b.String()))
	return temporary("cannot save the list of shared folders", l.path, err)
}

// sharedWith returns the identifiers, other than the owner, that have any
// right in any folder.
func (a *Account) sharedWith() ([]string, error) {
	dirs, err := folderDirs(a.root)
	if err != nil {
		return nil, temporary("cannot list the folders", a.root, err)
	}
	found := make(map[string]bool)
	for _, dir := range dirs {
		list, err := a.aclIn(strings.TrimSuffix(a.root+"/"+dir, "/"))
		if err != nil {
			return nil, err
		}
		for _, e := range list.Entries() {
			if !e.Negative && e.Rights != 0 && e.ID != "owner" {
				found[e.ID] = true
			}
		}
	}
	ids := make([]string, 0, len(found))
	for id := range found {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}
