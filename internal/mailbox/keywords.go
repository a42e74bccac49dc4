package mailbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"peyk/internal/status"
)

// keywordsName is Dovecot's file that names the letters: "0 Junk" is a, "25
// x" is z. It is changed under the lock of the uidlist only.
const keywordsName = "dovecot-keywords"

const maxKeywordsFile = 64 << 10

// keywordState is what a folder knows of its keywords.
type keywordState struct {
	names []string // by letter; "" has no name
	stamp fileStamp
}

// parseKeywords reads the file; lines that make no sense are passed over, as
// Dovecot does.
func parseKeywords(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		number, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		i, err := strconv.Atoi(number)
		if !ok || err != nil || i < 0 || i >= maxKeywords || name == "" {
			continue
		}
		for len(names) <= i {
			names = append(names, "")
		}
		names[i] = name
	}
	return names
}

func formatKeywords(names []string) []byte {
	var text []byte
	for i, name := range names {
		if name != "" {
			text = fmt.Appendf(text, "%d %s\n", i, name)
		}
	}
	return text
}

func (k *keywordState) unchanged(path string) bool {
	is, err := stampFile(path)
	return err == nil && is == k.stamp
}

// load reads the file if it has changed. When it cannot be read, the state
// stays as it was, and nothing may be written that follows from it.
func (k *keywordState) load(path string) error {
	if k.unchanged(path) {
		return nil
	}
	text, is, err := readSmall(path, maxKeywordsFile)
	if err != nil {
		return err
	}
	*k = keywordState{parseKeywords(string(text)), is}
	return nil
}

// bitsOf returns the bits of the given names, and those that have no letter
// yet. Keywords are compared without regard to case (RFC 9051 §2.3.2).
func bitsOf(all, names []string) (bits uint64, missing []string) {
	for _, name := range names {
		i := slices.IndexFunc(all, func(n string) bool { return strings.EqualFold(n, name) })
		if i < 0 {
			if !slices.ContainsFunc(missing, func(n string) bool { return strings.EqualFold(n, name) }) {
				missing = append(missing, name)
			}
			continue
		}
		bits |= 1 << i
	}
	return bits, missing
}

// add gives letters to names, and returns how many got one; used are the
// letters that messages have.
func (k *keywordState) add(names []string, used uint64) int {
	for n, name := range names {
		i := 0
		for i < maxKeywords && (i < len(k.names) && k.names[i] != "" || used&(1<<i) != 0) {
			i++
		}
		if i == maxKeywords {
			return n
		}
		for len(k.names) <= i {
			k.names = append(k.names, "")
		}
		k.names[i] = name
	}
	return len(names)
}

// checkKeyword accepts an IMAP atom: what else could stand in the file would
// not come back as it was.
func checkKeyword(name string) error {
	bad := name == "" || len(name) > 200 || strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r)
	})
	if bad {
		return status.Newf(501, "5.5.4", "cannot use %q as a keyword", cut(name))
	}
	return nil
}

// keywordBits returns the bits of names, and gives letters to new ones.
func (f *Folder) keywordBits(ctx context.Context, names []string, create bool) (uint64, error) {
	if len(names) == 0 {
		return 0, nil
	}
	if f.ids.header.validity == 0 { // peyk-keywords belongs to one
		if err := f.ready(ctx); err != nil {
			return 0, err
		}
	}
	path := f.path(keywordsName)
	if err := f.loadKeywords(); err != nil {
		return 0, err
	}
	bits, missing := bitsOf(f.keywordNamesNow(), names)
	if len(missing) == 0 || !create {
		return bits, nil
	}
	for _, name := range missing {
		if err := checkKeyword(name); err != nil {
			return 0, err
		}
	}
	lock, err := f.lockUIDs(ctx)
	if err != nil {
		return 0, err
	}
	defer lock.release()
	if err := f.loadKeywords(); err != nil {
		return 0, err
	}
	_, missing = bitsOf(f.keywordNamesNow(), names)
	if err := f.addKeywords(lock, missing); err != nil {
		if errors.Is(err, ErrKeywords) {
			return 0, status.Newf(452, "4.2.2", "cannot add a keyword, the folder has %d already", maxBits).Because(path, err)
		}
		return 0, temporary("cannot save the keyword", path, err)
	}
	bits, _ = bitsOf(f.keywordNamesNow(), names)
	return bits, nil
}

// addKeywords gives letters to names, or what else there is.
func (f *Folder) addKeywords(lock *dotlock, names []string) error {
	fresh := keywordState{names: slices.Clone(f.keywords.names)}
	n := fresh.add(names, f.usedLetters())
	if n > 0 {
		if err := f.writeKeywords(lock, fresh.names); err != nil {
			return err
		}
	}
	if n == len(names) {
		return nil
	}
	return f.addMore(lock, names[n:])
}

// usedLetters returns the letters that messages have, named or not.
func (f *Folder) usedLetters() uint64 {
	if s := f.snap.Load(); s != nil {
		return s.used
	}
	return 0
}

// writeKeywords replaces the file. Dovecot reads it again only when its time
// stamp, in whole seconds, has changed, so each version is a second newer.
func (f *Folder) writeKeywords(lock *dotlock, names []string) error {
	path := f.path(keywordsName)
	at := time.Now()
	if last := time.Unix(f.keywords.stamp.mtim.Unix()); at.Unix() <= last.Unix() {
		at = last.Add(time.Second)
	}
	tmp := path + ".lock" // Dovecot's name for it
	os.Remove(tmp)
	file, err := f.host.create(tmp)
	if err != nil {
		return err
	}
	_, err = file.Write(formatKeywords(names))
	if err == nil {
		err = os.Chtimes(tmp, at, at)
	}
	if err == nil && !lock.held() {
		err = ErrLocked
	}
	if err != nil {
		file.Abort()
		return err
	}
	if err := file.Replace(path); err != nil {
		return err
	}
	return f.keywords.load(path)
}

// nameAll returns the names for a snapshot: a letter that messages have but
// that the file does not name is called as Dovecot calls it.
func nameAll(names []string, used uint64) []string {
	all := slices.Clone(names)
	for i := range maxBits {
		if used&(1<<i) == 0 {
			continue
		}
		for len(all) <= i {
			all = append(all, "")
		}
		if all[i] == "" {
			all[i] = fmt.Sprintf("unknown-%d", i)
		}
	}
	return all
}
