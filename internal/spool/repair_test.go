package spool

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"peyk/internal/commit"
)

var (
	messagePlaces = []Place{inTmp, InDrop, InQueue, InHold, InCorrupt}
	logPlaces     = []Place{InQueue, InHold, InCorrupt}
)

// recover is what queue-run does at its start.
func restart(t *testing.T, q *Queue) {
	t.Helper()
	if _, err := q.Repair(func(string, string) {}); err != nil {
		t.Fatal(err)
	}
	list, err := q.Dropped()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		if err := q.Take(name); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	}
}

// TestStateTable makes every combination of a message in some places and a
// journal in some places, and restarts. It holds the table of peyk-queue(5):
// no message is lost, a journal is beside its message, and a journal without
// a message is gone, or is evidence in corrupt/.
func TestStateTable(t *testing.T) {
	for messages := range 1 << len(messagePlaces) {
		for logs := range 1 << len(logPlaces) {
			q := newQueue(t)
			id := newID(t)
			had := makeState(t, q, id, messages, logs)
			restart(t, q)
			checkState(t, q, id, had, fmt.Sprintf("messages %05b, journals %03b", messages, logs), logs)
		}
	}
}

// makeState makes the files of one state and returns how many messages it has
// outside drop/tmp.
func makeState(t *testing.T, q *Queue, id string, messages, logs int) int {
	t.Helper()
	had := 0
	for i, p := range messagePlaces {
		if messages&(1<<i) == 0 {
			continue
		}
		w, err := q.Drop().Create(letter(id))
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("from " + string(p) + "\r\n"))
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		os.Rename(q.path(InDrop, id), q.path(p, id+".aside")) // out of the way of the next
		if p != inTmp {
			had++
		}
	}
	for _, p := range messagePlaces {
		os.Rename(q.path(p, id+".aside"), q.path(p, id))
	}
	for i, p := range logPlaces {
		if logs&(1<<i) != 0 {
			r := record("b@here.test", Delivered)
			r.Reply = "from " + string(p)
			os.WriteFile(q.path(p, id+logSuffix), AppendRecord(nil, &r), 0o600)
		}
	}
	return had
}

func checkState(t *testing.T, q *Queue, id string, had int, state string, logs int) {
	t.Helper()
	have, journals := 0, 0
	for _, p := range []Place{InDrop, InQueue, InHold, InCorrupt} {
		for _, name := range ls(t, q, p) {
			if strings.Contains(name, logSuffix) {
				journals++
			} else {
				have++
			}
			if p == InQueue && name != id && name != id+logSuffix {
				t.Errorf("%s: %s is in the queue", state, name)
			}
		}
		if (p == InQueue || p == InHold) && q.has(p, id+logSuffix) && !q.has(p, id) {
			t.Errorf("%s: a journal without its message in %s", state, p)
		}
	}
	if have != had {
		t.Errorf("%s: %d messages became %d", state, had, have)
	}
	if had == 1 && logs&(logs-1) == 0 && logs != 0 { // the usual case: one of each
		e, err := q.Find(id)
		if err != nil || len(e.Records) != 1 {
			t.Errorf("%s: the journal did not follow: %+v, %v", state, e, err)
		}
	}
	if len(ls(t, q, InDrop)) > 0 {
		t.Errorf("%s: the drop is not empty", state)
	}
}

func TestStrangersLeaveTheQueue(t *testing.T) {
	q := newQueue(t)
	for _, name := range []string{"README", "x.log", "core"} {
		os.WriteFile(q.path(InQueue, name), nil, 0o600)
	}
	os.Mkdir(q.path(InQueue, "dir"), 0o700)
	reported := 0
	ids, err := q.Repair(func(string, string) { reported++ })
	if err != nil || len(ids) > 0 || reported != 4 || len(ls(t, q, InQueue)) > 0 || len(ls(t, q, InCorrupt)) != 4 {
		t.Errorf("%q, %v, %d reported, corrupt %q", ids, err, reported, ls(t, q, InCorrupt))
	}
}

// Every operation dies at every step; after a restart the message is whole in
// one place, or gone if it was to go, and what the journal said is still said.
func TestCrashAtEveryStep(t *testing.T) {
	type op struct {
		name  string
		from  Place
		run   func(*Queue, string) error
		mayGo bool
	}
	for _, o := range []op{
		{"take", InDrop, func(q *Queue, id string) error { return q.Take(id) }, false},
		{"record", InQueue, func(q *Queue, id string) error { return q.Record(id, record("c@here.test", Delivered)) }, false},
		{"finish", InQueue, func(q *Queue, id string) error { return q.Finish(id, true) }, true},
		{"corrupt", InQueue, (*Queue).Corrupt, false},
		{"set aside", InQueue, (*Queue).SetAside, false},
		{"hold", InQueue, (*Queue).Hold, false},
		{"hold from the drop", InDrop, (*Queue).Hold, false},
		{"release", InHold, (*Queue).Release, false},
		{"requeue", InQueue, (*Queue).Requeue, false},
		{"requeue held", InHold, (*Queue).Requeue, false},
		{"requeue corrupt", InCorrupt, (*Queue).Requeue, false},
		{"remove", InQueue, (*Queue).Remove, true},
		{"remove held", InHold, (*Queue).Remove, true},
	} {
		for step := 1; ; step++ {
			q := newQueue(t)
			id := put(t, q, text)
			q.Take(id)
			if err := q.Record(id, record("b@here.test", Delivered)); err != nil {
				t.Fatal(err)
			}
			os.Rename(q.path(InQueue, id), q.path(o.from, id))
			os.Rename(q.path(InQueue, id+logSuffix), q.path(logPlace(o.from), id+logSuffix))
			died := dieAt(q, step, func() { o.run(q, id) })
			restart(t, q)
			e, err := q.Find(id)
			if gone := errors.Is(err, os.ErrNotExist); gone && !o.mayGo || err != nil && !gone {
				t.Fatalf("%s, step %d: %v", o.name, step, err)
			} else if !gone && (e.Err != nil || len(e.Records) == 0) {
				t.Fatalf("%s, step %d: %+v", o.name, step, e)
			} else if gone && len(ls(t, q, InQueue))+len(ls(t, q, InHold)) > 0 {
				t.Fatalf("%s, step %d: something is left", o.name, step)
			}
			if !died {
				break
			}
		}
	}
}

// dieAt runs do with a disk that does nothing any more from its n-th step on,
// which is what a death looks like from the disk.
func dieAt(q *Queue, n int, do func()) (died bool) {
	good := q.disk
	defer func() { q.disk = good }()
	var mu sync.Mutex
	q.disk = &commit.Disk{Hook: func(commit.Step, string) error {
		mu.Lock()
		defer mu.Unlock()
		n--
		if n <= 0 {
			died = true
			return errors.New("dead")
		}
		return nil
	}}
	do()
	return died
}
