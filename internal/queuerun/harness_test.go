package queuerun

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"peyk/internal/commit"
	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/spool"
	"peyk/internal/status"
)

// hops is a Router that is a map; other addresses are remote, by domain.
type hops map[string][]Hop

func (h hops) Route(recipient string) ([]Hop, error) {
	if list, ok := h[recipient]; ok {
		return list, nil
	}
	_, domain, _ := strings.Cut(recipient, "@")
	if domain == "here.test" {
		return []Hop{{Address: recipient, Local: true}}, nil
	}
	return []Hop{{Address: recipient, Destination: domain}}, nil
}

// server is a fake LMTP server: it remembers who got what.
type server struct {
	mu     sync.Mutex
	got    map[string][]string // recipient → bodies
	order  []string
	tried  map[string]int
	busy   int
	peak   int
	dials  int
	answer func(rcpt string, n int) *status.Error // n counts from 1; nil = success
	hang   func(ctx context.Context, t *lmtp.Transaction)
	broken func(n int) bool // n-th transaction breaks the connection
	down   bool
	n      int
	again  []bool // by transaction: whether it may have been made before
}

func newServer() *server {
	return &server{got: make(map[string][]string), tried: make(map[string]int), answer: func(string, int) *status.Error { return nil }}
}

func (s *server) dial(context.Context) (Carrier, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("connection refused")
	}
	s.dials++
	return (*serverConn)(s), nil
}

type serverConn server

func (s *serverConn) Close() error { return nil }

func (s *serverConn) Deliver(ctx context.Context, t *lmtp.Transaction) ([]lmtp.Result, error) {
	s.mu.Lock()
	s.busy++
	s.peak = max(s.peak, s.busy)
	s.n++
	s.again = append(s.again, t.Again)
	broken := s.broken != nil && s.broken(s.n)
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.busy--; s.mu.Unlock() }()
	if s.hang != nil {
		s.hang(ctx, t)
	}
	results := make([]lmtp.Result, len(t.Recipients))
	body, err := io.ReadAll(t.Message)
	if err != nil || broken || ctx.Err() != nil {
		for i := range results {
			results[i].Err = status.New(451, "4.4.2", "connection lost")
		}
		return results, errors.New("broken")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range t.Recipients {
		s.tried[r.Address]++
		e := s.answer(r.Address, s.tried[r.Address])
		if e != nil {
			results[i] = lmtp.Result{Err: e, Reply: e.Reply()}
			continue
		}
		results[i].Reply = "250 2.0.0 delivered"
		s.got[r.Address] = append(s.got[r.Address], string(body))
		s.order = append(s.order, r.Address)
	}
	return results, nil
}

func (s *server) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *server) count(rcpt string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got[rcpt])
}

// bench is a queue under test.
type bench struct {
	t             *testing.T
	dir           string
	disk          *commit.Disk
	queue         *spool.Queue
	local, remote *server
	router        Router
	settings      Settings
	log           bytes.Buffer
	r             *Runner
	stop          context.CancelFunc
	done          chan error
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), disk: new(commit.Disk), local: newServer(), remote: newServer(), router: hops{}}
	b.queue = spool.OpenQueue(b.dir, b.disk)
	if err := b.queue.Make(); err != nil {
		t.Fatal(err)
	}
	b.settings = Settings{Hostname: "mx.here.test", Retry: []time.Duration{5 * time.Minute, 10 * time.Minute, time.Hour}, Lifetime: 24 * time.Hour,
		DelayWarning: 4 * time.Hour, Poll: time.Minute, LocalConcurrency: 50, RemoteConcurrency: 200, DestinationConcurrency: 20}
	return b
}

func (b *bench) start() {
	b.t.Helper()
	var ctx context.Context
	ready := make(chan struct{})
	ctx, b.stop = context.WithCancel(context.Background())
	b.r = New(Options{Queue: b.queue, Log: eventlog.New(&b.log, "queue-run", eventlog.Logfmt, time.Now), Now: time.Now, Rand: rand.Reader,
		Router: b.router, Local: b.local.dial, Remote: b.remote.dial, Settings: b.settings, Watch: noWatch,
		Ready: func() error { close(ready); return nil }})
	b.done = make(chan error, 1)
	go func() { b.done <- b.r.Serve(ctx) }()
	<-ready
}

// noWatch is a watch that sees nothing: inside synctest nothing may wait for
// the kernel. Tests call look.
func noWatch(ctx context.Context, _ string, ready func(), _ func([]string)) error {
	ready()
	<-ctx.Done()
	return nil
}

func (b *bench) finish() {
	b.t.Helper()
	b.stop()
	if err := <-b.done; err != nil {
		b.t.Errorf("Serve: %v", err)
	}
}

func mail(sender string, to ...string) *envelope.Envelope {
	e := &envelope.Envelope{Sender: sender}
	for _, a := range to {
		e.Recipients = append(e.Recipients, envelope.Recipient{Address: a})
	}
	return e
}

const text = "Subject: hello\r\nMessage-ID: <1@there.test>\r\n\r\nhow are you\r\n"

func (b *bench) put(e *envelope.Envelope) string {
	b.t.Helper()
	id, err := spool.NewID(time.Now(), rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	e.ID = id
	w, err := b.queue.Drop().Create(e)
	if err != nil {
		b.t.Fatal(err)
	}
	io.WriteString(w, text)
	if err := w.Commit(); err != nil {
		b.t.Fatal(err)
	}
	return id
}

func (b *bench) send(e *envelope.Envelope) string {
	id := b.put(e)
	b.r.look()
	return id
}

// settled waits until nothing more happens at this instant.
func (b *bench) settled() {
	synctest.Wait()
	b.r.look() // reports
	synctest.Wait()
}

func (b *bench) files(place string) []string {
	entries, err := os.ReadDir(filepath.Join(b.dir, place))
	if err != nil {
		b.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

func (b *bench) empty(places ...string) {
	b.t.Helper()
	for _, p := range places {
		if f := b.files(p); len(f) > 0 {
			b.t.Errorf("%s holds %q", p, f)
		}
	}
}

func (b *bench) sawEvent(want ...string) {
	b.t.Helper()
	for line := range strings.SplitSeq(b.log.String(), "\n") {
		if !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(line, w) }) {
			return
		}
	}
	b.t.Errorf("no log line with %q in\n%s", want, b.log.String())
}

// reports returns the bodies that a sender got.
func (b *bench) reports(sender string) []string {
	b.remote.mu.Lock()
	defer b.remote.mu.Unlock()
	return slices.Clone(b.remote.got[sender])
}

func refuse(code int, enhanced, text string) *status.Error { return status.New(code, enhanced, text) }

func perRcpt(answers map[string]*status.Error) func(string, int) *status.Error {
	return func(rcpt string, _ int) *status.Error { return answers[rcpt] }
}

type commitStep = commit.Step

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
