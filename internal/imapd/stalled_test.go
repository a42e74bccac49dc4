package imapd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
)

// small makes the buffers of a socket small, so that who does not read is soon
// felt.
func small(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 4096)
	})
}

// listenNarrow adds a service with small buffers whose sessions begin logged
// in as alice.
func (ts *testServer) listenNarrow(t *testing.T, g guardconn.Options) (stop func()) {
	t.Helper()
	lc := net.ListenConfig{Control: small}
	inner, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := ts.options
	o.Preauth = filepath.Join(ts.dir, "alice")
	return ts.listenOn(t, inner, "narrow", o, g)
}

func narrow(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	d := net.Dialer{Control: small}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, bufio.NewReader(conn)
}

// until reads up to the line that begins so.
func until(t *testing.T, in *bufio.Reader, begin string) string {
	t.Helper()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("no %s: %v", begin, err)
		}
		if strings.HasPrefix(line, begin) {
			return line
		}
	}
}

// A noise changes the flags of many messages again and again, as another
// process would.
type noise struct {
	f    *mailbox.Folder
	uids []uint32
	n    int
}

func newNoise(t *testing.T, ts *testServer, messages int) *noise {
	t.Helper()
	cur := filepath.Join(ts.dir, "alice", "cur")
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(ts.dir, "alice", sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range messages {
		if err := os.WriteFile(filepath.Join(cur, fmt.Sprintf("%d.M%dP1.h,S=12,W=14:2,", 1_700_000_000+i, i)), []byte("Subject: x\n\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := newHost(t).Open(filepath.Join(ts.dir, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	f, err := a.Folder(mailbox.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	s, err := f.Refresh(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	n := &noise{f: f}
	for _, m := range s.Messages.All() {
		n.uids = append(n.uids, m.UID)
	}
	return n
}

func (n *noise) make(t *testing.T) {
	t.Helper()
	n.n++
	op := mailbox.Add
	if n.n%2 == 0 {
		op = mailbox.Remove
	}
	if _, err := n.f.Store(n.uids, mailbox.Change{Op: op, Flags: mailbox.Flagged | mailbox.Answered}); err != nil {
		t.Fatal(err)
	}
}

// idling is a client in IDLE that will never read again.
func idling(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, in := narrow(t, address)
	until(t, in, "* PREAUTH")
	io.WriteString(conn, "a SELECT INBOX\r\n")
	until(t, in, "a OK")
	io.WriteString(conn, "b IDLE\r\n")
	until(t, in, "+")
	return conn
}

// news is what the server would have to hold if it kept all for a client that
// does not read.
const (
	noisy = 400
	loud  = 150
	news  = loud * noisy * len("* 400 FETCH (UID 400 FLAGS (\\Answered \\Flagged))\r\n")
)

// A client in IDLE that never reads holds no news: what it has not been told
// is the difference between two states, however much has happened.
func TestIdleOfAClientThatNeverReadsCostsLittle(t *testing.T) {
	ts := startServer(t, nil)
	n := newNoise(t, ts, noisy)
	ts.listenNarrow(t, guardconn.Options{})
	conn := idling(t, ts.addresses["narrow"])
	n.make(t)
	before := heap()
	for range loud {
		n.make(t)
	}
	grown := heap() - before
	t.Logf("the heap grew by %d octets", grown)
	if grown > news/2 {
		t.Errorf("the heap grew by %d octets; all the news are %d", grown, news)
	}
	conn.Close()
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// It is closed when it has taken nothing for the time that a write may last.
func TestIdleOfAClientThatNeverReadsEnds(t *testing.T) {
	ts := startServer(t, nil)
	n := newNoise(t, ts, noisy)
	ts.listenNarrow(t, guardconn.Options{WriteTimeout: 100 * time.Millisecond})
	idling(t, ts.addresses["narrow"])
	for {
		n.make(t)
		select {
		case line := <-ts.log.lines:
			if strings.Contains(line, "event=closed") {
				return
			}
		default:
		}
	}
}

// The end of the server is told to clients that wait, in IDLE or not, and it
// does not wait for them.
func TestShutdownSaysBye(t *testing.T) {
	ts := startServer(t, nil)
	stop := ts.listenNarrow(t, guardconn.Options{})
	var all []*bufio.Reader
	for _, idle := range []bool{true, false, true} {
		conn, in := narrow(t, ts.addresses["narrow"])
		until(t, in, "* PREAUTH")
		io.WriteString(conn, "a SELECT INBOX\r\n")
		until(t, in, "a OK")
		if idle {
			io.WriteString(conn, "b IDLE\r\n")
			until(t, in, "+")
		}
		all = append(all, in)
	}
	start := time.Now()
	stop()
	if took := time.Since(start); took >= drainTime {
		t.Errorf("the end took %v: somebody was waited for", took)
	}
	for i, in := range all {
		if got := until(t, in, "*"); got != Farewell+"\r\n" {
			t.Errorf("client %d: %q", i, got)
		}
		if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
			t.Errorf("client %d: %q, %v after BYE", i, rest, err)
		}
	}
}
