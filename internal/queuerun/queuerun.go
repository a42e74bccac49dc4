// Package queuerun owns the queue: it takes messages from the drop, finds out
// where each recipient goes, hands messages over by LMTP (RFC 2033), tries
// again what could not be done, and tells senders (RFC 3461).
//
// It knows only scheduling. Whether a recipient's mailbox is full or a foreign
// host slow is the business of the two LMTP servers behind it.
//
// # How it is built
//
// A message that has nothing to do is an entry: its id and the time of its
// next attempt. When that comes, run opens it, routes its recipients and
// makes one job for each destination. A job waits in the lane of its
// destination; lanes share the slots of their class, local or remote, in turn.
// When the last job of a message is done, settle writes down what is left.
package queuerun

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/spool"
)

// Router says where a recipient of an envelope goes now.
type Router interface {
	// Route returns the addresses that stand for recipient (wire form), and
	// where each goes. None at all means that there is no such user. An error
	// with a permanent status is a failure of the recipient.
	Route(recipient string) ([]Hop, error)
}

// Hop is one address that a recipient stands for.
type Hop struct {
	Address     string // wire form
	Local       bool   // goes to the local mailboxes
	Destination string // what remote mail is grouped and limited by
}

// Carrier is a connection to an LMTP server; *lmtp.Client is one.
type Carrier interface {
	Deliver(ctx context.Context, t *lmtp.Transaction) ([]lmtp.Result, error)
	Close() error
}

// Dialer makes a Carrier.
type Dialer func(ctx context.Context) (Carrier, error)

// Settings can change while queue-run runs.
type Settings struct {
	Hostname               string
	Retry                  []time.Duration // at least one
	Lifetime               time.Duration
	DelayWarning           time.Duration // 0 = never
	Poll                   time.Duration
	LocalConcurrency       int
	RemoteConcurrency      int
	DestinationConcurrency int
}

// Options are what a Runner needs.
type Options struct {
	Queue    *spool.Queue
	Log      *eventlog.Log
	Now      func() time.Time
	Rand     io.Reader
	Router   Router
	Local    Dialer
	Remote   Dialer
	Settings Settings
	// Watch calls changed with the names of files that come into dir, or with
	// nil when it cannot name them, until ctx ends. ready is called once it
	// sees everything. nil is inotify.
	Watch func(ctx context.Context, dir string, ready func(), changed func(names []string)) error
	// Ready, if set, is called once the queue is locked, repaired and watched.
	Ready func() error
}

const (
	maxOpening   = 64    // messages that are opened and routed at one time: each has a file and a buffer
	maxActive    = 10000 // messages in memory; beyond it those that wait stay on disk
	drainTime    = 8 * time.Second
	sweepEvery   = time.Hour
	storeAgain   = 10 * time.Second // after failures to write to the queue, at most
	busyAgain    = time.Second      // after mailctl held the message
	troubleAgain = time.Minute      // after failures to read a message or to write a report, at most
)

// Runner is the scheduler of one queue.
type Runner struct {
	o     Options
	queue *spool.Queue
	drop  *spool.Drop
	log   *eventlog.Log
	start time.Time // with its monotonic reading

	jobs    context.Context // of deliveries; ends drainTime after Serve's
	wg      sync.WaitGroup  // messages being worked on
	wake    chan struct{}   // schedule looks again
	random  *rand.Rand      // guarded by mu
	opening chan struct{}   // a place for each message that is being opened and routed

	mu       sync.Mutex
	settings Settings
	known    map[string]*entry // every message of the queue
	waiting  schedule          // those of them that have a time
	active   int               // those of them that are in memory
	stopped  bool
	local    *class
	remote   *class
}

// New returns a Runner. Nothing happens before Serve.
func New(o Options) *Runner {
	r := &Runner{o: o, queue: o.Queue, drop: o.Queue.Drop(), log: o.Log, start: o.Now(), settings: o.Settings,
		known: make(map[string]*entry), wake: make(chan struct{}, 1), opening: make(chan struct{}, maxOpening)}
	var seed [32]byte
	io.ReadFull(o.Rand, seed[:]) // it only spreads retries: any seed will do
	r.random = rand.New(rand.NewChaCha8(seed))
	r.local = newClass("local", o.Local, o.Settings.LocalConcurrency)
	r.remote = newClass("remote", o.Remote, o.Settings.RemoteConcurrency)
	if o.Watch == nil {
		r.o.Watch = watch
	}
	return r
}

// Configure puts new settings and a new router in force for attempts that
// begin from now on.
func (r *Runner) Configure(s Settings) {
	r.mu.Lock()
	r.settings = s
	r.local.limit, r.remote.limit = s.LocalConcurrency, s.RemoteConcurrency
	r.mu.Unlock()
	r.poke()
}

// Serve runs the queue until ctx ends, and then until the deliveries under way
// have ended, or were broken off after eight seconds. Nothing is lost when the
// process is killed instead.
func (r *Runner) Serve(ctx context.Context) error {
	lock, err := r.open()
	if err != nil {
		return err
	}
	defer lock.Close()
	ids, err := r.queue.Repair(func(name, did string) { r.log.Event(eventlog.Repaired, "file", name, "did", did) })
	if err != nil {
		return err
	}
	var cancel context.CancelFunc
	r.jobs, cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var tasks sync.WaitGroup
	ready := make(chan struct{})
	tasks.Go(func() { r.watchDrop(ctx, stop, ready) })
	select {
	case <-ready:
	case <-ctx.Done():
	}
	if r.o.Ready != nil && ctx.Err() == nil {
		if err := r.o.Ready(); err != nil {
			stop(err)
		}
	}
	tasks.Go(func() { r.readOld(ctx, ids) })
	r.schedule(ctx)
	tasks.Wait()
	r.drain(cancel)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (r *Runner) open() (io.Closer, error) {
	if err := r.queue.Make(); err != nil {
		return nil, err
	}
	return r.queue.Lock()
}

// drain waits for the deliveries under way.
func (r *Runner) drain(cancel context.CancelFunc) {
	r.mu.Lock()
	r.stopped = true
	r.local.abandon(r)
	r.remote.abandon(r)
	r.mu.Unlock()
	done := make(chan struct{})
	go func() { r.wg.Wait(); close(done) }()
	t := time.NewTimer(drainTime)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		cancel()
		<-done
	}
	r.local.pool.closeAll()
	r.remote.pool.closeAll()
}

// now is the time by which messages grow old: the clock as it was at the
// start, moved on by the monotonic clock. A clock that jumps forward must not
// return the whole queue to its senders.
func (r *Runner) now() time.Time { return r.start.Add(r.o.Now().Sub(r.start)) }

// stamp is the time for the journal and for people.
func (r *Runner) stamp() time.Time { return r.o.Now().Round(0).UTC().Truncate(time.Second) }

// poke makes schedule look again.
func (r *Runner) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
