package queuerun

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"peyk/internal/eventlog"
)

// watchDrop takes what comes into the drop as it comes.
func (r *Runner) watchDrop(ctx context.Context, stop context.CancelCauseFunc, ready chan<- struct{}) {
	err := r.o.Watch(ctx, r.queue.DropDir(), func() { close(ready) }, func(names []string) {
		if names == nil {
			r.look()
			return
		}
		r.take(names)
	})
	if err != nil && ctx.Err() == nil {
		r.log.Event(eventlog.Trouble, "reason", "cannot watch the drop", "error", err)
		stop(err)
	}
}

// watch is inotify, bare: it asks for two kinds of event where fsnotify asks
// for nine, and so is not woken by our own renames out of the directory; and
// it gets a whole burst of names from one read.
func watch(ctx context.Context, dir string, ready func(), changed func(names []string)) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("cannot watch %s: %w", dir, err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	defer f.Close()
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_TO|unix.IN_CREATE|unix.IN_ONLYDIR); err != nil {
		return fmt.Errorf("cannot watch %s: %w", dir, err)
	}
	defer context.AfterFunc(ctx, func() { f.Close() })()
	ready()
	buf := make([]byte, 32<<10)
	for {
		n, err := f.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot watch %s: %w", dir, err)
		}
		names, err := eventNames(buf[:n])
		if err != nil {
			return fmt.Errorf("cannot watch %s: %w", dir, err)
		}
		changed(names)
	}
}

// eventNames returns the names in a buffer of inotify events; nil when the
// kernel could not keep them all.
func eventNames(buf []byte) ([]string, error) {
	names := []string{}
	overflow := false
	for len(buf) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(buf[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		if end > len(buf) {
			return nil, errors.New("short event")
		}
		if mask&unix.IN_IGNORED != 0 {
			return nil, errors.New("the directory was removed")
		}
		overflow = overflow || mask&unix.IN_Q_OVERFLOW != 0
		name, _, _ := bytes.Cut(buf[unix.SizeofInotifyEvent:end], []byte{0})
		if len(name) > 0 {
			names = append(names, string(name))
		}
		buf = buf[end:]
	}
	if overflow {
		return nil, nil
	}
	return names, nil
}
