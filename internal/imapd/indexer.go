package imapd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"sync"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
	"peyk/internal/textindex"
)

// An indexer brings text indexes up to date in the background: one folder at
// a time in the whole process, and a quarter of the time of one processor.
type indexer struct {
	mu      sync.Mutex
	jobs    []indexJob
	running bool
	stopped bool
	cancel  context.CancelFunc
	done    sync.WaitGroup
	told    map[string]bool // paths whose trouble was logged
}

// An indexJob is a folder of an account.
type indexJob struct {
	o            *Options
	root, folder string
}

// maxIndexJobs bounds what waits; a folder that is left out comes with its
// next SELECT.
const maxIndexJobs = 1000

// idleShare is how many times as long as it works the indexer rests.
const idleShare = 3

// add has a folder looked at soon.
func (x *indexer) add(j indexJob) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, other := range x.jobs {
		if other.root == j.root && other.folder == j.folder {
			return
		}
	}
	if x.stopped || len(x.jobs) >= maxIndexJobs {
		return
	}
	x.jobs = append(x.jobs, j)
	if !x.running {
		x.running = true
		var ctx context.Context
		ctx, x.cancel = context.WithCancel(context.Background())
		x.done.Go(func() { x.work(ctx) })
	}
}

// stop ends the work, and waits for the end of the batch that is being made.
func (x *indexer) stop() {
	x.mu.Lock()
	x.stopped, x.jobs = true, nil
	if x.cancel != nil {
		x.cancel()
	}
	x.mu.Unlock()
	x.done.Wait()
}

// next takes the first job; without one the work ends.
func (x *indexer) next() (j indexJob, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.jobs) == 0 {
		x.running = false
		return j, false
	}
	j, x.jobs = x.jobs[0], x.jobs[1:]
	return j, true
}

func (x *indexer) work(ctx context.Context) {
	defer x.cancel()
	for {
		j, ok := x.next()
		if !ok {
			return
		}
		if err := j.survive(ctx, x); err != nil && ctx.Err() == nil && !errors.Is(err, mailbox.ErrNoFolder) {
			x.trouble(j.o, j.root, "cannot bring the text index up to date", err)
		}
	}
}

// survive is fill for a goroutine in which nobody else would catch a panic,
// such as mail that we read may cause: it costs this job only.
func (j indexJob) survive(ctx context.Context, x *indexer) error {
	defer func() {
		if p := recover(); p != nil {
			j.o.Log.Event(eventlog.Panic, "path", j.root, "error", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	return j.fill(ctx, x)
}

func (j indexJob) fill(ctx context.Context, x *indexer) error {
	a, err := j.o.Host.Open(j.root)
	if err != nil {
		return err
	}
	defer a.Close()
	f, err := a.Folder(j.folder)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.RefreshReadOnly(ctx); err != nil {
		return err
	}
	index, err := x.open(j.o, a)
	if err != nil {
		return err
	}
	defer index.Close()
	_, err = index.Fill(ctx, f, func(took time.Duration) error { return rest(ctx, idleShare*took) })
	return x.check(j.o, a, err)
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// open opens the index of an account.
func (x *indexer) open(o *Options, a *mailbox.Account) (*textindex.Index, error) {
	index, err := textindex.Open(a.TextIndexPath())
	if err == nil && index.Renewed != nil {
		x.trouble(o, a.Root(), "the text index was damaged, and is made anew", index.Renewed)
	}
	return index, err
}

// check drops an index that turned out to be damaged. Its error is then nil:
// the next job makes it anew.
func (x *indexer) check(o *Options, a *mailbox.Account, err error) error {
	if err == nil || !textindex.Damaged(err) {
		return err
	}
	x.trouble(o, a.Root(), "the text index is damaged, and is dropped", err)
	return textindex.Remove(a.TextIndexPath())
}

// trouble logs something about an account, once.
func (x *indexer) trouble(o *Options, root, reason string, err error) {
	x.mu.Lock()
	told := x.told[root]
	if x.told == nil {
		x.told = make(map[string]bool)
	}
	x.told[root] = len(x.told) < maxIndexJobs
	x.mu.Unlock()
	if !told {
		o.Log.Event(eventlog.Trouble, "reason", reason, "path", root, "error", err)
	}
}

// index has the selected folder indexed, if there are indexes.
func (s *session) index() {
	if s.o.TextIndex && s.sel != nil && s.sel.view.Len() > 0 {
		s.srv.indexer.add(indexJob{s.o, s.sel.folder.Account().Root(), s.sel.folder.Name()})
	}
}

// maxNarrowed is the number of needles and FUZZY words up to which the index is
// asked.
const maxNarrowed = 16

// narrow asks the index which messages may hold the needles. Without an
// answer they all may.
func (m *matcher) narrow() {
	if !m.s.o.TextIndex || !m.inText || len(m.text.needles)+m.fuzzy.count() > maxNarrowed {
		return
	}
	x, a := &m.s.srv.indexer, m.sel.folder.Account()
	index, err := x.open(m.s.o, a)
	if err == nil {
		defer index.Close()
		err = x.check(m.s.o, a, m.ask(index))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		x.trouble(m.s.o, a.Root(), "cannot use the text index", err)
	}
	m.s.srv.indexer.add(indexJob{m.s.o, a.Root(), m.sel.folder.Name()})
}

func (m *matcher) ask(index *textindex.Index) error {
	which := textindex.Folder{ID: m.sel.folder.ID(), UIDValidity: m.sel.folder.UIDValidity()}
	narrowed := make([]*textindex.Candidates, len(m.text.needles))
	for i, needle := range m.text.needles {
		var err error
		if narrowed[i], err = index.Candidates(which, string(needle)); err != nil {
			return err
		}
	}
	m.narrowed = narrowed
	return m.fuzzy.ask(index, which)
}

// mayHold reports whether a message may hold a needle.
func (m *matcher) mayHold(needle int, uid uint32) bool {
	if m.narrowed == nil || m.narrowed[needle] == nil {
		return true
	}
	return m.narrowed[needle].Has(uid)
}
