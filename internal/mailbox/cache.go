package mailbox

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// cacheName is a file that keeps what a scan of the folder found, so that the
// next process need not list the folder again: the time stamps of the
// directories and of the uidlist tell whether it still holds. It is not
// synced; a checksum shows when it is torn. It may be removed at any time.
const cacheName = "peyk-cache"

// minCached is the number of messages from which a cache is worth its file.
const minCached = 32

// cached is the content of the file.
type cached struct {
	ids                uidState
	idsMtime           int64
	newStamp, curStamp stamp
	newOK, curOK       bool
	messages           []Message
	odd                map[uint32]string
	absent             map[string]uint32
}

func (f *Folder) cachePath() string {
	if f.host.o.CacheDir == "" {
		return f.path(cacheName)
	}
	return filepath.Join(f.host.o.CacheDir, fmt.Sprintf("%x", sha256.Sum256([]byte(f.dir)))[:32]+".cache")
}

// loadCache begins with what a former process knew. A cache that cannot be
// read, or does not belong to this uidlist, is as good as none.
func (f *Folder) loadCache() {
	raw, err := os.ReadFile(f.cachePath())
	if err != nil {
		return
	}
	c, err := decodeCache(raw)
	if err != nil {
		f.host.trouble("folder cache is broken, the folder is read anew", f.cachePath(), err)
		return
	}
	if !f.fits(c) {
		c.newOK, c.curOK, c.ids.read = false, false, false
	}
	f.ids, f.absent, f.index = c.ids, c.absent, nil
	f.newStamp, f.curStamp, f.newOK, f.curOK = c.newStamp, c.curStamp, c.newOK, c.curOK
	f.keywords.load(f.path(keywordsName))
	s := &Snapshot{Generation: 1, UIDValidity: c.ids.header.validity, UIDNext: c.ids.header.next,
		HighestModSeq: f.nextModSeq(0)}
	f.lying = make(map[uint32]bool)
	for i := range c.messages {
		m := &c.messages[i]
		m.ModSeq = s.HighestModSeq
		s.used |= m.Keywords
		if m.where == inNew {
			m.Recent, f.lying[m.UID] = true, true
		}
	}
	s.Messages = ListOf(c.messages)
	s.Messages.setOdd(c.odd)
	s.Keywords = nameAll(f.keywords.names, s.used)
	f.snap.Store(s)
	f.saved = savedCache{curStamp: c.curStamp, curOK: c.curOK, messages: len(c.messages)}
}

// fits reports whether the uidlist is the one that the cache was made with,
// or has only grown since.
func (f *Folder) fits(c *cached) bool {
	var st unix.Stat_t
	if unix.Lstat(f.path(uidlistName), &st) != nil || !c.ids.same(&st) || st.Size < c.ids.size {
		return false
	}
	return st.Size > c.ids.size || st.Mtim.Nano() == c.idsMtime
}

// savedCache is what the file on disk says, as far as it matters for whether
// to write another.
type savedCache struct {
	curStamp stamp
	curOK    bool
	messages int
}

// worthSaving reports whether the next process would gain by a new cache. New
// mail alone is no reason: it is found through the uidlist and new/.
func (f *Folder) worthSaving(s *Snapshot) bool {
	n, had := s.Messages.Len(), f.saved.messages
	if n < minCached || !f.ids.read || f.ids.rewrite {
		return false
	}
	if max(n-had, had-n) > max(minCached, n/50) {
		return true
	}
	return f.curOK && (f.curStamp != f.saved.curStamp || !f.saved.curOK)
}

// saveCache keeps what is known for the next process. f.mu is held.
func (f *Folder) saveCache() {
	s := f.snap.Load()
	if s == nil || f.gone.Load() || !f.worthSaving(s) {
		return
	}
	var st unix.Stat_t
	if unix.Lstat(f.path(uidlistName), &st) != nil || !f.ids.same(&st) {
		return
	}
	c := cached{ids: f.ids, idsMtime: st.Mtim.Nano(), newStamp: f.newStamp, curStamp: f.curStamp, newOK: f.newOK,
		curOK: f.curOK, messages: s.Messages.slice(), odd: s.Messages.odds(), absent: f.absent}
	if err := f.host.writeCache(f.cachePath(), c.encode()); err != nil {
		f.host.trouble("cannot write the folder cache", f.cachePath(), err)
		return
	}
	f.saved = savedCache{curStamp: f.curStamp, curOK: f.curOK, messages: s.Messages.Len()}
}

func (h *Host) writeCache(path string, data []byte) error {
	if h.o.CacheDir != "" {
		if err := os.MkdirAll(h.o.CacheDir, 0o700); err != nil {
			return err
		}
	}
	name, err := h.uniqueName()
	if err != nil {
		return err
	}
	tmp := path + "." + name
	file, err := h.create(tmp)
	if err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		file.Abort()
		return err
	}
	err = file.Close()
	if err == nil {
		err = h.o.Disk.RenameUnsynced(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// DropCaches removes what can be rebuilt from the mail: the caches of folders and of
// message facts.
func (a *Account) DropCaches() error {
	dirs, err := folderDirs(a.root)
	if err != nil {
		return temporary("cannot list the folders", a.root, err)
	}
	var errs []error
	for _, dir := range dirs {
		f := &Folder{host: a.host, dir: filepath.Join(a.root, dir)}
		for _, path := range []string{f.cachePath(), f.factsPath()} {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
