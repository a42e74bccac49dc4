package queuerun

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"peyk/internal/commit"
	"peyk/internal/spool"
	"peyk/internal/status"
)

// TestCrashAtEveryStep lets queue-run die at every step that it takes on the
// disk while it works on a small load, and starts it again: every recipient
// gets the message or its sender a report, and nobody for whom the journal
// said "done" gets a second copy.
func TestCrashAtEveryStep(t *testing.T) {
	for step := 1; ; step++ {
		died := false
		synctest.Test(t, func(t *testing.T) { died = crashAt(t, step) })
		if !died {
			if step < 12 {
				t.Errorf("only %d steps: the load does too little", step)
			}
			return
		}
	}
}

type mortal struct {
	mu   sync.Mutex
	left int
	dead bool
}

func (m *mortal) hook(commit.Step, string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left > 0 {
		m.left--
		m.dead = m.left == 0
	}
	if m.dead {
		return errors.New("dead")
	}
	return nil
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

func crashAt(t *testing.T, step int) (died bool) {
	b := newBench(t)
	b.settings.Retry = []time.Duration{time.Minute}
	death := new(mortal)
	// A dead process delivers nothing more.
	b.local.broken = func(int) bool { return death.isDead() }
	b.remote.broken = b.local.broken
	answer := func(rcpt string, n int) *status.Error {
		switch {
		case rcpt == "gone@far.test":
			return refuse(550, "5.1.1", "no such user")
		case rcpt == "slow@far.test" && n < 3:
			return refuse(450, "4.2.0", "later")
		}
		return nil
	}
	b.local.answer, b.remote.answer = answer, answer
	b.router = hops{"list@here.test": {{Address: "m1@here.test", Local: true}, {Address: "slow@far.test", Destination: "far.test"}}}

	ids := []string{b.put(mail("a@there.test", "bob@here.test")),
		b.put(mail("a@there.test", "list@here.test", "gone@far.test", "carl@here.test"))}
	b.disk.Hook = death.hook
	death.left = step
	b.start()
	time.Sleep(5 * time.Minute)
	b.settled()
	died = death.isDead()
	b.finish()
	done := journalledDone(t, b, ids)
	before := map[string]int{}
	for rcpt := range done {
		before[rcpt] = b.local.count(rcpt) + b.remote.count(rcpt)
	}

	death.mu.Lock()
	death.dead, death.left = false, 0
	death.mu.Unlock()
	b.start()
	time.Sleep(10 * time.Minute)
	b.settled()
	what := fmt.Sprintf("death at step %d", step)
	for _, rcpt := range []string{"bob@here.test", "m1@here.test", "slow@far.test", "carl@here.test", "a@there.test"} {
		if n := b.local.count(rcpt) + b.remote.count(rcpt); n < 1 || n > 2 {
			t.Errorf("%s: %s got %d copies", what, rcpt, n)
		}
	}
	for rcpt, n := range before {
		if after := b.local.count(rcpt) + b.remote.count(rcpt); after != n {
			t.Errorf("%s: %s had %d copies and got %d more, though the journal said done", what, rcpt, n, after-n)
		}
	}
	b.empty("queue", "drop/new", "hold", "corrupt")
	b.finish()
	return died
}

// journalledDone returns the addresses that the journals on disk call done.
func journalledDone(t *testing.T, b *bench, ids []string) map[string]bool {
	done := map[string]bool{}
	for _, id := range ids {
		records, err := b.queue.Journal(id)
		if err != nil {
			t.Fatal(err)
		}
		for final := range spool.Fold(records).Finals {
			done[final] = true
		}
	}
	return done
}
