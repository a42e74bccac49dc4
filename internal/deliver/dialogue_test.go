package deliver

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"peyk/internal/control"
	"peyk/internal/dialog"
	"peyk/internal/envelope"
	"peyk/internal/lmtp"
)

// The people of the dialogues: alice, bob, carol; full, whose mailbox never
// has room for more than its trace fields; small, whose has room for one
// empty message; broken, whose .forward file is; suspended and mute, who take no
// mail.
func TestDialogues(t *testing.T) {
	dialog.RunDir(t, "../../test/e2e/deliver", func(t *testing.T, settings map[string]string) dialog.Dialer {
		h := newHouse(t, "alice", "bob", "carol", "full", "small", "broken", "suspended", "mute")
		h.users.quota["full"] = "*:bytes=10"
		h.users.quota["small"] = "*:bytes=70"
		h.forward("broken", "bob@x.test, :nonsense:\n")
		o := lmtp.Options{Hostname: "here.test", Again: true}
		limits(t, &o, settings)
		c, err := control.Load(t.TempDir(), control.Of("deliver"), settings)
		if err != nil {
			t.Fatal(err)
		}
		h.agent.SetPolicy(policyOf(c))
		o.MaxSize = c.Size(control.MessageSize)
		path := listen(t, h.agent, o)
		return func(string) (net.Conn, error) { return net.Dial("unix", path) }
	})
}

// limits takes the limits that no control sets, and removes them.
func limits(t *testing.T, o *lmtp.Options, settings map[string]string) {
	numbers := map[string]*int{"test-recipients": &o.MaxRecipients, "test-errors": &o.MaxErrors}
	times := map[string]*time.Duration{"test-command-time": &o.Command, "test-idle-time": &o.Idle, "test-data-time": &o.Data}
	for name, value := range settings {
		var err error
		switch {
		case numbers[name] != nil:
			*numbers[name], err = strconv.Atoi(value)
		case times[name] != nil:
			*times[name], err = time.ParseDuration(value)
		default:
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		delete(settings, name)
	}
}

// listen serves the agent on a Unix socket and returns its path.
func listen(t testing.TB, agent *Agent, o lmtp.Options) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "deliver") // t.TempDir can be too long for a socket
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
	go func() { done <- lmtp.Serve(ctx, l, agent, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		os.RemoveAll(dir)
	})
	return path
}

// The whole way of a local message but for the queue: LMTP client, server,
// durable Maildir delivery.
func BenchmarkDelivery(b *testing.B) {
	for _, clients := range []int{1, 10, 50} {
		b.Run(strconv.Itoa(clients), func(b *testing.B) { benchmarkDelivery(b, clients) })
	}
}

func benchmarkDelivery(b *testing.B, clients int) {
	h := newHouse(b, "alice", "bob")
	path := listen(b, h.agent, lmtp.Options{})
	message := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 226)
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for i := range clients {
		wg.Go(func() {
			c, err := lmtp.Dial(context.Background(), "unix", path, "b", lmtp.Timeouts{})
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			to := envelope.Recipient{Address: []string{"alice@x.test", "bob@x.test"}[i%2]}
			for left.Add(-1) >= 0 {
				got, err := c.Deliver(context.Background(), &lmtp.Transaction{QueueID: "Q", Sender: "s@far.test",
					Recipients: []envelope.Recipient{to}, Size: int64(len(message)), Message: strings.NewReader(message)})
				if err != nil || got[0].Err != nil {
					b.Error(got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
