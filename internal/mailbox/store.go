package mailbox

import (
	"context"
	"errors"
	"os"
)

// Store changes flags and keywords of messages, durably; the new state is in
// the next snapshot. The change is made to what the file's name says at that
// moment, so two programs that add different flags both succeed. Messages
// that are gone make it fail with ErrGone after all others are done.
//
// With UnchangedSince, messages that have changed since are left alone and
// returned (RFC 7162 §3.1.3).
func (f *Folder) Store(uids []uint32, c Change) (modified []uint32, err error) {
	ctx := context.Background()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.ready(ctx); err != nil {
		return nil, err
	}
	if c.UnchangedSince != nil {
		if err := f.refresh(ctx, true); err != nil {
			return nil, err
		}
	}
	bits, err := f.keywordBits(ctx, c.Keywords, c.Op != Remove)
	if err != nil {
		return nil, err
	}
	f.mods.locking = c.UnchangedSince != nil
	f.saving = (bits|f.usedLetters())&^letterBits != 0
	defer func() { f.mods.locking, f.saving = false, false }()
	err = f.each(ctx, uids, func(own *ownChange, s *scan, i int) error {
		if c.UnchangedSince != nil && s.messages.At(i).ModSeq > *c.UnchangedSince {
			modified = append(modified, s.messages.At(i).UID)
			return nil
		}
		return f.rename(own, s, i, func(m *Message) { c.apply(m, bits) })
	})
	return modified, err
}

// apply makes the change to a message.
func (c *Change) apply(m *Message, keywords uint64) {
	switch c.Op {
	case Add:
		m.Flags, m.Keywords = m.Flags|c.Flags, m.Keywords|keywords
	case Remove:
		m.Flags, m.Keywords = m.Flags&^c.Flags, m.Keywords&^keywords
	default:
		m.Flags = m.Flags&c.Keep | c.Flags&^c.Keep
		if !c.KeepKeywords {
			m.Keywords = keywords
		}
	}
}

// ready makes sure that there is a snapshot to work on.
func (f *Folder) ready(ctx context.Context) error {
	if f.gone.Load() {
		return noFolder(f.name)
	}
	if f.snap.Load() != nil {
		return nil
	}
	return f.refresh(ctx, true)
}

// each does something to the files of messages. Those that are not where
// they were are looked for again. Whatever was done is then durable and
// published, even after an error.
func (f *Folder) each(ctx context.Context, uids []uint32, do func(own *ownChange, s *scan, i int) error) error {
	left, err := f.eachOnce(uids, do)
	for tries := 0; err == nil && len(left) > 0 && tries < 5; tries++ {
		f.curOK, f.newOK = false, false
		if err = f.refresh(ctx, true); err == nil {
			left, err = f.eachOnce(left, do)
		}
	}
	if err != nil {
		return temporary("cannot change the message", f.dir, err)
	}
	if len(left) > 0 {
		return ErrGone
	}
	return nil
}

func (f *Folder) eachOnce(uids []uint32, do func(own *ownChange, s *scan, i int) error) (left []uint32, err error) {
	var lock *dotlock
	if f.saving {
		if lock, err = f.lockUIDs(context.Background()); err != nil {
			return uids, err
		}
		defer lock.release()
	}
	if f.mods.locking {
		f.holdLog()
		defer f.releaseLog()
	}
	own := f.changeCur()
	f.amend(func(s *scan) {
		for _, uid := range uids {
			i, ok := s.messages.Index(uid)
			if !ok {
				left = append(left, uid)
				continue
			}
			e := do(own, s, i)
			if errors.Is(e, os.ErrNotExist) {
				left = append(left, uid)
				continue
			}
			if err = e; err != nil {
				break
			}
		}
		if len(s.expunged) > 0 {
			s.messages.drop(s.expunged)
		}
		if len(s.more) > 0 {
			err = errors.Join(err, f.storeMore(lock, s))
		}
		own.done()
	})
	if own.any {
		err = errors.Join(err, f.host.o.Disk.SyncDir(f.path("cur")))
	}
	return left, err
}

// rename gives the file of message i the name that its changed flags ask for.
func (f *Folder) rename(own *ownChange, s *scan, i int, change func(*Message)) error {
	m := *s.messages.At(i)
	from := s.messages.path(i)
	change(&m)
	was := s.messages.At(i)
	if m.Flags == was.Flags && m.Keywords&letterBits == was.Keywords&letterBits {
		if err := f.stillThere(from); err != nil {
			return err
		}
		if m.Keywords != was.Keywords {
			s.messages.edit(i).Keywords = m.Keywords
			s.used |= m.Keywords
			s.more = append(s.more, moreBits{m.UID, m.Keywords})
		}
		return nil
	}
	_, info := splitName(from)
	to := "cur/" + m.Base + mergeInfo(info, m.Flags, m.Keywords)
	own.expect(from, to)
	if err := f.host.o.Disk.RenameUnsynced(f.path(from), f.path(to)); err != nil {
		return err
	}
	if from[:4] == "new/" {
		f.newOK = false
		f.recent[m.UID] = true
	}
	if m.Keywords&^letterBits != was.Keywords&^letterBits {
		s.more = append(s.more, moreBits{m.UID, m.Keywords})
	}
	place := placeOf("cur", []byte(to[len("cur/")+len(m.Base):]), m.Flags, m.Keywords&letterBits)
	s.set(i, m.Flags, m.Keywords, place, to)
	return nil
}

// storeMore makes keywords without a letter durable, or takes them back.
func (f *Folder) storeMore(lock *dotlock, s *scan) error {
	err := f.saveMore(lock, s.more)
	for _, c := range s.more {
		if i, ok := s.messages.Index(c.uid); ok && err != nil {
			m := s.messages.edit(i)
			m.Keywords = m.Keywords&letterBits | f.more.bits[c.uid]
		}
	}
	return err
}

// stillThere fails when a message that needs no change has another name by
// now: then it may need one.
func (f *Folder) stillThere(path string) error {
	_, err := os.Lstat(f.path(path))
	return err
}

// Expunge removes messages, durably, whether or not they are flagged for it.
// Those that are gone already do not count as an error.
func (f *Folder) Expunge(uids []uint32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.expunge(uids)
}

// expunge wants f.mu.
func (f *Folder) expunge(uids []uint32) error {
	ctx := context.Background()
	if err := f.ready(ctx); err != nil {
		return err
	}
	t := f.host.tally(f.account.root, f.account.Quota())
	defer t.done()
	var bytes, count int64
	err := f.each(ctx, uids, func(own *ownChange, s *scan, i int) error {
		m, path := s.messages.At(i), s.messages.path(i)
		own.expect(path)
		if err := f.host.o.Disk.Remove(f.path(path)); err != nil {
			return err
		}
		if path[:4] == "new/" {
			f.newOK = false
		}
		bytes, count = bytes+max(m.FileSize, 0), count+1
		f.dropped(m)
		s.expunged = append(s.expunged, m.UID)
		return nil
	})
	if count > 0 {
		f.host.countQuota(f.account.root, -bytes, -count)
	}
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}
