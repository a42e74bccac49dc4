package commit

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// dirSync is one directory that somebody is syncing, or waits to have synced.
type dirSync struct {
	next    *round // the fsync that has not begun yet; callers join it
	running bool
}

// A round is one fsync of a directory, shared by all callers that came before
// it began: each of them made its change before, so it covers them all.
type round struct {
	done chan struct{}
	err  error
}

// SyncDir makes all changes in a directory durable. Callers that arrive while
// a sync runs share the next one.
func (d *Disk) SyncDir(dir string) error {
	d.mu.Lock()
	s := d.dir(dir)
	if s.next == nil {
		s.next = &round{done: make(chan struct{})}
	}
	mine := s.next
	if s.running {
		d.mu.Unlock()
		<-mine.done
		return mine.err
	}
	s.running = true
	d.runRound(dir, s)
	if s.next != nil {
		go d.runRest(dir, s) // others wait: let this caller go
	} else {
		d.rest(dir, s)
	}
	d.mu.Unlock()
	return mine.err
}

// runRound runs the next round with d.mu released, and returns with it held.
func (d *Disk) runRound(dir string, s *dirSync) {
	r := s.next
	s.next = nil
	d.mu.Unlock()
	r.err = d.syncDirNow(dir)
	close(r.done)
	d.mu.Lock()
}

// runRest runs the rounds that came while the first caller was busy.
func (d *Disk) runRest(dir string, s *dirSync) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s.next != nil {
		d.runRound(dir, s)
	}
	d.rest(dir, s)
}

// rest forgets a directory that nobody waits for.
func (d *Disk) rest(dir string, s *dirSync) {
	s.running = false
	delete(d.dirs, dir)
}

// SyncDirs is SyncDir for several directories at once: their fsyncs share
// journal commits. It returns all errors, joined.
func (d *Disk) SyncDirs(dirs ...string) error {
	if len(dirs) == 1 {
		return d.SyncDir(dirs[0])
	}
	errs := make([]error, len(dirs))
	var wg sync.WaitGroup
	for i, dir := range dirs {
		wg.Go(func() { errs[i] = d.SyncDir(dir) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (d *Disk) dir(dir string) *dirSync {
	if d.dirs == nil {
		d.dirs = make(map[string]*dirSync)
	}
	s := d.dirs[dir]
	if s == nil {
		s = new(dirSync)
		d.dirs[dir] = s
	}
	return s
}

func (d *Disk) syncDirNow(dir string) error {
	if err := d.step(StepSyncDir, dir); err != nil {
		return err
	}
	fd, err := open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		err := unix.Fsync(fd)
		if err == unix.EINTR {
			continue
		}
		return os.NewSyscallError("fsync "+dir, err)
	}
}
