package e2e_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"sync"
	"testing"
	"time"

	"peyk/test/sandbox"
)

// kills is how often each daemon is killed; -short does it less often.
const kills = 50

// Under load each daemon in turn is killed with SIGKILL, again and again.
// Every message whose final dot was acknowledged must be in the mailbox, with
// all its bytes; a message may come twice for a kill, not more often.
func TestNothingAcknowledgedIsLostByKills(t *testing.T) {
	rounds := kills
	if testing.Short() {
		rounds = 5
	}
	s := sandbox.Start(t, "retry=1s", "message-size-limit=1M")
	load := newLoad(s)
	for i := range 4 {
		load.wait.Go(func() { load.run(i) })
	}
	victims := []string{"deliver", "queue-run", "smtpd", "authd", "imapd", "pop3d", "remote", "submission"}
	for round := range rounds {
		for _, victim := range victims {
			load.settle(3) // some mail between the kills
			s.Kill(victim)
		}
		if round%10 == 9 {
			t.Logf("%d kills, %d messages acknowledged", (round+1)*len(victims), load.count())
		}
	}
	close(load.stop)
	load.wait.Wait()
	acked := load.acknowledged()
	if len(acked) < rounds*len(victims) {
		t.Errorf("only %d messages were acknowledged", len(acked))
	}
	found := map[string]int{}
	s.Eventually("everything acknowledged arrived", func() bool {
		found = bodies(t, s.Env["PEYK_MAILDIR2"])
		for id := range acked {
			if found[id] == 0 {
				return false
			}
		}
		return true
	})
	extra := 0
	for id, n := range found {
		if acked[id] {
			extra += n - 1
		}
	}
	t.Logf("%d kills: %d acknowledged, 0 lost, %d extra copies", rounds*len(victims), len(acked), extra)
	if extra > rounds*len(victims) {
		t.Errorf("%d extra copies for %d kills", extra, rounds*len(victims))
	}
}

// load sends messages without pause and remembers which were acknowledged.
type load struct {
	s    *sandbox.Sandbox
	stop chan struct{}
	wait sync.WaitGroup

	mu    sync.Mutex
	acked map[string]bool
}

func newLoad(s *sandbox.Sandbox) *load {
	return &load{s: s, stop: make(chan struct{}), acked: map[string]bool{}}
}

func (l *load) run(sender int) {
	r := rand.New(rand.NewPCG(7, uint64(sender)))
	var conn *line
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		default:
		}
		if conn == nil {
			conn, _ = hello(l.s.Env["PEYK_SMTP"])
			if conn == nil {
				time.Sleep(5 * time.Millisecond)
				continue
			}
		}
		id := fmt.Sprintf("load-%d-%d", sender, n)
		if _, err := conn.send("load@example.net", l.s.Env["PEYK_USER2"], l.message(id, r), 0); err != nil {
			conn.Close()
			conn = nil
			continue
		}
		l.mu.Lock()
		l.acked[id] = true
		l.mu.Unlock()
	}
}

// message makes a message that shows its own truncation.
func (l *load) message(id string, r *rand.Rand) []byte {
	filler := bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef\r\n"), 1+r.IntN(200))
	return fmt.Appendf(nil, "Subject: %s\r\n\r\n%send %s %d\r\n", id, filler, id, len(filler))
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// settle waits until n more messages were acknowledged.
func (l *load) settle(n int) {
	start := l.count()
	l.s.Eventually("mail goes on", func() bool { return l.count() >= start+n })
}

func (l *load) acknowledged() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

var whole = regexp.MustCompile(`(?s)Subject: (load-\d+-\d+)\n\n(.*)end (load-\d+-\d+) (\d+)\n$`)

// bodies counts the whole messages in a Maildir by their id. A message that
// is there but not whole fails the test.
func bodies(t *testing.T, maildir string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, path := range sandbox.Mail(maildir) {
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue // moved from new/ to cur/ meanwhile; the next look finds it
		}
		if err != nil {
			t.Fatal(err)
		}
		m := whole.FindSubmatch(b)
		if m == nil || !bytes.Equal(m[1], m[3]) || fmt.Sprint(len(m[2])+bytes.Count(m[2], []byte("\n"))) != string(m[4]) {
			t.Fatalf("%s is not whole: %.300q", path, b)
		}
		found[string(m[1])]++
	}
	return found
}
