package mailbox

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"peyk/internal/status"
)

// specialUseName is our file in the root of an account: a line
// "\Sent<TAB>Sent Items" for each folder with a use that its name does not
// tell. The name is in modified UTF-7.
const specialUseName = "peyk-special-use"

const maxSpecialUse = 4 << 20

// uses are those of RFC 6154 §2, each with the name that means it.
var uses = [...]struct{ use, name string }{
	{`\Archive`, "Archive"}, {`\Drafts`, "Drafts"}, {`\Junk`, "Junk"}, {`\Sent`, "Sent"}, {`\Trash`, "Trash"},
	{`\All`, ""}, {`\Flagged`, ""}, {`\Important`, ""},
}

func checkUse(use string) error {
	if use == "" {
		return nil
	}
	for _, u := range uses {
		if u.use == use && u.name != "" {
			return nil
		}
	}
	return status.Newf(550, "5.5.4", "cannot give a folder the use %q", cut(use))
}

// parseSpecialUse reads the file; a line that makes no sense is passed over.
func parseSpecialUse(text string) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(text) {
		use, enc, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		name, valid := DecodeUTF7(enc)
		if ok && valid && strings.HasPrefix(use, `\`) && badName(name) == "" {
			m[name] = use
		}
	}
	return m
}

func formatSpecialUse(m map[string]string) []byte {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		b.WriteString(m[name] + "\t" + EncodeUTF7(name) + "\n")
	}
	return []byte(b.String())
}

// specialUses returns the folders whose use is on file, as far as it can be
// read: whoever only lists folders does without.
func (a *Account) specialUses() map[string]string {
	uses, _ := a.readSpecialUses()
	return uses
}

func (a *Account) readSpecialUses() (map[string]string, error) {
	path := filepath.Join(a.root, specialUseName)
	text, _, err := readSmall(path, maxSpecialUse)
	return parseSpecialUse(string(text)), temporary("cannot read the uses of folders", path, err)
}

// setSpecialUse changes the file, if the change changes anything.
func (a *Account) setSpecialUse(change func(uses map[string]string)) error {
	if _, changed, err := a.changedUses(change); err != nil || !changed {
		return err // on a full disk no lock can be had, but a folder deleted
	}
	path := filepath.Join(a.root, specialUseName)
	lock, err := a.host.locks.lock(context.Background(), path+".lock", path)
	if err != nil {
		return temporary("cannot lock the uses of folders", path, err)
	}
	defer lock.release()
	uses, changed, err := a.changedUses(change)
	if err != nil || !changed {
		return err
	}
	err = a.host.o.Disk.ReplaceFile(path, formatSpecialUse(uses), 0o600)
	return temporary("cannot save the use of the folder", path, err)
}

func (a *Account) changedUses(change func(uses map[string]string)) (uses map[string]string, changed bool, err error) {
	was, err := a.readSpecialUses()
	if err != nil {
		return nil, false, err
	}
	uses = maps.Clone(was)
	change(uses)
	return uses, !maps.Equal(was, uses), nil
}

// renameUses lets uses follow a folder and those below it.
func (a *Account) renameUses(old, new string) error {
	return a.setSpecialUse(func(m map[string]string) {
		for name, use := range maps.Clone(m) {
			if name == old || below(name, old) {
				delete(m, name)
				m[new+strings.TrimPrefix(name, old)] = use
			}
		}
	})
}

// markSpecial tells the use of each folder: what is on file, then by name,
// unless another folder has that use on file.
func (a *Account) markSpecial(infos map[string]*FolderInfo) {
	taken := make(map[string]bool)
	for name, use := range a.specialUses() {
		if info := infos[name]; info != nil && info.Selectable {
			info.SpecialUse = use
			taken[use] = true
		}
	}
	for _, u := range uses {
		if info := infos[u.name]; u.name != "" && !taken[u.use] && info != nil && info.Selectable && info.SpecialUse == "" {
			info.SpecialUse = u.use
		}
	}
}
