// Package spool is the queue on disk (peyk-queue(5)): the drop, where every
// program may put a message; the queue, which belongs to queue-run; and the
// two places for what is set aside.
//
//	drop/tmp/ID    a message being written
//	drop/new/ID    a message that was accepted; the 250 is sent only now
//	drop/new/flush a request to try everything now
//	queue/ID       a message that queue-run has taken
//	queue/ID.log   its journal, once something was left to do
//	hold/ID        a message that an admin, or a failure without an addressee, set aside
//	corrupt/ID     a file that is not what it should be
//	lock           held by the one queue-run
package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"peyk/internal/commit"
	"peyk/internal/envelope"
	"peyk/internal/status"
)

const (
	maxBuffered  = 64 << 10 // octets of a message that wait in memory for Commit
	reserveBytes = 16 << 20 // octets of the disk that stay free for the queue's own work
	reserveNodes = 1000     // inodes likewise
	flushName    = "flush"
	fileMode     = 0o640 // owner: the writer; group: the drop's
)

// Drop is the way into the queue for every program. It is safe for concurrent
// use.
type Drop struct {
	dir     string
	disk    *commit.Disk
	buffers sync.Pool // of *[]byte

	spares *spares // nil without Reuse

	umask sync.Once // guards chmod
	chmod bool      // the umask takes away what queue-run needs
}

// OpenDrop returns the drop of the spool directory spoolDir. It touches no
// file.
func OpenDrop(spoolDir string, disk *commit.Disk) *Drop {
	return &Drop{dir: filepath.Join(spoolDir, "drop"), disk: disk}
}

// Room reports whether a message of size octets can be taken: 452 4.3.1 when
// the disk lacks octets or inodes (RFC 5321 §4.2.3), 451 4.3.0 when the drop is not there. A
// size of 0 or less asks about any message at all.
func (d *Drop) Room(size int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.dir, &fs); err != nil {
		return status.New(451, "4.3.0", "cannot queue mail").Because("statfs "+d.dir, err)
	}
	free := int64(fs.Bavail) * fs.Bsize
	if free < reserveBytes+max(size, 0) {
		return status.New(452, "4.3.1", "cannot queue mail: the disk is full").
			Because("", fmt.Errorf("%d octets are free below %s", free, d.dir))
	}
	if fs.Files > 0 && fs.Ffree < reserveNodes { // some file systems do not count inodes
		return status.New(452, "4.3.1", "cannot queue mail: the disk is full").
			Because("", fmt.Errorf("%d inodes are free below %s", fs.Ffree, d.dir))
	}
	return nil
}

// Flush asks queue-run to try every waiting message now.
func (d *Drop) Flush() error {
	f, err := os.OpenFile(d.path("new", flushName), os.O_CREATE|os.O_EXCL|os.O_WRONLY|unix.O_NOFOLLOW, 0o660)
	if errors.Is(err, os.ErrExist) {
		return nil // somebody asked already, and has no answer yet
	}
	if err != nil {
		return fmt.Errorf("cannot ask queue-run to flush: %w", err)
	}
	return f.Close()
}

func (d *Drop) path(elem ...string) string {
	return filepath.Join(d.dir, filepath.Join(elem...))
}

// Create begins a message. The envelope needs an ID from NewID, and may be
// changed until Commit, but for its recipients' number and spelling. A message of up to
// 64 KiB stays in memory until Commit; so does the file's name.
func (d *Drop) Create(e *envelope.Envelope) (*Writer, error) {
	if !ValidID(e.ID) {
		return nil, fmt.Errorf("cannot queue a message as %q: not a queue id", e.ID)
	}
	if err := e.Check(); err != nil {
		return nil, status.New(554, "5.5.4", "cannot queue this message").Because("check envelope", err)
	}
	w := &Writer{drop: d, envelope: *e}
	w.buf, _ = d.buffers.Get().(*[]byte)
	if w.buf == nil {
		w.buf = new([]byte)
	}
	w.envelope.Size, w.envelope.Sum = 0, 0
	*w.buf = w.envelope.Append((*w.buf)[:0])
	w.head = len(*w.buf)
	return w, nil
}

// Writer takes one message, in wire form: lines end with CRLF, dots are not
// stuffed. It is for one goroutine.
type Writer struct {
	drop     *Drop
	envelope envelope.Envelope
	head     int          // octets of the head
	buf      *[]byte      // head and message that are not in file yet; nil at the end
	file     *commit.File // nil while all is in buf
	err      error        // the first failure, final
}

var errClosed = errors.New("the message is already committed or aborted")

// Write adds to the message. An error is final, and is a *status.Error.
func (w *Writer) Write(p []byte) (int, error) {
	if w.buf == nil {
		return 0, errClosed
	}
	if w.err != nil {
		return 0, w.err
	}
	w.envelope.Sum = crc32.Update(w.envelope.Sum, crc32.IEEETable, p)
	w.envelope.Size += int64(len(p))
	*w.buf = append(*w.buf, p...)
	if len(*w.buf) >= maxBuffered+w.head {
		w.spill()
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// Size returns the octets written so far.
func (w *Writer) Size() int64 { return w.envelope.Size }

// spill moves the buffer into the file.
func (w *Writer) spill() {
	if w.file == nil {
		w.create()
	}
	if w.err == nil {
		_, w.err = w.file.Write(*w.buf)
	}
	*w.buf = (*w.buf)[:0]
	if w.err != nil {
		w.err = writeError(w.err)
	}
}

func (w *Writer) create() {
	w.file, w.err = w.drop.disk.Create(w.drop.path("tmp", w.envelope.ID), fileMode)
	if w.err == nil {
		w.err = w.drop.letRead(w.file)
	}
}

// letRead gives the group, which is the drop's, the right to read: queue-run
// is in it, and the umask of whoever runs sendmail may say otherwise. Whether
// it does is found out once.
func (d *Drop) letRead(f *commit.File) error {
	d.umask.Do(func() {
		info, err := f.Stat()
		d.chmod = err != nil || info.Mode().Perm() != fileMode
	})
	if !d.chmod {
		return nil
	}
	return f.Chmod(fileMode)
}

// Commit makes the message durable in drop/new: when it returns nil, the
// message is queue-run's, and no power cut takes it back. An error is a
// *status.Error, and nothing is left behind. The name is made visible before
// the one fsync, so queue-run may have taken the file, whole, by then: it
// shows its own truncation. See Reuse for the other way in.
func (w *Writer) Commit() error {
	if w.buf == nil {
		return errClosed
	}
	defer w.release()
	if w.err != nil {
		w.abortFile()
		return w.err
	}
	publish := w.publishNew
	if w.file == nil && w.drop.spares != nil {
		publish = w.publishAgain
	}
	err := publish(w.drop.path("new", w.envelope.ID))
	if err != nil {
		w.abortFile()
		return writeError(err)
	}
	return nil
}

// publishNew puts all of the message into a file of its own, and that into
// place.
func (w *Writer) publishNew(final string) error {
	head := w.envelope.Append(make([]byte, 0, w.head)) // with the true size and checksum
	inMemory := w.file == nil
	if inMemory {
		copy(*w.buf, head)
	}
	w.spill()
	if w.err != nil {
		return w.err
	}
	if !inMemory {
		if _, err := w.file.WriteAt(head, 0); err != nil {
			return err
		}
	}
	return w.file.PublishChecked(final)
}

// Abort forgets the message. After Commit it does nothing.
func (w *Writer) Abort() {
	if w.buf == nil {
		return
	}
	w.abortFile()
	w.release()
}

func (w *Writer) abortFile() {
	if w.file != nil {
		w.file.Abort()
	}
}

func (w *Writer) release() {
	if cap(*w.buf) <= 2*maxBuffered {
		w.drop.buffers.Put(w.buf)
	}
	w.buf = nil
}

// writeError says what the other side may know about a failure to store.
func writeError(err error) error {
	var said *status.Error
	if errors.As(err, &said) {
		return said
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return status.New(452, "4.3.1", "cannot queue mail: the disk is full").Because("write queue file", err)
	}
	return status.New(451, "4.3.0", "cannot queue mail").Because("write queue file", err)
}
