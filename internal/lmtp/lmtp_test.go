package lmtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"peyk/internal/envelope"
	"peyk/internal/status"
)

// memory is a Backend that keeps what it gets.
type memory struct {
	mu       sync.Mutex
	got      []received
	rcptErr  map[string]error
	finalErr map[string]error
	mailErr  error
	noRead   bool          // answers without reading the message
	hold     chan struct{} // keeps the message for a@x.test until it is closed
	begun    chan struct{} // closed when that message has come to the handler
}

type received struct {
	mail    Mail
	rcpts   []envelope.Recipient
	message string
	size    int64
	err     error
}

func (m *memory) Begin(_ context.Context, mail *Mail) (Handler, error) {
	if m.mailErr != nil {
		return nil, m.mailErr
	}
	return &memoryHandler{m: m, r: received{mail: *mail}}, nil
}

func (m *memory) all() []received {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.got
}

type memoryHandler struct {
	m *memory
	r received
}

func (h *memoryHandler) Rcpt(_ context.Context, r envelope.Recipient) error {
	if err := h.m.rcptErr[r.Address]; err != nil {
		return err
	}
	h.r.rcpts = append(h.r.rcpts, r)
	return nil
}

func (h *memoryHandler) Data(_ context.Context, message io.Reader, size int64) []Outcome {
	if h.m.hold != nil && h.r.rcpts[0].Address == "a@x.test" {
		close(h.m.begun)
		<-h.m.hold
	}
	if !h.m.noRead {
		b, err := io.ReadAll(message)
		h.r.message, h.r.err = string(b), err
	}
	h.r.size = size
	h.m.mu.Lock()
	h.m.got = append(h.m.got, h.r)
	h.m.mu.Unlock()
	var out []Outcome
	for _, r := range h.r.rcpts {
		out = append(out, Outcome{Err: h.m.finalErr[r.Address]})
	}
	return out
}

func (h *memoryHandler) End() {}

// serve starts a server on a Unix socket and returns its path.
func serve(t testing.TB, b Backend, o Options) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lmtp") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, b, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		os.RemoveAll(dir)
	})
	return path
}

func dial(t testing.TB, path string) *Client {
	t.Helper()
	c, err := Dial(context.Background(), "unix", path, "client.test", Timeouts{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func transaction(message string, rcpts ...string) *Transaction {
	t := &Transaction{QueueID: "0QID+1", Sender: "a@example.net", Size: int64(len(message)), Message: strings.NewReader(message)}
	for _, r := range rcpts {
		t.Recipients = append(t.Recipients, envelope.Recipient{Address: r})
	}
	return t
}

const hello = "Subject: x\r\n\r\n.dot\r\n..\r\nbody\r\n"

func TestTheClientAndTheServerAgree(t *testing.T) {
	m := &memory{
		rcptErr:  map[string]error{"no@x.test": status.New(550, "5.1.1", "no such user")},
		finalErr: map[string]error{"full@x.test": status.New(452, "4.2.2", "mailbox is full"), "odd@x.test": errors.New("secret")},
	}
	c := dial(t, serve(t, m, Options{Hostname: "here.test"}))
	tr := transaction(hello, "a@x.test", "no@x.test", "full@x.test", "odd@x.test", "b@x.test")
	tr.EnvID, tr.Ret, tr.Body, tr.SMTPUTF8 = "e+1 =", "HDRS", "8BITMIME", true
	tr.Recipients[0].Notify = []string{"SUCCESS", "DELAY"}
	tr.Recipients[0].ORcpt = "rfc822;o+x@x.test"
	got, err := c.Deliver(context.Background(), tr)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"250 2.0.0 <a@x.test> delivered", "550 5.1.1 <no@x.test> no such user", "452 4.2.2 <full@x.test> mailbox is full",
		"451 4.3.0 <odd@x.test> cannot do this now, try again later", "250 2.0.0 <b@x.test> delivered"}
	for i, w := range want {
		if got[i].Reply != w || (got[i].Err == nil) != strings.HasPrefix(w, "250") {
			t.Errorf("result %d = %q (%v), want %q", i, got[i].Reply, got[i].Err, w)
		}
	}
	r := m.all()[0]
	if r.message != hello || r.size != int64(len(hello)) {
		t.Errorf("message %q, size %d", r.message, r.size)
	}
	if r.mail.Ident != "0QID+1" || r.mail.EnvID != "e+1 =" || r.mail.Ret != "HDRS" || !r.mail.SMTPUTF8 || r.mail.Body != "8BITMIME" {
		t.Errorf("mail %+v", r.mail)
	}
	if fmt.Sprint(r.rcpts[0]) != "{a@x.test [SUCCESS DELAY] rfc822;o+x@x.test}" {
		t.Errorf("recipient %v", r.rcpts[0])
	}
}

func TestAConnectionCarriesManyMessages(t *testing.T) {
	m := &memory{rcptErr: map[string]error{"no@x.test": status.New(550, "5.1.1", "no such user")}}
	c := dial(t, serve(t, m, Options{MaxSize: 1 << 20}))
	big := strings.Repeat(strings.Repeat("x", 998)+"\r\n", 500)
	for i, tr := range []*Transaction{
		transaction(hello, "a@x.test"), transaction(hello, "no@x.test"), transaction(big, "a@x.test"), transaction(big, "no@x.test"),
		transaction(hello, "no@x.test", "b@x.test"), transaction("", "a@x.test"), transaction(strings.Repeat(big, 3), "a@x.test"), transaction(hello, "a@x.test"),
	} {
		got, err := c.Deliver(context.Background(), tr)
		if err != nil {
			t.Fatalf("transaction %d: %v", i, err)
		}
		for k, r := range tr.Recipients {
			bad := strings.HasPrefix(r.Address, "no") || i == 6
			if (got[k].Err != nil) != bad {
				t.Errorf("transaction %d: %s got %v", i, r.Address, got[k])
			}
		}
		if i == 3 {
			if err := c.Reset(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(m.all()); n != 5 {
		t.Errorf("%d messages arrived, want 5", n)
	}
}

func TestAMessageOfUnknownSizeGoesInChunks(t *testing.T) {
	m := &memory{}
	c := dial(t, serve(t, m, Options{}))
	big := strings.Repeat("line of the message\r\n", 10000)
	tr := transaction(big, "a@x.test", "b@x.test")
	tr.Size = 0
	got, err := c.Deliver(context.Background(), tr)
	if err != nil || got[1].Err != nil {
		t.Fatal(got, err)
	}
	if r := m.all()[0]; r.message != big || r.size != -1 {
		t.Errorf("%d octets, size %d", len(r.message), r.size)
	}
}

func TestDrainEndsIdleConnectionsAndFinishesMessages(t *testing.T) {
	m := &memory{hold: make(chan struct{}), begun: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, m, Options{Drain: time.Minute}) }()
	idle, err := Dial(context.Background(), "tcp", l.Addr().String(), "c", Timeouts{})
	if err != nil {
		t.Fatal(err)
	}
	busy, err := Dial(context.Background(), "tcp", l.Addr().String(), "c", Timeouts{})
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan []Result, 1)
	go func() {
		r, _ := busy.Deliver(context.Background(), transaction(hello, "a@x.test"))
		result <- r
	}()
	<-m.begun
	cancel()
	var r []Result
	for err = nil; err == nil; { // until the drain has reached this connection
		r, err = idle.Deliver(context.Background(), transaction(hello, "b@x.test"))
	}
	if !r[0].Err.Temporary() {
		t.Errorf("idle client got %v, %v", r, err)
	}
	close(m.hold)
	if r := <-result; r[0].Err != nil {
		t.Errorf("message under way: %v", r[0].Err)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
