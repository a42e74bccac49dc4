package queuerun

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"peyk/internal/status"
)

// Whoever does not know what became of an attempt says so in the next one: it
// broke off, or this queue-run did not live to see it. A refusal is known.
func TestAttemptsWhoseEndIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.put(mail("a@here.test", "old@here.test"))
		if list, err := b.queue.Dropped(); err != nil || len(list) != 1 || b.queue.Take(list[0]) != nil {
			t.Fatal(list, err)
		}
		b.start() // the message lies in queue/, as after a kill
		b.settled()
		b.local.broken = func(n int) bool { return n == 2 }
		b.send(mail("a@here.test", "cut@here.test"))
		b.settled()
		b.local.answer = func(_ string, n int) *status.Error {
			if n == 1 {
				return status.New(452, "4.2.2", "full")
			}
			return nil
		}
		b.send(mail("a@here.test", "full@here.test"))
		time.Sleep(2 * time.Hour)
		b.settled()
		if want := []bool{true, false, true, false, false}; !slices.Equal(b.local.again, want) {
			t.Errorf("got %v, want %v", b.local.again, want)
		}
		b.finish()
	})
}
