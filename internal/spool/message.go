package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"peyk/internal/envelope"
)

// ErrBusy is a message that another process works on.
var ErrBusy = errors.New("the message is being delivered, or moved, right now")

// ErrCorrupt is a queue file that is not what a writer left: cut, changed, or
// no queue file at all.
var ErrCorrupt = envelope.ErrCorrupt

// Message is an open queue file, locked against mailctl and others. The
// descriptor is used bare: an *os.File would cost two more system calls.
type Message struct {
	Envelope *envelope.Envelope
	queue    *Queue
	fd       int
	head     int64   // octets of the head
	buf      *[]byte // from the queue's pool
	whole    bool    // buf holds the whole file, which is checked
}

// Open opens and checks queue/ID. The error is os.ErrNotExist when it is gone,
// ErrBusy when it is locked, ErrCorrupt when it is damaged. A message that is
// larger than 64 KiB is checked while it is read.
func (q *Queue) Open(id string) (*Message, error) { return q.open(q.path(inQueue, id), id) }

func (q *Queue) open(path, id string) (*Message, error) {
	fd, err := openLocked(path)
	if err != nil {
		return nil, err
	}
	m := &Message{queue: q, fd: fd}
	m.buf, _ = q.buffers.Get().(*[]byte)
	if m.buf == nil {
		m.buf = new([]byte)
		*m.buf = make([]byte, maxBuffered)
	}
	if err := m.load(id); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// openLocked opens a file and takes its lock. Opening never blocks and follows
// no link: the names in the drop are not ours.
func openLocked(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ELOOP {
		return -1, ErrCorrupt
	}
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = stillThere(fd, path)
	}
	if err == unix.EWOULDBLOCK {
		err = ErrBusy
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// stillThere makes sure that nobody moved the file between its opening and its
// locking.
func stillThere(fd int, path string) error {
	var opened, named unix.Stat_t
	if err := unix.Fstat(fd, &opened); err != nil {
		return err
	}
	if err := unix.Lstat(path, &named); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if opened.Ino != named.Ino || opened.Dev != named.Dev {
		return &os.PathError{Op: "open", Path: path, Err: os.ErrNotExist}
	}
	if opened.Mode&unix.S_IFMT != unix.S_IFREG {
		return ErrCorrupt
	}
	return nil
}

// load reads what fits into the buffer, and checks it.
func (m *Message) load(id string) error {
	size, err := m.size()
	if err != nil {
		return err
	}
	data, err := m.readHead(size)
	if err != nil {
		return err
	}
	e, n, err := envelope.Parse(data)
	if err != nil {
		return err
	}
	if e.ID != id {
		return fmt.Errorf("%w: it belongs to message %s", ErrCorrupt, e.ID)
	}
	if size != int64(n)+e.Size {
		return fmt.Errorf("%w: %d octets of %d are there", ErrCorrupt, size-int64(n), e.Size)
	}
	m.Envelope, m.head = e, int64(n)
	m.whole = int64(len(data)) == size
	if m.whole && crc32.ChecksumIEEE(data[n:]) != e.Sum {
		return errSum
	}
	return nil
}

var errSum = fmt.Errorf("%w: the message does not match its checksum", ErrCorrupt)

func (m *Message) size() (int64, error) {
	var st unix.Stat_t
	err := unix.Fstat(m.fd, &st)
	return st.Size, err
}

// readHead reads one buffer full, and more only while the head goes on.
func (m *Message) readHead(size int64) ([]byte, error) {
	data := (*m.buf)[:min(size, int64(len(*m.buf)))]
	if err := readFull(m.fd, data, 0); err != nil {
		return nil, err
	}
	for size > int64(len(data)) && !headEnds(data) {
		if len(data) > envelope.MaxHead {
			return nil, ErrCorrupt
		}
		more := make([]byte, min(size, 2*int64(len(data))))
		if err := readFull(m.fd, more, 0); err != nil {
			return nil, err
		}
		*m.buf, data = more, more
	}
	*m.buf = (*m.buf)[:len(data):cap(*m.buf)]
	return data, nil
}

func headEnds(data []byte) bool {
	_, _, err := envelope.Parse(data)
	return !envelope.Short(err)
}

func readFull(fd int, p []byte, at int64) error {
	for len(p) > 0 {
		n, err := unix.Pread(fd, p, at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot read queue file: %w", err)
		}
		if n == 0 {
			return ErrCorrupt
		}
		p, at = p[n:], at+int64(n)
	}
	return nil
}

// Small returns the whole message when it is in memory, or nil. It is valid
// until Close.
func (m *Message) Small() []byte {
	if !m.whole {
		return nil
	}
	return (*m.buf)[m.head:]
}

// Reader returns a reader of the message, from its start, independent of other
// readers. It checks the message against its checksum and returns ErrCorrupt
// in place of the last octets when it does not match: whoever delivers with
// BDAT or DATA can still break off.
func (m *Message) Reader() io.Reader { return &verifier{m: m} }

type verifier struct {
	m    *Message
	at   int64 // octets given out
	sum  uint32
	fail error
}

func (v *verifier) Read(p []byte) (int, error) {
	left := v.m.Envelope.Size - v.at
	if v.fail != nil {
		return 0, v.fail
	}
	if left == 0 {
		return 0, io.EOF
	}
	p = p[:min(left, int64(len(p)))]
	if v.fail = v.fill(p); v.fail != nil {
		return 0, v.fail
	}
	v.sum = crc32.Update(v.sum, crc32.IEEETable, p)
	v.at += int64(len(p))
	if v.at == v.m.Envelope.Size && v.sum != v.m.Envelope.Sum {
		v.fail = errSum
		return 0, v.fail
	}
	return len(p), nil
}

func (v *verifier) fill(p []byte) error {
	if v.m.whole {
		copy(p, (*v.m.buf)[v.m.head+v.at:])
		return nil
	}
	return readFull(v.m.fd, p, v.m.head+v.at)
}

// Close unlocks and closes the file.
func (m *Message) Close() {
	if m.buf == nil {
		return
	}
	unix.Close(m.fd)
	if cap(*m.buf) == maxBuffered {
		*m.buf = (*m.buf)[:maxBuffered]
		m.queue.buffers.Put(m.buf)
	}
	m.buf = nil
}
