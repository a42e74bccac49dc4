// Package kills_test kills daemons while everybody uses them, and counts what
// was acknowledged and what is there.
package kills_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"peyk/test/crash/traffic"
	"peyk/test/sandbox"
)

func TestMain(m *testing.M) { os.Exit(sandbox.Main(m)) }

// number reads a setting of the test from the environment; make crash has
// larger defaults than make test.
func number(t *testing.T, name string, quick, full int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		if os.Getenv("PEYK_CRASH") != "" {
			return full
		}
		return quick
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

var victims = []string{"smtpd", "submission", "queue-run", "deliver", "remote", "imapd", "pop3d", "authd"}

// Under load a random daemon is killed with SIGKILL, again and again. Whatever
// was acknowledged, by SMTP or IMAP, is somewhere, octet for octet; not
// more messages came twice than there were kills.
//
//	PEYK_KILLS=200 PEYK_MESSAGES=100000 PEYK_SEED=1
func TestNothingAcknowledgedIsLostByKills(t *testing.T) {
	kills, messages := number(t, "PEYK_KILLS", 30, 200), number(t, "PEYK_MESSAGES", 1000, 100_000)
	seed := number(t, "PEYK_SEED", int(time.Now().UnixNano()), 1)
	ledger := traffic.NewLedger()
	sink := traffic.NewSink(t, ledger)
	s := sandbox.Start(t, traffic.Settings(sink)...)
	load := traffic.New(t, s, ledger, sink)
	load.MessageSize = 1000
	r := rand.New(rand.NewPCG(uint64(seed), 0))
	started := time.Now()
	load.Start(8)
	count := map[string]int{}
	for n := range kills {
		s.Eventually("mail goes on", func() bool { return ledger.Promised() >= messages*n/kills })
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond) // not luck: a kill is to come at any point
		victim := victims[r.IntN(len(victims))]
		s.Kill(victim)
		count[victim]++
		if n%20 == 19 {
			t.Logf("%d kills, %d acknowledged, %v", n+1, ledger.Promised(), time.Since(started).Round(time.Second))
		}
	}
	s.Eventually("enough mail", func() bool { return ledger.Promised() >= messages })
	load.Stop()
	verdict := load.Arrive(2 * time.Minute)
	t.Logf("seed %d, %d kills %v in %v: %v", seed, kills, count, time.Since(started).Round(time.Second), verdict)
	t.Log(load.Did())
	if verdict.Extra > kills {
		t.Errorf("%d extra copies for %d kills, such as\n%s", verdict.Extra, kills, strings.Join(verdict.Copies, "\n"))
	}
	if len(verdict.Lost) > 0 || len(verdict.Wrong) > 0 {
		t.Errorf("lost %.2000s, wrong %.2000s", fmt.Sprint(verdict.Lost), fmt.Sprint(verdict.Wrong))
	}
	s.Eventually("the queue is empty", func() bool { return len(queued(s)) == 0 })
	t.Logf("the queue is empty after %v", time.Since(started).Round(time.Second))
	if strings.Contains(s.Log(), "event=panic") {
		t.Error("somebody panicked")
	}
}

// queued lists what lies in the queue; drop/tmp holds what the sweep removes.
func queued(s *sandbox.Sandbox) (all []string) {
	for _, place := range []string{"drop/new", "queue", "hold", "corrupt"} {
		found, _ := filepath.Glob(filepath.Join(s.Env["PEYK_SPOOL"], place, "*"))
		all = append(all, found...)
	}
	return all
}
