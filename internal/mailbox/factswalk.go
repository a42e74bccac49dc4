package mailbox

import (
	"fmt"
	"math"
	"runtime/debug"
	"sync"

	"golang.org/x/sys/unix"
)

// How far a walk reads ahead, and by how many readers.
const (
	walkAhead    = 32
	walkMessages = 6 // if the messages are wanted, each of up to bufferSize
	walkReaders  = 2
)

// A walk gives the facts of messages in order. Those of the cache are read
// when they are wanted; the others are read from the messages by goroutines
// that run ahead, as soon as there are two of them.
type walk struct {
	f    *Folder
	x    *factsFile
	s    *Snapshot
	need Need

	ring        [walkAhead]step
	first, n    int // of ring
	waiting     int // index of a step that no reader has; -1: none
	caughtUp    bool
	learned     bool
	cache       factsReader
	facts       Facts
	reader      *messageReader
	todo        chan *step
	readers     sync.WaitGroup
	haveReaders bool
}

// A step is one message of a walk.
type step struct {
	uid    uint32
	i      int // index in the snapshot; -1: it is gone
	need   Need
	who    uint64
	cached bool
	place  factsPlace
	ahead  bool // a reader has it
	done   chan struct{}
	facts  *Facts
	own    *Facts // whose memory is used again
	err    error
	crash  any // what a reader died of

	whole   bool    // the message is wanted, and seems small
	buf     *[]byte // where it was read to
	message []byte
}

func (f *Folder) newWalk(need Need) *walk {
	w := &walk{f: f, x: &f.facts, s: f.snap.Load(), need: need, waiting: -1}
	if w.s == nil {
		w.s = &Snapshot{}
	}
	return w
}

// push takes in the next message, and hands out the first of those that wait
// when they are many.
func (w *walk) push(uid uint32, do func(uint32, *Facts, error) error) error {
	if w.n == walkAhead || w.n == walkMessages && w.need&NeedMessage != 0 {
		if err := w.pop(do); err != nil {
			return err
		}
	}
	at := (w.first + w.n) % walkAhead
	w.n++
	st := &w.ring[at]
	*st = step{uid: uid, i: -1, done: st.done, own: st.own}
	i, ok := w.s.Messages.Index(uid)
	if !ok {
		return nil
	}
	m := w.s.Messages.At(i)
	st.i, st.need, st.who = i, w.need&^(NeedQuick|NeedMessage), identity(m.Base)
	w.look(st)
	if !st.cached && w.need&NeedQuick != 0 && m.FileSize >= bufferSize {
		st.need = st.need&^NeedPreview | NeedFields
		w.look(st)
	}
	st.whole = w.need&NeedMessage != 0 && m.FileSize < bufferSize
	if !st.cached || st.whole {
		w.readAhead(at)
	}
	return nil
}

// look finds a message in the cache.
func (w *walk) look(st *step) {
	if st.need == 0 {
		st.cached = true
		return
	}
	p, ok := w.x.find(st.uid)
	if !w.caughtUp && (!ok || p.have&st.need != st.need) {
		w.caughtUp = true
		w.x.catchUp(w.s.UIDValidity)
		p, ok = w.x.find(st.uid)
	}
	st.place, st.cached = p, ok && p.have&st.need == st.need && p.head.validity == w.s.UIDValidity
}

// readAhead gives a message to the readers, which are started for the second
// one.
func (w *walk) readAhead(at int) {
	if !w.haveReaders {
		if w.waiting < 0 {
			w.waiting = at
			return
		}
		w.startReaders()
		w.hand(&w.ring[w.waiting])
		w.waiting = -1
	}
	w.hand(&w.ring[at])
}

func (w *walk) hand(st *step) {
	if st.done == nil {
		st.done = make(chan struct{}, 1)
	}
	st.ahead = true
	w.todo <- st
}

func (w *walk) startReaders() {
	w.haveReaders = true
	w.todo = make(chan *step, walkAhead)
	for range walkReaders {
		w.readers.Go(func() {
			r := w.f.newMessageReader()
			defer r.close()
			for st := range w.todo {
				st.crash = w.survive(r, st)
				st.done <- struct{}{}
			}
		})
	}
}

// survive is learn for a goroutine of our own, in which nobody would catch a
// panic: it is returned, for the one who wants the message.
func (w *walk) survive(r *messageReader, st *step) (crash any) {
	defer func() {
		if p := recover(); p != nil {
			crash = fmt.Sprintf("%v\n%s", p, debug.Stack())
		}
	}()
	w.learn(r, st)
	return nil
}

// learn reads the message, for its facts if they are not in the cache. What
// the cache had of it already is learned again, so that the new record can
// take its place.
func (w *walk) learn(r *messageReader, st *step) {
	if st.whole && st.message == nil {
		st.buf = w.f.host.buffers.Get().(*[]byte)
		st.message, _ = r.read(w.s.Messages, st.i, (*st.buf)[:cap(*st.buf)])
	}
	if st.cached {
		return
	}
	need := st.need | st.place.have
	if st.own == nil {
		st.own = &Facts{}
	}
	if st.message != nil && st.own.read(st.message, true, need) {
		st.facts = st.own
	} else {
		st.facts, st.err = r.facts(w.s.Messages, st.i, need, st.own)
	}
	if st.err == nil {
		w.x.remember(st.uid, st.who, st.facts)
	}
}

// pop hands out the first message.
func (w *walk) pop(do func(uint32, *Facts, error) error) error {
	st := &w.ring[w.first]
	if w.waiting == w.first {
		w.waiting = -1
	}
	w.first, w.n = (w.first+1)%walkAhead, w.n-1
	if st.i < 0 {
		return do(st.uid, nil, ErrGone)
	}
	if st.ahead {
		if <-st.done; st.crash != nil {
			panic(st.crash)
		}
	} else if !st.cached || st.whole {
		w.learn(w.own(), st)
	}
	facts := w.result(st)
	if facts != nil && st.message != nil {
		facts.Message = st.message
		facts.Have |= NeedMessage
	}
	err := do(st.uid, facts, st.err)
	if st.buf != nil {
		w.f.host.buffers.Put(st.buf)
	}
	*st = step{done: st.done, own: st.own}
	return err
}

// result returns the facts of a message that was read, if need be.
func (w *walk) result(st *step) *Facts {
	if st.need == 0 {
		w.facts = Facts{}
		return &w.facts
	}
	if st.cached {
		b := w.cache.record(st.place, math.MaxInt64)
		if decodeFacts(b, st.uid, st.who, st.need, &w.facts) {
			return &w.facts
		}
		st.cached = false
		w.learn(w.own(), st)
	}
	w.learned = true
	if w.x.full() {
		w.x.write(w.f)
	}
	return st.facts
}

// own returns a reader for what nobody has read ahead.
func (w *walk) own() *messageReader {
	if w.reader == nil {
		w.reader = w.f.newMessageReader()
	}
	return w.reader
}

func (w *walk) drain(do func(uint32, *Facts, error) error) error {
	for w.n > 0 {
		if err := w.pop(do); err != nil {
			return err
		}
	}
	return nil
}

// close stops the readers and begins to write what was learned.
func (w *walk) close() {
	if w.haveReaders {
		for range len(w.todo) {
			select {
			case <-w.todo: // nobody waits for it
			default:
			}
		}
		close(w.todo)
		w.readers.Wait()
	}
	if w.reader != nil {
		w.reader.close()
	}
	if w.learned {
		w.x.write(w.f)
	}
}

// A FactsReader gives the facts of messages in any order. It is for one
// goroutine. Close it.
type FactsReader struct{ w *walk }

// FactsReader makes one for the messages of the current snapshot.
func (f *Folder) FactsReader() *FactsReader { return &FactsReader{f.newWalk(0)} }

// Facts is Folder.Facts, but what it returns holds until the next call only.
func (r *FactsReader) Facts(uid uint32, need Need) (facts *Facts, err error) {
	keep := func(_ uint32, a *Facts, e error) error {
		facts, err = a, e
		return nil
	}
	r.w.need = need
	r.w.push(uid, keep)
	r.w.drain(keep)
	return facts, err
}

// Close gives back what the reader holds.
func (r *FactsReader) Close() { r.w.close() }

// A messageReader reads messages of one folder, through one buffer.
type messageReader struct {
	f   *Folder
	dir int // the folder's directory; -1: not to be had
	buf *[]byte
}

func (f *Folder) newMessageReader() *messageReader {
	r := &messageReader{f: f, dir: -1, buf: f.host.buffers.Get().(*[]byte)}
	root, err := unix.Open(f.account.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return r
	}
	rel := f.account.rel(f.dir)
	if rel == "" {
		r.dir = root
		return r
	}
	defer unix.Close(root)
	dir, err := unix.Openat(root, rel, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err == nil {
		r.dir = dir
	}
	return r
}

func (r *messageReader) close() {
	r.f.host.buffers.Put(r.buf)
	if r.dir >= 0 {
		unix.Close(r.dir)
	}
}

// facts reads a message where it was, into a. When it is not there any more,
// or larger than the buffer, it is opened with all care.
func (r *messageReader) facts(l List, i int, need Need, a *Facts) (*Facts, error) {
	buf := (*r.buf)[:cap(*r.buf)]
	if need&^needsHeader == 0 {
		buf = buf[:headerRead]
	}
	data, whole := r.read(l, i, buf)
	if data == nil && !whole {
		data = buf // the beginning
	}
	if data != nil && a.read(data, whole, need) {
		return a, nil
	}
	return r.f.learn(l.At(i).UID, need)
}

// read reads a message into buf, if it is where the list has it. When it does
// not fit, message is nil and buf full. Else message nil says that it cannot
// be read.
func (r *messageReader) read(l List, i int, buf []byte) (message []byte, whole bool) {
	if r.dir < 0 {
		return nil, true
	}
	fd, err := openBeneath(r.dir, l.path(i))
	if err != nil {
		return nil, true
	}
	defer unix.Close(fd)
	r.f.host.count.fileReads.Add(1)
	n, err := unix.Pread(fd, buf, 0)
	for err == unix.EINTR {
		n, err = unix.Pread(fd, buf, 0)
	}
	switch {
	case err != nil:
		return nil, true
	case n == len(buf):
		return nil, false
	}
	return buf[:n:n], true
}
