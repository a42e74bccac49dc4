package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/envelope"
)

// Entry is one message as List and Show tell about it.
type Entry struct {
	ID       string
	Place    Place
	Arrived  time.Time
	Envelope *envelope.Envelope // nil when Err is set
	Records  []Record           // of its journal
	Err      error              // why the message or its journal cannot be read
}

// List yields the messages of the given places, oldest first, or of all places
// when none is given. A message that moves meanwhile may be missed, or come
// twice. The error, at the end, is a directory that cannot be read.
func (q *Queue) List(places ...Place) iter.Seq2[Entry, error] {
	if len(places) == 0 {
		places = []Place{InDrop, InQueue, InHold, InCorrupt}
	}
	return func(yield func(Entry, error) bool) {
		for _, p := range places {
			list, err := names(q.path(p))
			if err != nil && !yield(Entry{Place: p}, err) {
				return
			}
			slices.Sort(list)
			if !q.listPlace(p, list, yield) {
				return
			}
		}
	}
}

func (q *Queue) listPlace(p Place, list []string, yield func(Entry, error) bool) bool {
	for _, name := range list {
		if _, isLog := journalOf(name); isLog || !ValidID(name) && p != InCorrupt {
			continue
		}
		e, err := q.look(p, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !yield(e, nil) {
			return false
		}
	}
	return true
}

// Find returns one message, wherever it is; os.ErrNotExist when it is nowhere.
func (q *Queue) Find(id string) (Entry, error) {
	if !ValidID(id) {
		return Entry{}, notFound(id)
	}
	for _, p := range []Place{InQueue, InDrop, InHold, InCorrupt} {
		e, err := q.look(p, id)
		if !errors.Is(err, fs.ErrNotExist) {
			return e, err
		}
	}
	return Entry{}, notFound(id)
}

func notFound(id string) error {
	return fmt.Errorf("cannot find message %q: %w", id, fs.ErrNotExist)
}

// look reads envelope and journal without a lock: both only ever grow or go.
func (q *Queue) look(p Place, name string) (Entry, error) {
	e := Entry{ID: name, Place: p}
	if ValidID(name) {
		e.Arrived = Arrived(name)
	}
	m, err := q.peek(p, name)
	if errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	if err != nil {
		e.Err = err
		return e, nil
	}
	defer m.Close()
	e.Envelope = m.Envelope
	e.Records, _, e.Err = readJournal(q.path(logPlace(p), name+logSuffix))
	return e, nil
}

func (q *Queue) peek(p Place, name string) (*Message, error) {
	fd, err := unix.Open(q.path(p, name), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open %s/%s: %w", p, name, err)
	}
	buf := make([]byte, 8<<10)
	m := &Message{queue: q, fd: fd, buf: &buf}
	if err := m.load(name); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Read opens a message for reading, wherever it is, without locking it.
func (q *Queue) Read(id string) (*Message, error) {
	e, err := q.Find(id)
	if err != nil {
		return nil, err
	}
	return q.peek(e.Place, id)
}

// Hold sets a waiting message aside, so that nothing tries it. The error is
// ErrBusy while it is being delivered.
func (q *Queue) Hold(id string) error {
	return q.locked(id, []Place{InQueue, InDrop}, func(from Place) error { return q.move(from, InHold, id) })
}

// Release lets queue-run try a held message now. The message goes back through
// the drop, which is where queue-run looks; its journal stays with it.
func (q *Queue) Release(id string) error {
	return q.locked(id, []Place{InHold}, q.redrop(id))
}

// Requeue lets queue-run try a message now, whether it waits, is held, or was
// set aside as corrupt. Recipients that are done stay done.
func (q *Queue) Requeue(id string) error {
	return q.locked(id, []Place{InQueue, InHold, InCorrupt}, q.redrop(id))
}

// redrop moves journal, then message: once the message is in the drop
// queue-run may read the journal.
func (q *Queue) redrop(id string) func(Place) error {
	return func(from Place) error {
		if from != InQueue {
			if err := ignoreAbsent(q.moveAside(from, InQueue, id+logSuffix)); err != nil {
				return err
			}
		}
		return q.moveAside(from, InDrop, id)
	}
}

// Remove deletes a message and its journal, from wherever it is.
func (q *Queue) Remove(id string) error {
	return q.locked(id, []Place{InQueue, InDrop, InHold, InCorrupt}, func(from Place) error {
		if err := q.disk.Remove(q.path(from, id)); err != nil {
			return err
		}
		if err := q.disk.SyncDir(q.path(from)); err != nil {
			return err
		}
		return ignoreAbsent(q.disk.Remove(q.path(logPlace(from), id+logSuffix)))
	})
}

// locked calls do for the first place that has the message, with its lock
// held.
func (q *Queue) locked(id string, places []Place, do func(Place) error) error {
	if !ValidID(id) {
		return notFound(id)
	}
	for _, p := range places {
		fd, err := openLocked(q.path(p, id))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot change message %s: %w", id, err)
		}
		defer unix.Close(fd)
		return do(p)
	}
	return notFound(id)
}
