package mailbox

import (
	"context"
	"errors"
	"os"
)

// transfer is what Copy and Move differ in.
type transfer struct {
	move   bool
	rights Rights // on the destination: flags that they do not allow are left behind
	put    func(h *Host, from, dstDir, final string) error
}

// Copy copies messages to another folder by hard links, all or none, with
// flags, keywords and date. It returns the UIDs of both sides in the same
// order (RFC 4315 §3). A message that is gone makes it fail with ErrGone.
func (f *Folder) Copy(uids []uint32, dst *Folder) (src, dstUIDs []uint32, err error) {
	return f.CopyFor(AllRights, uids, dst)
}

// CopyFor is Copy for one who has these rights on dst: flags that he may not
// set are not copied (RFC 4314 §4).
func (f *Folder) CopyFor(rights Rights, uids []uint32, dst *Folder) (src, dstUIDs []uint32, err error) {
	return f.transfer(uids, dst, transfer{rights: rights, put: func(h *Host, from, dir, final string) error {
		err := h.o.Disk.LinkUnsynced(from, final)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return err
		}
		return h.copyFile(from, dir, final) // another file system, or too many links
	}})
}

// Move moves messages to another folder, all or none (RFC 6851).
func (f *Folder) Move(uids []uint32, dst *Folder) (src, dstUIDs []uint32, err error) {
	return f.MoveFor(AllRights, uids, dst)
}

// MoveFor is to Move what CopyFor is to Copy.
func (f *Folder) MoveFor(rights Rights, uids []uint32, dst *Folder) (src, dstUIDs []uint32, err error) {
	return f.transfer(uids, dst, transfer{move: true, rights: rights, put: func(h *Host, from, _, final string) error {
		return h.o.Disk.MoveUnsynced(from, final)
	}})
}

func (f *Folder) transfer(uids []uint32, dst *Folder, t transfer) (src, dstUIDs []uint32, err error) {
	unlock := lockBoth(f, dst)
	defer unlock()
	for range 5 {
		src, dstUIDs, err = f.transferOnce(uids, dst, t)
		if !errors.Is(err, os.ErrNotExist) {
			break
		}
		// Another program renamed a file meanwhile. Look where it is now.
		f.curOK, f.newOK = false, false
		if err := f.refresh(context.Background(), true); err != nil {
			return nil, nil, err
		}
	}
	if errors.Is(err, ErrGone) {
		return nil, nil, ErrGone
	}
	return src, dstUIDs, temporary("cannot copy the messages", dst.dir, err)
}

// lockBoth locks two folders in an order that cannot end in a deadlock.
func lockBoth(a, b *Folder) (unlock func()) {
	if a == b {
		a.mu.Lock()
		return a.mu.Unlock
	}
	if a.dir > b.dir {
		a, b = b, a
	}
	a.mu.Lock()
	b.mu.Lock()
	return func() { b.mu.Unlock(); a.mu.Unlock() }
}

func (f *Folder) transferOnce(uids []uint32, dst *Folder, t transfer) (src, dstUIDs []uint32, err error) {
	ctx := context.Background()
	if err := f.ready(ctx); err != nil {
		return nil, nil, err
	}
	if dst.gone.Load() {
		return nil, nil, noFolder(dst.name)
	}
	own := f.changeCur()
	items, bytes, err := f.itemsFor(uids, dst, t, own)
	if err != nil || len(items) == 0 {
		return nil, nil, err
	}
	charged := !t.move || f.account != dst.account
	if charged {
		if err := f.host.checkQuota(dst.account.root, dst.account.Quota(), bytes, int64(len(items))); err != nil {
			return nil, nil, err
		}
	}
	if charged {
		to := dst.host.tally(dst.account.root, dst.account.Quota())
		defer to.done()
	}
	if charged && t.move {
		from := f.host.tally(f.account.root, f.account.Quota())
		defer from.done()
	}
	dstUIDs, err = dst.add(ctx, items)
	if t.move {
		own.done()
	}
	if err != nil {
		return nil, nil, err
	}
	if charged {
		dst.host.countQuota(dst.account.root, bytes, int64(len(items)))
	}
	if t.move {
		f.left(uids, bytes, charged)
	}
	return uids, dstUIDs, nil
}

// itemsFor prepares messages for another folder.
func (f *Folder) itemsFor(uids []uint32, dst *Folder, t transfer, own *ownChange) (items []item, bytes int64, err error) {
	s := f.snap.Load()
	for _, uid := range uids {
		seq, ok := s.Find(uid)
		if !ok {
			return nil, 0, ErrGone
		}
		m := s.Messages.At(seq - 1)
		name, err := f.host.uniqueName()
		if err != nil {
			return nil, 0, err
		}
		it := item{base: withSizes(name, max(m.FileSize, 0), m.Size), flags: m.Flags, keywords: s.keywordNames(m),
			size: m.FileSize, wire: m.Size, date: m.date}
		it.limit(t.rights)
		from := s.Messages.path(seq - 1)
		it.put = func(final string) error {
			if t.move {
				own.expect(from)
			}
			return t.put(f.host, f.path(from), dst.dir, final)
		}
		it.undo = func(final string) {
			if t.move {
				os.Rename(final, f.path(from))
				f.dirty.Store(true)
				return
			}
			os.Remove(final)
		}
		items, bytes = append(items, it), bytes+max(m.FileSize, 0)
	}
	return items, bytes, nil
}

// limit drops the flags that rights do not allow.
func (it *item) limit(rights Rights) {
	may, keywords := rights.Settable()
	it.flags &= may
	if !keywords {
		it.keywords = nil
	}
}

// keywordNames returns the names of a message's keywords.
func (s *Snapshot) keywordNames(m *Message) []string {
	var names []string
	for i, name := range s.Keywords {
		if m.Keywords&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// left takes messages that were moved away out of the snapshot.
func (f *Folder) left(uids []uint32, bytes int64, charged bool) {
	f.newOK = false
	f.amend(func(s *scan) {
		for _, uid := range uids {
			if i, ok := s.messages.Index(uid); ok {
				f.dropped(s.messages.At(i))
			}
		}
		s.messages.drop(uids)
	})
	if charged {
		f.host.countQuota(f.account.root, -bytes, -int64(len(uids)))
	}
	// The messages are durable where they are now. If this fails, a power cut
	// may leave them here as well: no reason to say that they were not moved.
	if err := f.host.o.Disk.SyncDir(f.path("cur")); err != nil {
		f.host.trouble("cannot make it durable that messages were moved away", f.dir, err)
	}
}
