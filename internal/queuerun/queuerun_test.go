package queuerun

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"peyk/internal/dsn"
	"peyk/internal/envelope"
	"peyk/internal/lmtp"
	"peyk/internal/spool"
	"peyk/internal/status"
)

func TestDeliveredAtOnceLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		journals := 0
		b.disk.Hook = func(s commitStep, path string) error {
			if strings.HasSuffix(path, ".log") {
				journals++
			}
			return nil
		}
		b.start()
		b.send(mail("a@there.test", "bob@here.test", "carol@here.test"))
		b.settled()
		for _, who := range []string{"bob@here.test", "carol@here.test"} {
			if got := b.local.got[who]; len(got) != 1 || got[0] != text {
				t.Errorf("%s got %q", who, got)
			}
		}
		if b.local.n != 1 {
			t.Errorf("%d transactions for two recipients of one server, want 1", b.local.n)
		}
		if journals > 0 {
			t.Error("a journal was written for nothing")
		}
		b.empty("queue", "drop/new", "drop/tmp", "hold", "corrupt")
		b.finish()
	})
}

func TestRetryUntilItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var at []time.Time
		b.remote.answer = func(rcpt string, n int) *status.Error {
			at = append(at, time.Now())
			if n < 4 {
				return refuse(450, "4.2.0", "greylisted")
			}
			return nil
		}
		b.start()
		b.send(mail("a@here.test", "x@far.test"))
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		b.settled()
		if b.remote.count("x@far.test") != 1 || len(at) != 4 {
			t.Fatalf("%d deliveries, %d attempts", b.remote.count("x@far.test"), len(at))
		}
		for i, want := range b.settings.Retry {
			if d := at[i+1].Sub(at[i]); d < want*8/10 || d > want*12/10+time.Second {
				t.Errorf("wait %d was %v, want %v ± 20 %%", i, d, want)
			}
		}
		b.empty("queue")
		b.finish()
	})
}

func TestPermanentFailureIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.remote.answer = perRcpt(map[string]*status.Error{
			"x@far.test": refuse(550, "5.1.1", "no such\r\nSubject: injected\r\nuser"),
			"y@far.test": refuse(554, "5.7.1", "go away"),
		})
		b.start()
		e := mail("a@there.test", "x@far.test", "y@far.test", "z@far.test")
		e.EnvID, e.Recipients[0].ORcpt = "QQ 1", "rfc822;X@Far.test"
		id := b.send(e)
		b.settled()
		got := b.reports("a@there.test")
		if len(got) != 1 {
			t.Fatalf("%d reports, want 1\n%s", len(got), b.log.String())
		}
		n, err := dsn.Read(strings.NewReader(got[0]))
		if err != nil {
			t.Fatalf("%v\n%s", err, got[0])
		}
		if n.EnvelopeID != "QQ 1" || n.QueueID != id || len(n.Recipients) != 2 || n.ReportingMTA != "mx.here.test" {
			t.Errorf("report %+v", n)
		}
		if r := n.Recipients[0]; r.Final != "x@far.test" || r.Original != "rfc822;X@Far.test" || r.Status != "5.1.1" || r.Action != "failed" {
			t.Errorf("recipient %+v", r)
		}
		if strings.Contains(got[0], "\nSubject: injected") {
			t.Error("a reply became a header field")
		}
		b.empty("queue", "hold")
		b.finish()
	})
}

func TestExpiryAndDelayWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.remote.answer = func(rcpt string, _ int) *status.Error {
			if rcpt == "x@far.test" {
				return refuse(450, "4.2.1", "mailbox busy")
			}
			return nil
		}
		b.start()
		b.send(mail("a@there.test", "x@far.test"))
		time.Sleep(30 * time.Hour)
		synctest.Wait()
		b.settled()
		got := b.reports("a@there.test")
		if len(got) != 2 {
			t.Fatalf("%d reports, want one of delay and one of failure", len(got))
		}
		for i, want := range []string{"delayed 4.2.1", "failed 5.4.7"} {
			n, err := dsn.Read(strings.NewReader(got[i]))
			if err != nil {
				t.Fatal(err)
			}
			if s := n.Recipients[0].Action + " " + n.Recipients[0].Status; s != want {
				t.Errorf("report %d says %q, want %q", i, s, want)
			}
		}
		b.empty("queue")
		b.finish()
	})
}

func TestABounceIsNeverBounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.remote.answer = func(string, int) *status.Error { return refuse(550, "5.1.1", "no") }
		b.start()
		id := b.send(mail("", "x@far.test"))
		b.settled()
		if got := b.files("hold"); len(got) != 2 || got[0] != id {
			t.Errorf("hold has %q", got)
		}
		b.empty("queue", "drop/new")
		b.sawEvent("event=held", id)
		e, err := b.queue.Find(id)
		if err != nil || len(e.Records) != 1 || e.Records[0].Action != spool.Failed {
			t.Errorf("entry %+v, %v", e, err)
		}
		b.finish()
	})
}

func TestNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.remote.answer = perRcpt(map[string]*status.Error{"never@far.test": refuse(550, "5.0.0", "no"), "success@far.test": refuse(550, "5.0.0", "no")})
		b.router = hops{"list@here.test": {{Address: "m1@here.test", Local: true}, {Address: "m2@here.test", Local: true}}}
		b.start()
		e := mail("a@there.test", "never@far.test", "success@far.test", "ok@here.test", "silent@here.test", "list@here.test")
		for i, n := range [][]string{{"NEVER"}, {"SUCCESS"}, {"SUCCESS", "FAILURE"}, nil, {"SUCCESS"}} {
			e.Recipients[i].Notify = n
		}
		b.send(e)
		b.settled()
		got := b.reports("a@there.test")
		if len(got) != 1 {
			t.Fatalf("%d reports, want 1 about success", len(got))
		}
		n, err := dsn.Read(strings.NewReader(got[0]))
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, r := range n.Recipients {
			said = append(said, r.Final+" "+r.Action)
		}
		if s := strings.Join(said, ", "); s != "ok@here.test delivered, list@here.test expanded" {
			t.Errorf("report says %s", s)
		}
		if b.local.count("m1@here.test") != 1 || b.local.count("m2@here.test") != 1 {
			t.Error("the list's members did not get it")
		}
		b.finish()
	})
}

func TestReturnOfContent(t *testing.T) {
	for ret, want := range map[string]string{"": "text/rfc822-headers", "HDRS": "text/rfc822-headers", "FULL": "message/rfc822"} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.remote.answer = perRcpt(map[string]*status.Error{"x@far.test": refuse(550, "5.0.0", "no")})
			b.start()
			e := mail("a@there.test", "x@far.test")
			e.Ret = ret
			b.send(e)
			b.settled()
			got := b.reports("a@there.test")
			if len(got) != 1 || !strings.Contains(got[0], "Content-Type: "+want) || strings.Contains(got[0], "how are you") != (ret == "FULL") {
				t.Errorf("RET=%s: %q", ret, got)
			}
			b.finish()
		})
	}
}

func TestUnknownLocalUserFailsAtRouting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.router = hops{"nobody@here.test": nil}
		b.start()
		b.send(mail("a@there.test", "nobody@here.test"))
		b.settled()
		got := b.reports("a@there.test")
		if len(got) != 1 || !strings.Contains(got[0], "Status: 5.1.1") || b.local.n != 0 {
			t.Errorf("reports %q", got)
		}
		b.finish()
	})
}

// A restart repeats nothing that the journal says is done, even when the
// aliases are expanded again.
func TestRestartRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.router = hops{"list@here.test": {{Address: "m1@here.test", Local: true}, {Address: "x@far.test", Destination: "far.test"}}}
		var works atomic.Bool
		b.remote.answer = func(string, int) *status.Error {
			if works.Load() {
				return nil
			}
			return refuse(450, "4.2.0", "later")
		}
		b.start()
		b.send(mail("a@there.test", "list@here.test", "m1@here.test", "bob@here.test"))
		b.settled()
		b.finish()
		works.Store(true)
		for range 3 {
			b.start()
			b.settled()
			b.finish()
		}
		if b.remote.count("x@far.test") != 0 {
			t.Error("a restart tried it before its time")
		}
		b.start()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		b.settled()
		for rcpt, s := range map[string]*server{"m1@here.test": b.local, "bob@here.test": b.local, "x@far.test": b.remote} {
			if n := s.count(rcpt); n != 1 {
				t.Errorf("%s got %d copies", rcpt, n)
			}
		}
		b.empty("queue")
		b.finish()
	})
}

// What is done for a recipient stays done when an admin changes the tables
// while the rest of the message waits: no second copy elsewhere, and no report
// that the recipient does not exist.
func TestTablesChangeWhileMailWaits(t *testing.T) {
	for name, now := range map[string][]Hop{
		"alias removed":  nil,
		"other target":   {{Address: "carol@here.test", Local: true}},
		"domain removed": {{Address: "sales@here.test", Destination: "here.test"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.router = hops{"sales@here.test": {{Address: "bob@here.test", Local: true}}}
				b.remote.answer = func(rcpt string, n int) *status.Error {
					if rcpt == "x@far.test" && n < 2 {
						return refuse(450, "4.2.0", "later")
					}
					return nil
				}
				b.start()
				b.send(mail("a@there.test", "sales@here.test", "x@far.test"))
				b.settled()
				b.finish()
				b.router = hops{"sales@here.test": now}
				b.start()
				time.Sleep(10 * time.Minute)
				b.settled()
				if got := b.reports("a@there.test"); len(got) != 0 {
					t.Errorf("reports %q", got)
				}
				for rcpt, want := range map[string]int{"bob@here.test": 1, "carol@here.test": 0, "sales@here.test": 0, "x@far.test": 1} {
					if n := b.local.count(rcpt) + b.remote.count(rcpt); n != want {
						t.Errorf("%s got %d copies, want %d", rcpt, n, want)
					}
				}
				b.empty("queue")
				b.finish()
			})
		})
	}
}

// A list of which one member has the message and another could not even be
// tried is not done, whatever a restart finds.
func TestUntriedMemberIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.router = hops{"list@here.test": {{Address: "m1@here.test", Local: true}, {Address: "x@far.test", Destination: "far.test"}}}
		b.remote.setDown(true)
		b.start()
		id := b.send(mail("a@there.test", "list@here.test"))
		time.Sleep(lingers + time.Second)
		synctest.Wait()
		b.finish()
		records, err := b.queue.Journal(id)
		if err != nil || len(records) != 2 || !records[0].Untried() || records[0].Final != "x@far.test" || records[1].Final != "m1@here.test" {
			t.Errorf("journal %+v, %v: the member that waits must stand before the one that has it, as a cut takes the end", records, err)
		}
		if n := spool.Fold(records).Attempts; n != 0 {
			t.Errorf("%d attempts", n)
		}
		b.remote.setDown(false)
		b.start()
		b.settled()
		if b.local.count("m1@here.test") != 1 || b.remote.count("x@far.test") != 1 {
			t.Errorf("m1 %d, x %d", b.local.count("m1@here.test"), b.remote.count("x@far.test"))
		}
		b.empty("queue")
		b.finish()
	})
}

// While one destination hangs, what others did becomes durable.
func TestDoneIsJournalledWhileAnotherDestinationWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.remote.hang = func(ctx context.Context, _ *lmtp.Transaction) { <-ctx.Done() }
		b.start()
		id := b.send(mail("a@there.test", "bob@here.test", "x@far.test"))
		time.Sleep(lingers + time.Second)
		synctest.Wait()
		records, err := b.queue.Journal(id)
		if err != nil || len(records) != 1 || records[0].Final != "bob@here.test" || records[0].Action != spool.Delivered {
			t.Errorf("journal %+v, %v", records, err)
		}
		b.finish() // breaks the hanging one off after drainTime
		if got := b.files("queue"); len(got) != 2 {
			t.Errorf("queue has %q", got)
		}
		b.remote.hang = nil
		b.start()
		b.settled()
		if b.local.count("bob@here.test") != 1 || b.remote.count("x@far.test") != 1 {
			t.Errorf("bob %d, x %d", b.local.count("bob@here.test"), b.remote.count("x@far.test"))
		}
		b.empty("queue")
		b.finish()
	})
}

// A destination that does not answer delays nobody else, and is not tried for
// every message that waits for it.
func TestDeadDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var dead atomic.Bool
		dead.Store(true)
		tries := 0
		b.remote.hang = func(ctx context.Context, tr *lmtp.Transaction) {
			if dead.Load() && tr.NextHop == "dead.test" {
				b.remote.mu.Lock()
				tries++
				b.remote.mu.Unlock()
				time.Sleep(30 * time.Second)
			}
		}
		b.remote.answer = func(rcpt string, _ int) *status.Error {
			if dead.Load() && strings.HasSuffix(rcpt, "@dead.test") {
				return refuse(451, "4.4.1", "<"+rcpt+"> no answer") // LMTP servers put the recipient first
			}
			return nil
		}
		b.start()
		for i := range 1500 {
			b.put(mail("a@here.test", fmt.Sprintf("x%d@dead.test", i)))
		}
		b.r.look()
		synctest.Wait()
		begin := time.Now()
		for i := range 50 {
			b.send(mail("a@here.test", fmt.Sprintf("y%d@alive.test", i)))
		}
		synctest.Wait()
		if d := time.Since(begin); d > 0 || len(b.remote.order) != 50 {
			t.Errorf("%d of 50 delivered after %v", len(b.remote.order), d)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if tries > 40 {
			t.Errorf("a dead destination was tried %d times in an hour", tries)
		}
		dead.Store(false)
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		b.settled()
		for i := range 1500 {
			if n := b.remote.count(fmt.Sprintf("x%d@dead.test", i)); n != 1 {
				t.Fatalf("x%d got %d copies after the host came back", i, n)
			}
		}
		b.sawEvent("event=destination", "451 4.4.1 no answer") // without the recipient: it is said of others too
		b.sawEvent("event=destination", "it answers again")
		b.empty("queue")
		b.finish()
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.settings.DestinationConcurrency, b.settings.RemoteConcurrency, b.settings.LocalConcurrency = 7, 9, 4
		slow := func(context.Context, *lmtp.Transaction) { time.Sleep(time.Second) }
		b.local.hang, b.remote.hang = slow, slow
		b.start()
		for i := range 200 {
			b.put(mail("a@here.test", fmt.Sprintf("u%d@here.test", i)))
			b.put(mail("a@here.test", fmt.Sprintf("u%d@one.test", i)))
		}
		b.r.look()
		time.Sleep(100 * time.Second)
		synctest.Wait()
		if b.local.peak != 4 || b.remote.peak != 7 {
			t.Errorf("peaks %d and %d, want 4 and 7", b.local.peak, b.remote.peak)
		}
		for i := range 200 {
			b.put(mail("a@here.test", fmt.Sprintf("v%d@d%d.test", i, i%5)))
		}
		b.r.look()
		time.Sleep(100 * time.Second)
		synctest.Wait()
		b.settled()
		if b.remote.peak != 9 || len(b.remote.order) != 400 {
			t.Errorf("peak %d, %d delivered", b.remote.peak, len(b.remote.order))
		}
		b.empty("queue")
		b.finish()
	})
}

// When deliver is restarted its mail waits a moment, without a journal.
func TestServerDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.local.setDown(true)
		b.start()
		for i := range 300 {
			b.put(mail("a@here.test", fmt.Sprintf("u%d@here.test", i)))
		}
		b.r.look()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.send(mail("a@here.test", "x@far.test"))
		synctest.Wait()
		if b.remote.count("x@far.test") != 1 {
			t.Error("remote mail waits for the local server")
		}
		b.local.setDown(false)
		time.Sleep(probeLast + 5*time.Second)
		synctest.Wait()
		b.settled()
		if len(b.local.order) != 300 {
			t.Errorf("%d of 300 delivered", len(b.local.order))
		}
		b.sawEvent("event=suspended", "via=local")
		b.empty("queue")
		b.finish()
	})
}

// A connection that died in the pool is replaced, and nobody notices.
func TestStaleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.local.broken = func(n int) bool { return n == 2 }
		b.start()
		b.send(mail("a@here.test", "u1@here.test"))
		b.settled()
		b.send(mail("a@here.test", "u2@here.test"))
		b.settled()
		if b.local.count("u2@here.test") != 1 || b.local.dials != 2 {
			t.Errorf("%d delivered, %d connections", b.local.count("u2@here.test"), b.local.dials)
		}
		b.finish()
	})
}

// deliver dies in the midst of a message and is there again at once: the
// message does not wait for its next retry. If it dies each time, it does.
func TestDeliverStartedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.local.broken = func(n int) bool { return n == 1 }
		b.start()
		b.send(mail("a@here.test", "u1@here.test"))
		b.settled()
		if b.local.count("u1@here.test") != 1 || b.local.dials != 2 {
			t.Errorf("%d delivered, %d connections", b.local.count("u1@here.test"), b.local.dials)
		}
		b.local.broken = func(n int) bool { return n < 6 }
		b.send(mail("a@here.test", "u2@here.test"))
		synctest.Wait()
		if b.local.n != 5 || b.local.count("u2@here.test") != 0 {
			t.Errorf("%d transactions, %d delivered", b.local.n, b.local.count("u2@here.test"))
		}
		time.Sleep(2 * time.Hour)
		b.settled()
		if b.local.count("u2@here.test") != 1 {
			t.Error("it was not delivered at the next retry")
		}
		b.finish()
	})
}

func TestCorruptFilesAreSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.put(mail("a@here.test", "u@here.test"))
		path := filepath.Join(b.dir, "drop/new", id)
		data, _ := os.ReadFile(path)
		os.WriteFile(path, data[:len(data)-1], 0o640)
		os.WriteFile(filepath.Join(b.dir, "drop/new", "not-an-id"), []byte("x"), 0o640)
		os.Symlink("/etc/passwd", filepath.Join(b.dir, "drop/new", strings.Repeat("0", spool.IDLength)))
		b.start()
		good := b.send(mail("a@here.test", "good@here.test"))
		b.settled()
		if got := b.files("corrupt"); len(got) != 3 {
			t.Errorf("corrupt has %q", got)
		}
		if b.local.n != 1 || b.local.count("good@here.test") != 1 {
			t.Errorf("%d transactions; %s", b.local.n, good)
		}
		b.sawEvent("event=corrupt", "queue="+id)
		b.empty("queue", "drop/new")
		b.finish()
	})
}

func TestDamagedJournalGoesWithItsMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.remote.answer = func(string, int) *status.Error { return refuse(450, "4.2.0", "later") }
		b.start()
		id := b.send(mail("a@here.test", "x@far.test"))
		b.settled()
		b.finish()
		path := filepath.Join(b.dir, "queue", id+".log")
		data, _ := os.ReadFile(path)
		data[30] ^= 1
		os.WriteFile(path, data, 0o600)
		b.start()
		b.settled()
		if got := b.files("corrupt"); len(got) != 2 {
			t.Errorf("corrupt has %q", got)
		}
		b.empty("queue")
		b.finish()
	})
}

// mailctl's verbs meet a running queue-run.
func TestHoldReleaseRemoveRequeueFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var works atomic.Bool
		b.remote.answer = func(rcpt string, _ int) *status.Error {
			if works.Load() || rcpt == "ok@far.test" {
				return nil
			}
			return refuse(450, "4.2.0", "later")
		}
		b.start()
		held := b.send(mail("a@here.test", "held@far.test", "ok@far.test"))
		removed := b.send(mail("a@here.test", "removed@far.test"))
		requeued := b.send(mail("a@here.test", "requeued@far.test"))
		b.send(mail("a@here.test", "flushed@far.test"))
		b.settled()
		if err := b.queue.Hold(held); err != nil {
			t.Fatal(err)
		}
		if err := b.queue.Remove(removed); err != nil {
			t.Fatal(err)
		}
		works.Store(true)
		if err := b.queue.Requeue(requeued); err != nil {
			t.Fatal(err)
		}
		b.settled()
		if b.remote.count("requeued@far.test") != 1 || b.remote.count("flushed@far.test") != 0 {
			t.Error("requeue: the wrong messages were tried")
		}
		if err := b.queue.Drop().Flush(); err != nil {
			t.Fatal(err)
		}
		b.settled()
		if b.remote.count("flushed@far.test") != 1 || b.remote.count("held@far.test") != 0 || b.remote.count("removed@far.test") != 0 {
			t.Error("flush: the wrong messages were tried")
		}
		b.sawEvent("event=vanished", removed)
		if err := b.queue.Release(held); err != nil {
			t.Fatal(err)
		}
		b.settled()
		if b.remote.count("held@far.test") != 1 || b.remote.count("ok@far.test") != 1 {
			t.Errorf("release: held %d, ok %d", b.remote.count("held@far.test"), b.remote.count("ok@far.test"))
		}
		b.empty("queue", "hold", "drop/new", "corrupt")
		b.finish()
	})
}

func TestTwoSchedulersAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		synctest.Wait()
		other := New(Options{Queue: b.queue, Log: b.r.log, Now: time.Now, Rand: zeros{}, Router: b.router, Settings: b.settings, Watch: noWatch})
		if err := other.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "another queue-run") {
			t.Errorf("Serve: %v", err)
		}
		b.finish()
	})
}

// A report that cannot be queued makes the failure wait: a sender is always
// told.
func TestReportNeedsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var full atomic.Bool
		b.remote.answer = func(rcpt string, n int) *status.Error {
			if rcpt != "x@far.test" {
				return nil
			}
			full.Store(n == 1)
			return refuse(550, "5.1.1", "no")
		}
		b.disk.Hook = func(s commitStep, path string) error {
			if full.Load() && strings.Contains(path, "drop/tmp") {
				return os.ErrPermission
			}
			return nil
		}
		b.start()
		b.send(mail("a@there.test", "x@far.test"))
		b.settled()
		if n := len(b.reports("a@there.test")); n != 0 || len(b.files("queue")) != 2 {
			t.Errorf("%d reports, queue %q", n, b.files("queue"))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		b.settled()
		if n := len(b.reports("a@there.test")); n != 1 {
			t.Errorf("%d reports", n)
		}
		b.empty("queue")
		b.finish()
	})
}

// A clock that was wrong when the journal was written, or is wrong now, makes
// nothing wait longer than the longest interval.
func TestClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		id := b.put(mail("a@there.test", "x@far.test"))
		if err := b.queue.Take(id); err != nil {
			t.Fatal(err)
		}
		future := time.Now().Add(10 * 365 * 24 * time.Hour)
		err := b.queue.Record(id, spool.Record{Time: future, Action: spool.Delayed, Status: "4.2.0", Original: "x@far.test", Final: "x@far.test", Next: future.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		b.start()
		time.Sleep(b.settings.Retry[2]*12/10 + time.Second)
		synctest.Wait()
		b.settled()
		if b.remote.count("x@far.test") != 1 {
			t.Errorf("not delivered\n%s", b.log.String())
		}
		b.empty("queue")
		b.finish()
	})
}

func TestSettingsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.settings.LocalConcurrency = 1
		b.local.hang = func(context.Context, *lmtp.Transaction) { time.Sleep(time.Second) }
		b.start()
		for i := range 20 {
			b.put(mail("a@here.test", fmt.Sprintf("u%d@here.test", i)))
		}
		b.r.look()
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		s := b.settings
		s.LocalConcurrency = 30
		b.r.Configure(s)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		b.settled()
		if len(b.local.order) != 20 {
			t.Errorf("%d of 20 delivered", len(b.local.order))
		}
		b.finish()
	})
}

func TestManyRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.start()
		e := mail("a@there.test")
		for i := range 1050 {
			e.Recipients = append(e.Recipients, envelope.Recipient{Address: fmt.Sprintf("u%d@here.test", i)})
		}
		b.send(e)
		b.settled()
		if len(b.local.order) != 1050 || b.local.n != 11 {
			t.Errorf("%d delivered in %d transactions", len(b.local.order), b.local.n)
		}
		b.empty("queue")
		b.finish()
	})
}

// A flush reaches also those messages that find no room in the backlog of
// their destination at first.
func TestFlushOfManyForOneDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var works atomic.Bool
		b.remote.answer = func(string, int) *status.Error {
			if works.Load() {
				return nil
			}
			return refuse(450, "4.2.0", "later")
		}
		b.settings.Retry = []time.Duration{12 * time.Hour}
		b.start()
		const many = 3*maxBacklog + 7
		for i := range many {
			b.put(mail("a@here.test", fmt.Sprintf("x%d@far.test", i)))
		}
		b.r.look()
		b.settled()
		works.Store(true)
		if err := b.queue.Drop().Flush(); err != nil {
			t.Fatal(err)
		}
		b.settled()
		if n := len(b.remote.order); n != many {
			t.Errorf("%d of %d delivered", n, many)
		}
		b.empty("queue")
		b.finish()
	})
}
