package mailbox

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"peyk/internal/commit"
)

// An Addition is messages that get into a folder together, or not at all
// (RFC 3502). They are written one after the other as they come; nobody sees
// any of them before Commit. Abort must be called in the end, whatever
// happened.
type Addition struct {
	f     *Folder
	items []item
	bytes int64
	open  int // how many of the items are not durable yet
}

// maxUnsettled bounds the files that an addition keeps open, to make them
// durable together.
const maxUnsettled = 32

// Begin begins an addition.
func (f *Folder) Begin() *Addition { return &Addition{f: f} }

// Len returns how many messages there are.
func (a *Addition) Len() int { return len(a.items) }

// Add writes one more message. An error of m.Write comes back as it is, and
// leaves the addition as it was.
func (a *Addition) Add(m NewMessage) error {
	f := a.f
	if f.gone.Load() {
		return noFolder(f.name)
	}
	it, err := f.writeItem(&m)
	if err != nil {
		return err
	}
	a.items, a.bytes, a.open = append(a.items, it), a.bytes+it.size, a.open+1
	if a.open == maxUnsettled {
		a.open = 0
		if err := commit.Settle(unsettled(a.items), func() error { return nil }); err != nil {
			a.Abort()
			return err
		}
	}
	// What cannot stay in the end must not fill the disk meanwhile.
	err = f.Room(a.bytes, int64(len(a.items)))
	if err != nil {
		a.Abort()
	}
	return err
}

// Room returns an error that wraps ErrQuota when so much more does not fit
// into the account.
func (f *Folder) Room(octets, messages int64) error {
	return temporary("cannot store the message", f.dir, f.host.checkQuota(f.account.root, f.account.Quota(), octets, messages))
}

// Commit makes the messages durable and visible, and returns their UIDs in
// the order of Add.
func (a *Addition) Commit() ([]uint32, error) {
	f := a.f
	f.mu.Lock()
	defer f.mu.Unlock()
	uids, err := a.commit()
	return uids, temporary("cannot store the messages", f.dir, err)
}

// commit wants f.mu.
func (a *Addition) commit() ([]uint32, error) {
	f := a.f
	if f.gone.Load() {
		return nil, noFolder(f.name)
	}
	t := f.host.tally(f.account.root, f.account.Quota())
	defer t.done()
	uids, err := f.add(context.Background(), a.items)
	if err != nil {
		return nil, err
	}
	f.host.countQuota(f.account.root, a.bytes, int64(len(a.items)))
	a.items, a.bytes = nil, 0
	return uids, nil
}

// Abort removes what was written. After Commit it does nothing.
func (a *Addition) Abort() {
	dropItems(a.items)
	a.items, a.bytes = nil, 0
}

// Replace is Commit that also removes a message of a folder (RFC 8508): first
// the messages are durable, then the old one goes. Who looks at the folders
// finds both done, or none. The error is ErrGone when the old message is not
// there any more, and then nothing is added.
func (a *Addition) Replace(from *Folder, uid uint32) ([]uint32, error) {
	unlock := lockBoth(from, a.f)
	defer unlock()
	if err := from.refresh(context.Background(), true); err != nil {
		return nil, err
	}
	if _, ok := from.snap.Load().Find(uid); !ok {
		return nil, ErrGone
	}
	uids, err := a.commit()
	if err != nil {
		return nil, temporary("cannot store the message", a.f.dir, err)
	}
	return uids, from.expunge([]uint32{uid})
}

// Scratch opens a file without a name in the folder, for what must be looked at
// before it is a message. It goes when it is closed.
func (a *Addition) Scratch() (*os.File, error) {
	dir := a.f.path("tmp")
	file, err := openPlain(dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return file, err
	}
	file, err = os.CreateTemp(dir, "scratch") // such as NFS
	if err == nil {
		err = os.Remove(file.Name())
	}
	return file, err
}
