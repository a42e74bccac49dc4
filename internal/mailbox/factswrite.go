package mailbox

import (
	"encoding/binary"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxFactsFile is as far as entries reach.
const maxFactsFile = 16 << 30

// remember adds facts to the batch that is written next.
func (x *factsFile) remember(uid uint32, who uint64, a *Facts) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.pending) > maxPending || x.end > maxFactsFile || factsHead+a.size() > maxFactsRecord-factsAlign {
		return // writing is too slow, or has no end
	}
	x.pending = appendFacts(x.pending, uid, who, a)
}

func (a *Facts) size() int {
	return len(a.Envelope) + len(a.Fields) + len(a.Structure) + len(a.Body) + len(a.preview)
}

// full reports whether the batch should be written.
func (x *factsFile) full() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.pending) > maxPending/2
}

// write writes the batch while the caller goes on; one at a time. Settled
// waits for it.
func (x *factsFile) write(f *Folder) {
	if !x.writing.TryLock() {
		return
	}
	x.wait.Go(func() {
		defer x.writing.Unlock()
		x.flush(f)
	})
}

func (x *factsFile) settled() { x.wait.Wait() }

// flush appends the batch to the file. When something is in the way the batch
// is dropped: others will read the messages again.
func (x *factsFile) flush(f *Folder) {
	s := f.snap.Load()
	x.mu.Lock()
	defer x.mu.Unlock()
	batch := x.pending
	x.pending = nil
	if len(batch) == 0 || s == nil || s.Messages.Len() < minFacts || f.gone.Load() || time.Now().Before(x.retry) {
		return
	}
	if err := x.append(batch, s); err != nil && !os.IsNotExist(err) {
		x.trouble(err)
	}
	if len(batch) >= maxPending/2 {
		x.pending = batch[:0] // there will be more
	}
}

// append appends records, under the lock of the file.
func (x *factsFile) append(batch []byte, s *Snapshot) error {
	if err := x.lock(s.UIDValidity); err != nil || x.file == nil {
		return err
	}
	defer func() {
		if x.file != nil {
			unix.Flock(int(x.file.Fd()), unix.LOCK_UN)
		}
	}()
	if x.torn || x.wasteful(s) {
		if err := x.compact(s); err != nil || x.file == nil {
			return err
		}
	}
	at := x.end
	news := entriesOf(batch, at)
	x.add(news)
	if end := at + int64(len(batch)); end-x.indexed > max(minUnindexed, 4*int64(len(x.entries)*indexEntrySize)) {
		batch = appendIndex(batch, x.entries, x.records)
		x.index, x.indexed = end, at+int64(len(batch))
	}
	batch = appendFooter(batch, x.index)
	x.head.sign(batch, at)
	n, err := x.file.Write(batch)
	if err == nil {
		x.end += int64(n)
	}
	return err
}

// lock opens the file, makes it if need be, takes its lock and reads what
// others have written. x.file is nil when that is not to be had now.
func (x *factsFile) lock(validity uint32) error {
	for range 3 {
		if err := x.catchUpLocked(validity); err != nil && !os.IsNotExist(err) {
			return err
		}
		if x.file == nil {
			if err := x.create(validity); err != nil {
				return err
			}
			continue
		}
		if !flockSoon(x.file) {
			x.forget()
			return nil
		}
		if _, current := x.current(); current {
			return x.catchUpLocked(validity)
		}
		x.forget()
	}
	x.forget()
	return nil
}

// flockSoon takes the lock unless it stays taken.
func flockSoon(file *os.File) bool {
	for wait := time.Millisecond; ; wait *= 2 {
		if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return true
		}
		if wait > 4*time.Millisecond {
			return false
		}
		time.Sleep(wait)
	}
}

// create puts an empty file in place.
func (x *factsFile) create(validity uint32) error {
	head, err := x.newHead(validity)
	if err != nil {
		return err
	}
	if err := x.host.writeCache(x.path, head.encode()); err != nil {
		return err
	}
	return x.open(validity)
}

func (x *factsFile) newHead(validity uint32) (factsFileHead, error) {
	var salt [8]byte
	err := x.host.random(salt[:])
	return factsFileHead{validity, binary.LittleEndian.Uint64(salt[:])}, err
}

// entriesOf returns the entries of records that will stand at an offset.
func entriesOf(batch []byte, at int64) []factsEntry {
	var entries []factsEntry
	for from := 0; from < len(batch); from += int(binary.LittleEndian.Uint32(batch[from:])) {
		b := batch[from:]
		entries = append(entries, factsEntry{recordUID(b), uint32((at + int64(from)) / factsAlign), recordHave(b)})
	}
	return entries
}

// wasteful reports whether most records are of no use: replaced, or of
// messages that are gone.
func (x *factsFile) wasteful(s *Snapshot) bool {
	if x.records < 2*minFacts || x.records < 2*len(x.entries) && x.records < 2*s.Messages.Len() {
		return false
	}
	return x.records > 2*x.useful(s)
}

// useful counts the records of messages that are there.
func (x *factsFile) useful(s *Snapshot) int {
	n := 0
	for _, e := range x.entries {
		if stays(s, e.uid) {
			n++
		}
	}
	return n
}

// stays reports whether a message is there, or may be newer than the snapshot.
func stays(s *Snapshot, uid uint32) bool {
	_, ok := s.Messages.Index(uid)
	return ok || uid >= s.UIDNext
}

// compact writes the useful records into a new file, and takes its lock. That
// of the old one is held, and keeps others from adding to it.
func (x *factsFile) compact(s *Snapshot) error {
	head, err := x.newHead(s.UIDValidity)
	if err != nil {
		return err
	}
	name, err := x.host.uniqueName()
	if err != nil {
		return err
	}
	tmp := x.path + "." + name
	file, err := x.host.create(tmp)
	if err != nil {
		return err
	}
	if err := x.copyInto(file, head, s); err != nil {
		file.Abort()
		return err
	}
	err = file.Close()
	if err == nil {
		err = x.host.o.Disk.RenameUnsynced(tmp, x.path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	x.forget() // gives the old lock back: who gets it sees that the file has no name
	if err := x.open(s.UIDValidity); err != nil {
		return err
	}
	if x.file != nil && !flockSoon(x.file) {
		x.forget()
		return nil
	}
	return x.catchUpLocked(s.UIDValidity)
}

// copyInto writes a whole file: head, useful records, index and footer.
func (x *factsFile) copyInto(w interface{ Write([]byte) (int, error) }, head factsFileHead, s *Snapshot) error {
	r := &factsReader{}
	out := head.encode()
	at := int64(0) // of out
	var entries []factsEntry
	for _, e := range x.entries {
		if !stays(s, e.uid) {
			continue
		}
		b := r.record(factsPlace{file: x.file, head: x.head, at: e.offset()}, x.end)
		if b == nil || b[15] != recordFacts {
			continue
		}
		here := at + int64(len(out))
		entries = append(entries, factsEntry{e.uid, uint32(here / factsAlign), e.have})
		out = append(out, b...)
		head.sign(out[len(out)-len(b):], here)
		if len(out) >= maxPending {
			if _, err := w.Write(out); err != nil {
				return err
			}
			at, out = at+int64(len(out)), out[:0]
		}
	}
	here, from := at+int64(len(out)), len(out)
	out = appendFooter(appendIndex(out, entries, len(entries)), here)
	head.sign(out[from:], here)
	_, err := w.Write(out)
	return err
}

// close writes what is left, and lets go of the file.
func (x *factsFile) close(f *Folder) {
	x.wait.Wait()
	x.flush(f)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forget()
}
