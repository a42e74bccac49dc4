package imapd

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// Searches that read messages take turns: no more of them work at the same
// time than there are processors, each for a little while.
const (
	searchChunk = 64                    // messages that one worker takes at once
	searchTurn  = 20 * time.Millisecond // after which another search may go on
	fewMessages = 2 * searchChunk       // are not worth a second worker
	cheapChunk  = 4096                  // messages, where nothing is read
	cheapTests  = 1 << 22               // tests of a message in memory that need no turn
)

// A searchRun is one SEARCH of one mailbox.
type searchRun struct {
	m      *matcher
	chunks []struct{ from, to int }
	next   atomic.Int64
	ended  chan struct{} // closed once the outcome is known
	mu     sync.Mutex
	err    error
	crash  any
	found  hits
}

// A searcher is one worker of it.
type searcher struct {
	run      *searchRun
	m        *matcher
	deadline time.Time // later by the time that was waited for turns
	since    time.Time // the beginning of the turn
	turn     bool      // it is this one's
}

// find returns the messages that match.
func (m *matcher) find() (*hits, error) {
	if !m.costly && m.tests() <= cheapTests {
		return m.findCheap()
	}
	m.narrow()
	r := &searchRun{m: m, ended: make(chan struct{})}
	total := 0
	for _, w := range m.within {
		total += w.to - w.from
		chunk := searchChunk
		switch {
		case !m.costly:
			chunk = cheapChunk
		case !m.inText:
			chunk = max(1, w.to-w.from) // facts are read ahead by others
		}
		for from := w.from; from < w.to; from += chunk {
			r.chunks = append(r.chunks, struct{ from, to int }{from, min(from+chunk, w.to)})
		}
	}
	var workers sync.WaitGroup
	for i := 1; i < runtime.GOMAXPROCS(0) && m.inText && total > fewMessages && i < maxSearchers; i++ {
		workers.Go(func() {
			other := m.s.compile(m.sel, m.key)
			other.narrowed, other.fuzzy.narrowed, other.scored = m.narrowed, m.fuzzy.narrowed, m.scored
			r.work(other)
		})
	}
	r.work(m)
	workers.Wait()
	if r.crash != nil {
		panic(r.crash)
	}
	return &r.found, r.err
}

// maxSearchers bounds the workers of one search.
const maxSearchers = 4

// tests is how often a key is held against a message, at most.
func (m *matcher) tests() int {
	keys := 0
	m.key.any(func(*key) bool {
		keys++
		return false
	})
	return keys * m.within.count()
}

// findCheap is find where all that is asked for is in memory.
func (m *matcher) findCheap() (*hits, error) {
	found := &hits{}
	for _, r := range m.within {
		for i, msg := range m.sel.view.From(r.from) {
			if i >= r.to {
				break
			}
			ok, err := m.match(i, msg)
			if err != nil {
				return nil, err
			}
			if ok {
				found.add(i)
			}
		}
	}
	return found, nil
}

// work matches chunks until there are no more.
func (r *searchRun) work(m *matcher) {
	w := &searcher{run: r, m: m, deadline: m.s.o.Now().Add(m.s.limits.SearchTime)}
	m.text.late, m.fuzzy.late = w.late, w.late
	defer m.close()
	if !w.take() {
		return
	}
	defer w.give()
	defer func() {
		if crash := recover(); crash != nil {
			r.end(nil, fmt.Sprintf("%v\n%s", crash, debug.Stack()))
		}
	}()
	for {
		k := int(r.next.Add(1)) - 1
		if k >= len(r.chunks) {
			return
		}
		if err := w.match(r.chunks[k].from, r.chunks[k].to); err != nil {
			r.end(err, nil)
			return
		}
	}
}

// match matches the messages from from to to.
func (w *searcher) match(from, to int) error {
	var matched []match
	err := w.each(from, to, func(i int, msg *mailbox.Message) error {
		if err := w.late(); err != nil {
			return err
		}
		if w.m == w.run.m { // the session's own worker
			if err := w.m.s.doing.at(i+1, w.m.sel.view.Len()); err != nil {
				return err
			}
		}
		ok, err := w.m.match(i, msg)
		if ok {
			matched = append(matched, match{i, w.m.open.score})
		}
		return err
	})
	if err != nil {
		return err
	}
	w.run.mu.Lock()
	defer w.run.mu.Unlock()
	for _, one := range matched {
		w.run.found.add(one.index)
		if w.m.scored {
			w.run.found.score(one.index, one.score)
		}
	}
	return nil
}

// A match is a message that matches, and how well.
type match struct {
	index int
	score uint8
}

// each calls do with each message that may match, and lets the matcher know
// the facts about its header, when these are asked for.
func (w *searcher) each(from, to int, do func(i int, msg *mailbox.Message) error) error {
	m := w.m
	if !m.inHead {
		for i, msg := range m.sel.view.From(from) {
			if i >= to {
				break
			}
			if err := do(i, msg); err != nil {
				return err
			}
		}
		return nil
	}
	defer func() { m.open.facts = nil }()
	uids := func(yield func(uint32) bool) {
		for i, msg := range m.sel.view.From(from) {
			if i >= to || m.mayMatch(i, msg) && !yield(msg.UID) {
				return
			}
		}
	}
	return m.sel.folder.EachFacts(uids, m.need|mailbox.NeedFields, func(uid uint32, facts *mailbox.Facts, err error) error {
		if m.open.facts = facts; err != nil {
			m.open.facts = nil // the message itself tells why
		}
		i, _ := m.sel.view.Index(uid)
		return do(i, m.sel.view.At(i))
	})
}

// end notes the first outcome that is no list of messages.
func (r *searchRun) end(err error, crash any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.ended:
	default:
		r.err, r.crash = err, crash
		r.next.Store(int64(len(r.chunks)))
		close(r.ended)
	}
}

// late tells when the search has taken too long, and lets others have a turn.
func (w *searcher) late() error {
	now := w.m.s.o.Now()
	switch {
	case now.After(w.deadline):
		return no(imap.ResponseCodeLimit, "the search takes too long: look for less, or in fewer messages")
	case now.Sub(w.since) < searchTurn:
		return nil
	}
	w.give()
	runtime.Gosched()
	if !w.take() {
		return errOver
	}
	return nil
}

// errOver ends a worker when another one has ended the search.
var errOver = errors.New("the search is over")

// take waits for a turn. It reports false when the search ended meanwhile.
func (w *searcher) take() bool {
	before := w.m.s.o.Now()
	select {
	case w.m.s.srv.searches <- struct{}{}:
	case <-w.run.ended:
		return false
	}
	w.turn, w.since = true, w.m.s.o.Now()
	w.deadline = w.deadline.Add(w.since.Sub(before))
	return true
}

func (w *searcher) give() {
	if w.turn {
		w.turn = false
		<-w.m.s.srv.searches
	}
}
