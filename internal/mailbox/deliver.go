package mailbox

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"peyk/internal/status"
)

// drop is one target while it is delivered to.
type drop struct {
	Target
	dir   string // of the folder
	final string // name in new/, once the message has it
	err   error
}

// Deliver writes a message into all targets: once, however many they are;
// the others get a hard link to it. It returns one error per target, nil when
// the message is durable there. A full mailbox is 452 4.2.2, or 552 5.2.2
// when the message will never fit; what the system refuses is 451. ErrFiled is
// a success: an earlier attempt had put the message there. An error
// of write, which is given line ends CRLF or LF, comes back for every target.
func (h *Host) Deliver(targets []Target, write func(io.Writer) error) []error {
	drops := make([]drop, len(targets))
	for i, t := range targets {
		drops[i].Target = t
		drops[i].dir, drops[i].err = h.targetDir(t)
		if drops[i].err == nil && t.Again && t.Ident != "" {
			drops[i].err = h.filedBefore(drops[i].dir, markOf(t.Ident))
		}
	}
	h.deliver(drops, write)
	errs := make([]error, len(drops))
	for i := range drops {
		if errs[i] = drops[i].err; errs[i] != ErrFiled {
			errs[i] = temporary("cannot deliver to the mailbox", drops[i].Root, errs[i])
		}
	}
	return errs
}

func (h *Host) deliver(drops []drop, write func(io.Writer) error) {
	carrier, w, err := h.writeOnce(drops, write)
	if carrier < 0 || err != nil {
		failAll(drops, err)
		return
	}
	for i := range drops {
		if d := &drops[i]; d.err == nil {
			d.err = d.checkQuota(h, w.size)
		}
	}
	for i := range drops {
		if d := &drops[i]; d.err == nil {
			t := h.tally(d.Root, d.Quota)
			defer t.done()
		}
	}
	for i := range drops {
		if d := &drops[i]; i != carrier && d.err == nil {
			d.err = h.linkInto(d, w)
		}
	}
	h.moveCarrier(&drops[carrier], w)
	h.syncDrops(drops)
	for i := range drops {
		if d := &drops[i]; d.err == nil {
			h.marks.add(d.dir, d.Ident)
			h.countQuota(d.Root, w.size, 1)
		}
	}
}

func failAll(drops []drop, err error) {
	for i := range drops {
		if drops[i].err == nil {
			drops[i].err = err
		}
	}
}

// targetDir returns the directory of the folder to deliver to. A folder that
// does not exist, or cannot, is INBOX; a Maildir that does not exist is made.
func (h *Host) targetDir(t Target) (string, error) {
	root, err := filepath.Abs(t.Root)
	if err != nil {
		return "", err
	}
	if t.Folder != "" && CanonicalName(t.Folder) != Inbox && CheckName(t.Folder) == nil {
		dir := root + "/" + dirOf(t.Folder)
		if err := realDirs(dir, dir+"/new", dir+"/tmp"); err == nil {
			return dir, nil
		}
	}
	err = realDirs(root+"/new", root+"/tmp")
	if errors.Is(err, os.ErrNotExist) {
		err = h.initMaildir(root)
		if err == nil {
			err = realDirs(root+"/new", root+"/tmp")
		}
	}
	return root, err
}

// realDirs makes sure that paths are directories, not symbolic links to
// somebody else's.
func realDirs(paths ...string) error {
	for _, p := range paths {
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return &os.PathError{Op: "deliver", Path: p, Err: errors.New("not a directory")}
		}
	}
	return nil
}

// writeOnce writes the message into tmp of the first target that can take it.
func (h *Host) writeOnce(drops []drop, write func(io.Writer) error) (carrier int, w written, err error) {
	for i := range drops {
		if drops[i].err != nil {
			continue
		}
		began := false
		w, err = h.writeTmp(drops[i].dir, drops[i].Ident, func(m *mailWriter) error {
			began = true
			return write(m)
		})
		if err == nil {
			return i, w, nil
		}
		if began {
			return i, w, err // the message cannot be read twice
		}
		drops[i].err = err
	}
	return -1, w, err
}

// linkInto gives the message a name in new/ of a target; where hard links do
// not reach, it is copied.
func (h *Host) linkInto(d *drop, w written) error {
	name, err := h.nameFor(d.Ident)
	if err != nil {
		return err
	}
	final := d.dir + "/new/" + withSizes(name, w.size, w.wire)
	if err := h.o.Disk.LinkUnsynced(w.tmp, final); err != nil {
		err = h.copyFile(w.tmp, d.dir, final)
		if err != nil {
			return err
		}
	}
	d.final = final
	return nil
}

// copyFile makes final, below dir, a durable copy of a message, with its time.
func (h *Host) copyFile(from, dir, final string) error {
	src, info, err := openRegular(from)
	if err != nil {
		return err
	}
	defer src.Close()
	file, err := h.create(dir + "/tmp/" + filepath.Base(final))
	if err != nil {
		return err
	}
	_, err = io.Copy(file.File, src)
	if err == nil {
		err = os.Chtimes(file.Name(), info.ModTime(), info.ModTime())
	}
	if err != nil {
		file.Abort()
		return err
	}
	if err := file.Finish(); err != nil {
		return err
	}
	if err := h.o.Disk.MoveUnsynced(file.Name(), final); err != nil {
		os.Remove(file.Name())
		return err
	}
	return nil
}

// moveCarrier moves the first copy from tmp/ to new/, or away if its target
// refuses it.
func (h *Host) moveCarrier(d *drop, w written) {
	if d.err == nil {
		final := d.dir + "/new/" + withSizes(filepath.Base(w.tmp), w.size, w.wire)
		d.err = h.o.Disk.MoveUnsynced(w.tmp, final)
		if d.err == nil {
			d.final = final
			return
		}
	}
	os.Remove(w.tmp)
}

// syncDrops makes the names durable, all directories at the same time. Where
// that fails the message is taken back.
func (h *Host) syncDrops(drops []drop) {
	var wg sync.WaitGroup
	for i := range drops {
		d := &drops[i]
		if d.err != nil {
			continue
		}
		sync := func() {
			if d.err = h.o.Disk.SyncDir(d.dir + "/new"); d.err != nil {
				os.Remove(d.final)
			}
		}
		if len(drops) == 1 {
			sync()
			return
		}
		wg.Go(sync)
	}
	wg.Wait()
}

// full is the answer of a mailbox that has no room.
func full(never bool) error {
	if never {
		return status.New(552, "5.2.2", "cannot store the message, it is larger than the quota").Because("", ErrQuota)
	}
	return status.New(452, "4.2.2", "cannot store the message, the mailbox is full").Because("", ErrQuota)
}
