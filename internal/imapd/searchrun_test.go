package imapd

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"peyk/internal/mailbox"
)

// TestSearchesTakeTurns: a search that has worked for a while lets another one
// go on, and the time that it waits does not count as its own.
func TestSearchesTakeTurns(t *testing.T) { synctest.Test(t, searchesTakeTurns) }

func searchesTakeTurns(t *testing.T) {
	var clock atomic.Int64
	now := func() time.Time { return time.Unix(0, clock.Load()) }
	srv := &Server{searches: make(chan struct{}, 1)}
	s := &session{srv: srv, o: &Options{Now: now}, limits: Limits{SearchTime: time.Second}}
	worker := func() *searcher {
		return &searcher{run: &searchRun{ended: make(chan struct{})}, m: &matcher{s: s}, deadline: now().Add(time.Second)}
	}
	a, b := worker(), worker()
	if !a.take() || a.late() != nil {
		t.Fatal("the first one has no turn")
	}
	turn := make(chan bool, 1)
	go func() {
		ok := b.take()
		clock.Add(int64(10 * time.Second))
		b.give()
		turn <- ok
	}()
	synctest.Wait() // b waits
	if err := a.late(); err != nil || len(turn) > 0 {
		t.Fatalf("it stops too early: %v", err)
	}
	clock.Add(int64(searchTurn))
	if err := a.late(); err != nil {
		t.Fatal(err)
	}
	if !<-turn || !a.turn {
		t.Error("a turn is missing")
	}
	if left := a.deadline.Sub(now()); left > time.Second {
		t.Errorf("it may go on for %v", left)
	}
	clock.Add(int64(time.Hour))
	if err := a.late(); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("after an hour: %v", err)
	}
	a.give()
	a.give()
	if len(srv.searches) != 0 {
		t.Error("a turn was not given back")
	}
	a.run.end(nil, nil)
	srv.searches <- struct{}{}
	if a.take() {
		t.Error("a search that is over takes a turn")
	}
}

// TestSearchTimeEndsInsideAMessage: one message can be too long to search.
func TestSearchTimeEndsInsideAMessage(t *testing.T) {
	o := newIndexed(t, "Subject: x\n\n"+strings.Repeat("brown fox\n", 1<<20))
	o.TextIndex = false
	var calls atomic.Int64
	begin := time.Now()
	o.Now = func() time.Time { return begin.Add(time.Duration(calls.Add(1)) * 10 * time.Millisecond) }
	o.Limits.SearchTime = time.Second
	got := answers(o, "BODY absent")
	if len(got) != 1 || !strings.HasPrefix(got[0], "b NO [LIMIT]") {
		t.Errorf("%q", got)
	}
	o.Limits.SearchTime = time.Hour
	if got := answers(o, "BODY \"x fox\"", "BODY \"brown fox\""); len(got) != 2 || got[0] != "* SEARCH" || got[1] != "* SEARCH 1" {
		t.Errorf("%q", got)
	}
}

// TestManySearchKeys: 1,000 different texts, each of which may be the one.
func TestManySearchKeys(t *testing.T) {
	o := newIndexed(t, "Subject: a\n\nnothing\n", "Subject: b\n\nword777\n", "Subject: word3\n\nx\n")
	o.TextIndex = false
	var tree func(from, to int) string
	tree = func(from, to int) string {
		if to-from == 1 {
			return "TEXT word" + string(appendUint(nil, uint32(from)))
		}
		mid := (from + to) / 2
		return "OR " + tree(from, mid) + " " + tree(mid, to)
	}
	got := answers(o, tree(0, 1000), tree(100, 700), "NOT "+tree(0, 900))
	want := []string{"* SEARCH 2 3", "* SEARCH", "* SEARCH 1"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestManyKeysOfMemoryTakeTurnsToo: what is found without reading anything can
// still be much.
func TestManyKeysOfMemoryTakeTurnsToo(t *testing.T) {
	var clock atomic.Int64
	tick := time.Duration(0)
	s := &session{srv: New(Options{}), limits: Limits{SearchTime: time.Second},
		o: &Options{Now: func() time.Time { return time.Unix(0, clock.Add(int64(tick))) }}}
	messages := make([]mailbox.Message, 5000)
	for i := range messages {
		messages[i] = mailbox.Message{UID: uint32(i + 1), Size: int64(i)}
	}
	sel := &selected{view: mailbox.ListOf(messages)}
	keys := and()
	for i := range 1000 {
		keys.keys = append(keys.keys, &key{op: keyOr, keys: []*key{{op: keyLarger, n: int64(3 * i)}, {op: keySmaller, n: 7}}})
	}
	m := s.compile(sel, keys)
	found, err := m.find()
	want, _ := m.findCheap()
	if err != nil || found.n != want.n || found.n == 0 || !slices.Equal(slices.Collect(found.from(0)), slices.Collect(want.from(0))) {
		t.Errorf("%d messages and %v, want %d", found.n, err, want.n)
	}
	tick = time.Millisecond
	if _, err := s.compile(sel, keys).find(); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("after its time: %v", err)
	}
	if len(s.srv.searches) != 0 {
		t.Error("a turn was not given back")
	}
}
