package mailbox

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// What is asked of the kernel: of cur/ and new/, which files come and go,
// since none is ever changed; of the root of an account, also what was
// written, since others may edit the subscriptions in place.
const (
	folderEvents = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	rootEvents   = folderEvents | unix.IN_CLOSE_WRITE
)

// An inotify instance, read in batches by a thread that waits in the kernel.
// Go's poller would wake a thread for each event: a STORE of a thousand
// messages, whose renames all come back as events, would take a half longer.
type inotify struct {
	fd   int
	wake int // an eventfd that ends the wait
	once sync.Once
}

func newInotify() (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &inotify{fd: fd, wake: wake}, nil
}

// add watches a directory. One that is watched already, perhaps by another
// name, keeps its number.
func (n *inotify) add(dir string, events uint32) (wd int, err error) {
	return unix.InotifyAddWatch(n.fd, dir, events)
}

// remove fails when the directory is gone: then so is the watch.
func (n *inotify) remove(wd int) { unix.InotifyRmWatch(n.fd, uint32(wd)) }

// stop makes read return io.EOF.
func (n *inotify) stop() {
	n.once.Do(func() { unix.Write(n.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) })
}

// close is for when nobody reads.
func (n *inotify) close() {
	unix.Close(n.fd)
	unix.Close(n.wake)
}

// read waits for events, and a little longer for those that come with them.
func (n *inotify) read(buf []byte, wait time.Duration) ([]byte, error) {
	for {
		fds := []unix.PollFd{{Fd: int32(n.fd), Events: unix.POLLIN}, {Fd: int32(n.wake), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return nil, err
		}
		if fds[1].Revents != 0 {
			return nil, io.EOF
		}
		if fds[0].Revents == 0 {
			continue
		}
		time.Sleep(wait)
		got, err := unix.Read(n.fd, buf)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		return buf[:max(got, 0)], err
	}
}

// eachEvent walks over a batch of events. A name is good until f returns.
func eachEvent(batch []byte, f func(wd int, mask uint32, name []byte)) {
	for len(batch) >= unix.SizeofInotifyEvent {
		ne := binary.NativeEndian
		end := unix.SizeofInotifyEvent + int(ne.Uint32(batch[12:]))
		if end > len(batch) {
			return
		}
		name, _, _ := bytes.Cut(batch[unix.SizeofInotifyEvent:end], []byte{0})
		f(int(int32(ne.Uint32(batch))), ne.Uint32(batch[4:]), name)
		batch = batch[end:]
	}
}
