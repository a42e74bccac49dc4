package queuerun

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
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
