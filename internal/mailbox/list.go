package mailbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// folderDirs returns the directories of all folders below root; "" is INBOX.
func folderDirs(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	dirs := []string{""}
	for _, e := range entries {
		if isFolderDir(root, e) {
			dirs = append(dirs, e.Name())
		}
	}
	return dirs, nil
}

func isFolderDir(root string, e os.DirEntry) bool {
	if !e.IsDir() || !strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "..") {
		return false
	}
	var st unix.Stat_t
	return unix.Lstat(root+"/"+e.Name()+"/cur", &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// FolderInfo is what Folders has of one name; it is not ok when that is
// neither a folder nor the parent of one.
func (a *Account) FolderInfo(name string) (info FolderInfo, ok bool, err error) {
	entries, err := os.ReadDir(a.root)
	if err != nil {
		return info, false, temporary("cannot list the folders", a.root, err)
	}
	info = FolderInfo{Name: name, Selectable: name == Inbox}
	infos := map[string]*FolderInfo{name: &info}
	special := a.specialUses()
	for _, e := range entries {
		n, ok := nameOf(e.Name())
		inside := ok && !info.HasChildren && below(n, name)
		if _, marked := special[n]; !ok || !inside && !marked && n != name || !isFolderDir(a.root, e) {
			continue
		}
		info.HasChildren = info.HasChildren || inside
		info.Selectable = info.Selectable || n == name
		if n != name {
			infos[n] = &FolderInfo{Name: n, Selectable: true}
		}
	}
	a.markSpecial(infos)
	return info, info.Selectable || info.HasChildren, nil
}

// Folders lists all folders, INBOX first, then by name, and the names above
// them that are no folders themselves.
func (a *Account) Folders() ([]FolderInfo, error) {
	names, err := a.names()
	if err != nil {
		return nil, temporary("cannot list the folders", a.root, err)
	}
	infos := make(map[string]*FolderInfo, len(names))
	for _, name := range names {
		infos[name] = &FolderInfo{Name: name, Selectable: true}
	}
	for _, name := range names {
		for _, up := range parents(name) {
			if infos[up] == nil {
				infos[up] = &FolderInfo{Name: up}
			}
			infos[up].HasChildren = true
		}
	}
	a.markSpecial(infos)
	list := make([]FolderInfo, 0, len(infos))
	for _, info := range infos {
		list = append(list, *info)
	}
	slices.SortFunc(list, inboxFirst)
	return list, nil
}

func inboxFirst(x, y FolderInfo) int {
	if (x.Name == Inbox) != (y.Name == Inbox) {
		if x.Name == Inbox {
			return -1
		}
		return 1
	}
	return strings.Compare(x.Name, y.Name)
}

// names returns the names of all folders, in no order.
func (a *Account) names() ([]string, error) {
	dirs, err := folderDirs(a.root)
	if err != nil {
		return nil, err
	}
	names := []string{Inbox}
	seen := map[string]bool{Inbox: true}
	for _, dir := range dirs[1:] {
		name, ok := nameOf(dir)
		if !ok {
			a.host.trouble("folder has an unusable name, it is not shown", filepath.Join(a.root, dir), ErrName)
			continue
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names, nil
}
