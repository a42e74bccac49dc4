package spool

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/commit"
)

// maxSpares is how many files a writer keeps for use again: as many as there
// are messages on their way at one time, on a busy host. It is less where the
// process may have few files open.
const maxSpares = 1000

// spareFor is how long a file is kept without use, at least; at most twice as
// long. What it holds is an old message.
const spareFor = 5 * time.Second

// spares are files of this process below drop/tmp, each of which has a second
// name while its message is in the queue. When that name is gone the message
// is done with, and the file is written over for another one.
type spares struct {
	mu     sync.Mutex
	most   int
	files  []spare // the one used last is last
	round  int
	timer  *time.Timer // nil while there are no files
	ended  bool
	cannot bool // this file system has no hard links
}

type spare struct {
	*commit.File
	size  int64
	round int // in which it was used
}

// Reuse makes the drop write small messages over files of its own whose
// messages are done with, until stop is called. It is for programs that stay:
// a file that is made and removed for every message costs ext4 more than all
// else, as it does not give an inode away again for a minute or more, and
// steps over all of them each time.
//
// It is safe because a file is free only when it has no name but ours, which
// nobody can add to, and no lock, which all hold who work on a message; because a link makes its inode part of the same journal
// commit as the removal of the name before it; and because what a power cut
// leaves of either message shows by its id, its length and its checksums.
func (d *Drop) Reuse() (stop func()) {
	d.spares = &spares{most: maxSpares}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		d.spares.most = int(min(limit.Cur/8, maxSpares))
	}
	return d.spares.stop
}

// publishAgain writes the message over a file that is free, or a new one, and
// gives it a second name.
func (w *Writer) publishAgain(final string) error {
	s := w.drop.spares
	old, ok := s.take()
	if !ok {
		if w.create(); w.err != nil {
			return w.err
		}
		old.File = w.file
	}
	w.file = old.File
	copy(*w.buf, w.envelope.Append(make([]byte, 0, w.head))) // with the true size and checksum
	size := int64(len(*w.buf))
	if _, err := w.file.WriteAt(*w.buf, 0); err != nil {
		return err
	}
	if old.size > size {
		if err := w.file.Truncate(size); err != nil {
			return err
		}
	}
	err := w.file.LinkChecked(final)
	var link *os.LinkError
	if errors.As(err, &link) && !errors.Is(err, os.ErrExist) {
		s.giveUp()
		return w.file.PublishChecked(final)
	}
	if err == nil {
		s.put(spare{File: w.file, size: size})
	}
	return err
}

// take returns a file that is free. Messages are mostly done in the order in
// which they came, so only the first few are looked at.
func (s *spares) take() (spare, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range min(len(s.files), 4) {
		f := s.files[i]
		if f.Unnamed() {
			s.files = append(s.files[:i], s.files[i+1:]...)
			return f, true
		}
	}
	return spare{}, false
}

// put keeps a file, or lets it go where there are enough: it is queue-run's
// alone then.
func (s *spares) put(f spare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.cannot || len(s.files) >= s.most {
		f.Abort()
		return
	}
	f.round = s.round
	s.files = append(s.files, f)
	if s.timer == nil {
		s.timer = time.AfterFunc(spareFor, s.tick)
	}
}

// tick lets files go that were not used for a whole round.
func (s *spares) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var old []spare
	n := 0
	for n < len(s.files) && s.files[n].round < s.round {
		n++
	}
	old, s.files = s.files[:n:n], append([]spare(nil), s.files[n:]...)
	s.round++
	if len(s.files) > 0 {
		s.timer.Reset(spareFor)
	} else {
		s.timer = nil
	}
	for _, f := range old {
		f.Abort()
	}
}

// giveUp notes that files cannot have two names here.
func (s *spares) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cannot = true
}

func (s *spares) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.timer != nil {
		s.timer.Stop()
	}
	for _, f := range s.files {
		f.Abort()
	}
	s.files = nil
}
