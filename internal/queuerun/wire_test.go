package queuerun

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/spool"
)

// mailboxes is an LMTP backend that counts.
type mailboxes struct {
	n     atomic.Int64
	every func(n int64)
}

func (m *mailboxes) Begin(context.Context, *lmtp.Mail) (lmtp.Handler, error) {
	return &box{m: m}, nil
}

type box struct {
	m     *mailboxes
	rcpts int
}

func (b *box) Rcpt(context.Context, envelope.Recipient) error { b.rcpts++; return nil }
func (b *box) End()                                           {}
func (b *box) Data(_ context.Context, r io.Reader, _ int64) []lmtp.Outcome {
	io.Copy(io.Discard, r)
	n := b.m.n.Add(int64(b.rcpts))
	if b.m.every != nil {
		b.m.every(n)
	}
	return make([]lmtp.Outcome, b.rcpts)
}

// serve starts a real LMTP server on a Unix socket.
func serve(tb testing.TB, m *mailboxes) Dialer {
	dir, err := os.MkdirTemp("", "lmtp")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { lmtp.Serve(ctx, l, m, lmtp.Options{}); close(done) }()
	tb.Cleanup(func() { cancel(); <-done })
	return func(ctx context.Context) (Carrier, error) {
		return lmtp.Dial(ctx, "unix", socket, "here.test", lmtp.Timeouts{})
	}
}

// onWire runs a queue with inotify and real LMTP.
func onWire(tb testing.TB, m *mailboxes) *spool.Queue {
	q := spool.OpenQueue(tb.TempDir(), new(commit.Disk))
	if err := q.Make(); err != nil {
		tb.Fatal(err)
	}
	dial := serve(tb, m)
	ready := make(chan struct{})
	r := New(Options{Queue: q, Log: eventlog.New(io.Discard, "queue-run", eventlog.Logfmt, time.Now), Now: time.Now, Rand: rand.Reader, Router: hops{}, Local: dial, Remote: dial,
		Ready: func() error { close(ready); return nil },
		Settings: Settings{Hostname: "here.test", Retry: []time.Duration{time.Minute}, Lifetime: time.Hour, Poll: time.Hour,
			LocalConcurrency: 50, RemoteConcurrency: 50, DestinationConcurrency: 20}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Serve(ctx) }()
	<-ready
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return q
}

func drop(tb testing.TB, d *spool.Drop, message []byte) {
	id, err := spool.NewID(time.Now(), rand.Reader)
	if err != nil {
		tb.Error(err)
		return
	}
	w, err := d.Create(&envelope.Envelope{ID: id, Sender: "a@there.test", Recipients: []envelope.Recipient{{Address: "bob@here.test"}}})
	if err != nil {
		tb.Error(err)
		return
	}
	w.Write(message)
	if err := w.Commit(); err != nil {
		tb.Error(err)
	}
}

// What comes into the drop is seen at once, in bursts too, and goes out over a
// real connection.
func TestBurstThroughTheWatch(t *testing.T) {
	const want = 500
	all := make(chan struct{})
	m := &mailboxes{every: func(n int64) {
		if n == want {
			close(all)
		}
	}}
	q := onWire(t, m)
	d := q.Drop()
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for range want / 10 {
				drop(t, d, []byte(text))
			}
		})
	}
	wg.Wait()
	<-all
}

// BenchmarkHotPath measures drop → queue-run → LMTP → done, with 1, 10 and 50
// writers that wait for their message to be delivered.
func BenchmarkHotPath(b *testing.B) {
	message := make([]byte, 4096)
	for i := range message {
		message[i] = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz\r\n"[i%74]
	}
	for _, writers := range []int{1, 10, 50} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			m := new(mailboxes)
			q := onWire(b, m)
			d := q.Drop()
			var next atomic.Int64
			all := make(chan struct{})
			m.every = func(n int64) {
				if n == int64(b.N) {
					close(all)
				}
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						drop(b, d, message)
					}
				})
			}
			wg.Wait()
			<-all
		})
	}
}

// BenchmarkBigQueue starts with 100,000 messages that wait, each with its
// journal, and measures the time until all are known, what they cost in
// memory, and how long a new message takes meanwhile.
func BenchmarkBigQueue(b *testing.B) {
	const waiting = 100000
	q := spool.OpenQueue(b.TempDir(), new(commit.Disk))
	if err := q.Make(); err != nil {
		b.Fatal(err)
	}
	fill(b, q, waiting)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		seen := make(chan struct{}, 1)
		dial := serve(b, &mailboxes{every: func(int64) { seen <- struct{}{} }})
		ready := make(chan struct{})
		r := New(Options{Queue: q, Log: nil, Now: time.Now, Rand: rand.Reader, Router: hops{}, Local: dial, Remote: dial,
			Ready: func() error { close(ready); return nil },
			Settings: Settings{Hostname: "here.test", Retry: []time.Duration{24 * time.Hour}, Lifetime: 100 * time.Hour, Poll: time.Hour,
				LocalConcurrency: 50, RemoteConcurrency: 50, DestinationConcurrency: 20}})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		start := time.Now()
		go func() { done <- r.Serve(ctx) }()
		<-ready
		readied := time.Since(start)
		drop(b, q.Drop(), []byte(text))
		<-seen
		first := time.Since(start)
		for known := 0; known < waiting; {
			time.Sleep(time.Millisecond)
			r.mu.Lock()
			known = len(r.known)
			r.mu.Unlock()
		}
		loaded := time.Since(start)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(readied.Seconds(), "s/ready")
		b.ReportMetric(first.Seconds(), "s/first")
		b.ReportMetric(loaded.Seconds(), "s/loaded")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB/heap")
		cancel()
		<-done
	}
}

// fill puts messages into the queue whose time comes in hours.
func fill(b *testing.B, q *spool.Queue, n int) {
	e := &envelope.Envelope{Sender: "a@there.test", Recipients: []envelope.Recipient{{Address: "x@far.test"}}}
	next := time.Now().Add(10 * time.Hour)
	for range n {
		e.ID, _ = spool.NewID(time.Now(), rand.Reader)
		e.Size = int64(len(text))
		e.Sum = crc32.ChecksumIEEE([]byte(text))
		if err := os.WriteFile(filepath.Join(q.Dir(), "queue", e.ID), append(e.Append(nil), text...), 0o640); err != nil {
			b.Fatal(err)
		}
		line := spool.AppendRecord(nil, &spool.Record{Time: time.Now(), Action: spool.Delayed, Status: "4.4.1", Original: "x@far.test", Final: "x@far.test", Next: next, Reply: "450 4.4.1 no answer"})
		if err := os.WriteFile(filepath.Join(q.Dir(), "queue", e.ID+".log"), line, 0o600); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFlood makes 100,000 messages for one destination due at once.
func BenchmarkFlood(b *testing.B) {
	const waiting = 100000
	for b.Loop() {
		q := spool.OpenQueue(b.TempDir(), new(commit.Disk))
		if err := q.Make(); err != nil {
			b.Fatal(err)
		}
		fill(b, q, waiting)
		all := make(chan struct{})
		var peak uint64
		dial := serve(b, &mailboxes{every: func(n int64) {
			if n%1000 == 0 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapInuse)
			}
			if n == waiting {
				close(all)
			}
		}})
		r := New(Options{Queue: q, Now: time.Now, Rand: rand.Reader, Router: hops{}, Local: dial, Remote: dial,
			Settings: Settings{Hostname: "here.test", Retry: []time.Duration{24 * time.Hour}, Lifetime: 100 * time.Hour, Poll: time.Hour,
				LocalConcurrency: 50, RemoteConcurrency: 50, DestinationConcurrency: 20}})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- r.Serve(ctx) }()
		for known := 0; known < waiting; {
			time.Sleep(time.Millisecond)
			r.mu.Lock()
			known = len(r.known)
			r.mu.Unlock()
		}
		start := time.Now()
		if err := q.Drop().Flush(); err != nil {
			b.Fatal(err)
		}
		<-all
		b.ReportMetric(time.Since(start).Seconds(), "s/flood")
		b.ReportMetric(float64(peak)/1e6, "MB/peak")
		cancel()
		<-done
	}
}
