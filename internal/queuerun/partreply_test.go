package queuerun

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/spool"
)

// A fragile LMTP server stores for each recipient in turn and replies; the
// first time it dies after so many replies, when it has stored for one more.
type fragile struct {
	replies int

	mu     sync.Mutex
	copies map[string]int
	tried  [][]string // recipients of each transaction
	all    chan struct{}
}

func (f *fragile) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		f.session(conn)
		conn.Close()
	}
}

func (f *fragile) session(conn net.Conn) {
	in := bufio.NewReader(conn)
	io.WriteString(conn, "220 here\r\n")
	var rcpts []string
	for {
		s, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(s), ":")
		switch verb {
		case "RCPT TO":
			rcpts = append(rcpts, rest)
			io.WriteString(conn, "250 ok\r\n")
		case "DATA":
			io.WriteString(conn, "354 go on\r\n")
			for s != ".\r\n" {
				if s, err = in.ReadString('\n'); err != nil {
					return
				}
			}
			if !f.store(conn, rcpts) {
				return
			}
			rcpts = nil
		case "QUIT":
			io.WriteString(conn, "221 bye\r\n")
			return
		default:
			io.WriteString(conn, "250 ok\r\n")
		}
	}
}

// store reports whether the server lives on.
func (f *fragile) store(conn net.Conn, rcpts []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried = append(f.tried, rcpts)
	for i, rcpt := range rcpts {
		f.copies[rcpt]++
		if len(f.tried) == 1 && i == f.replies {
			return false
		}
		fmt.Fprintf(conn, "250 2.1.5 %s stored\r\n", rcpt)
	}
	if len(f.tried) == 2 {
		close(f.all)
	}
	return true
}

// deliver dies after it has replied for some of the recipients: those are
// done, the others are tried again, nobody loses the message, and only the one
// who was being served then can have it twice.
func TestOnlyTheUnansweredAreTriedAgain(t *testing.T) {
	const n = 5
	for replies := range n {
		f := &fragile{replies: replies, copies: map[string]int{}, all: make(chan struct{})}
		var rcpts []string
		for i := range n {
			rcpts = append(rcpts, fmt.Sprintf("r%d@here.test", i))
		}
		f.run(t, rcpts)
		if len(f.tried) != 2 || len(f.tried[0]) != n {
			t.Fatalf("after %d replies: transactions %q", replies, f.tried)
		}
		again := slices.Clone(f.tried[1])
		slices.Sort(again)
		want := slices.Clone(f.tried[0][replies:])
		slices.Sort(want)
		if !slices.Equal(again, want) {
			t.Errorf("after %d replies: tried again %q, want %q", replies, again, want)
		}
		for i, rcpt := range f.tried[0] {
			if got := f.copies[rcpt]; got != 1 && (got != 2 || i != replies) {
				t.Errorf("after %d replies: %s has %d copies", replies, rcpt, got)
			}
		}
	}
}

// run brings one message to all recipients and ends when it is done.
func (f *fragile) run(t *testing.T, rcpts []string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go f.serve(l)
	q := spool.OpenQueue(t.TempDir(), new(commit.Disk))
	if err := q.Make(); err != nil {
		t.Fatal(err)
	}
	dial := func(ctx context.Context) (Carrier, error) {
		return lmtp.Dial(ctx, "unix", socket, "here.test", lmtp.Timeouts{})
	}
	ready := make(chan struct{})
	r := New(Options{Queue: q, Log: eventlog.New(io.Discard, "queue-run", eventlog.Logfmt, time.Now), Now: time.Now, Rand: rand.Reader, Router: hops{},
		Local: dial, Remote: func(context.Context) (Carrier, error) { return nil, errors.New("nobody is remote") },
		Ready: func() error { close(ready); return nil },
		Settings: Settings{Hostname: "here.test", Retry: []time.Duration{time.Millisecond}, Lifetime: time.Hour, Poll: time.Hour,
			LocalConcurrency: 1, RemoteConcurrency: 1, DestinationConcurrency: 1}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- r.Serve(ctx) }()
	<-ready
	id, err := spool.NewID(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e := &envelope.Envelope{ID: id, Sender: "a@there.test"}
	for _, rcpt := range rcpts {
		e.Recipients = append(e.Recipients, envelope.Recipient{Address: rcpt})
	}
	w, err := q.Drop().Create(e)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	<-f.all
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
