package lmtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/address"
	"peyk/internal/envelope"
	"peyk/internal/eventlog"
)

// tape is a connection whose input is known beforehand and comes in pieces of
// a given size.
type tape struct {
	in    []byte
	piece int
	out   bytes.Buffer
}

func (c *tape) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *tape) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *tape) Close() error                     { return nil }
func (c *tape) LocalAddr() net.Addr              { return tapeAddr{} }
func (c *tape) RemoteAddr() net.Addr             { return tapeAddr{} }
func (c *tape) SetDeadline(time.Time) error      { return nil }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

type tapeAddr struct{}

func (tapeAddr) Network() string { return "pipe" }
func (tapeAddr) String() string  { return "tape" }

// play runs a session over the tape and returns what the server said, and
// what it delivered.
func play(t *testing.T, in []byte, piece int) (string, []received) {
	t.Helper()
	m := &memory{}
	var log bytes.Buffer
	srv := &server{Options: Options{MaxSize: 5000, MaxRecipients: 5, MaxErrors: 5, Log: eventlog.New(&log, "x", eventlog.Logfmt, time.Now)}.orDefault(),
		backend: m, ctx: context.Background()}
	c := &tape{in: in, piece: piece}
	newSession(srv, c, Peer{}).run()
	if strings.Contains(log.String(), "event=panic") {
		t.Fatalf("%q: %s", in, &log)
	}
	return c.out.String(), m.got
}

// Whatever a client sends, the server says well-formed lines, and says and
// delivers the same in whatever pieces it came.
func FuzzSession(f *testing.F) {
	const begin = "LHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
	for _, seed := range []string{
		begin + "DATA\r\nx\r\n..\r\n.\r\nQUIT\r\n", begin + "DATA\r\nx\n.\r\n\r\n.\r\nNOOP\r\n", begin + "BDAT 3 LAST\r\nabcNOOP\r\n",
		begin + "BDAT 1\r\naBDAT 0\r\nRSET\r\nBDAT 5 LAST\r\nQUIT\r", begin + "BDAT 9999\r\nx", "BDAT 3\r\nabcQUIT\r\n",
		begin + begin + "XFORWARD IDENT=a\r\nRSET\r\nXFORWARD IDENT=a\r\n", "GET / HTTP/1.1\r\n", "A\nB\r\n\x00\r\n\r\n\r\n",
		begin + "DATA\r\n" + strings.Repeat("x", 6000) + "\r\n.\r\nNOOP\r\n", strings.Repeat("x", 5000), begin + "DATA\r\n" + strings.Repeat("x", 6000) + "\r.\r\n\r\n.\r\nNOOP\r\n", begin + "BDAT 2 LAST\r\nab" + begin,
	} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		said, got := play(t, in, 1<<20)
		for _, line := range strings.SplitAfter(said, "\r\n") {
			if line == "" {
				break
			}
			if len(line) < 6 || len(line) > 512 || strings.IndexByte("2345", line[0]) < 0 || strings.ContainsAny(line[:len(line)-2], "\r\n\x00") {
				t.Fatalf("said %q", line)
			}
		}
		again, gotAgain := play(t, in, 1+max(piece, 0)%50)
		if again != said {
			t.Fatalf("in pieces it says %q, else %q", again, said)
		}
		if len(got) != len(gotAgain) {
			t.Fatalf("%d messages, and in pieces %d", len(got), len(gotAgain))
		}
		for i := range got {
			if got[i].message != gotAgain[i].message && got[i].err == nil {
				t.Fatalf("message %q, in pieces %q", got[i].message, gotAgain[i].message)
			}
		}
	})
}

// specData is RFC 5321 §4.1.1.4 and §4.5.2 in few words: what a message is.
func specData(wire string) (message, rest string, complete, good bool) {
	i := strings.Index("\r\n"+wire, "\r\n.\r\n")
	if i < 0 {
		return "", "", false, false
	}
	raw := wire[:i]
	rest = wire[i+3:]
	bare := strings.ReplaceAll(raw, "\r\n", "")
	good = !strings.ContainsAny(bare, "\r\n\x00")
	lines := strings.SplitAfter(raw, "\r\n")
	for n, line := range lines {
		lines[n] = strings.TrimPrefix(line, ".")
	}
	return strings.Join(lines, ""), rest, true, good
}

func FuzzDataReader(f *testing.F) {
	for _, end := range []string{"\n.\n", "\r.\r", "\r.\n", "\n.\r", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r\n.\r", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n. \r\n", "\r\n..\r\n"} {
		f.Add("x"+end+"y\r\n.\r\nrest", 3)
	}
	f.Add(".\r\n", 1)
	f.Add(".\r\r\n.\r\n", 2)
	f.Fuzz(func(t *testing.T, text string, piece int) {
		x := &wire{conn: &tape{in: []byte(text), piece: 1 + max(piece, 0)%20}, o: &Options{}, buf: make([]byte, 64)}
		*x.o = x.o.orDefault()
		d := &dataReader{x: x, max: 1 << 20}
		got, err := io.ReadAll(d)
		skipErr := d.skip()
		message, rest, complete, good := specData(text)
		switch {
		case !complete:
			if skipErr == nil || skipErr == ErrContent {
				t.Fatalf("%q is not complete, but %v", text, skipErr)
			}
			return
		case !good:
			if skipErr != ErrContent || err != ErrContent {
				t.Fatalf("%q is bad, but %v, %v", text, err, skipErr)
			}
		case err != nil || skipErr != nil || string(got) != message:
			t.Fatalf("%q gives %q (%v, %v), want %q", text, got, err, skipErr, message)
		}
		left := string(x.buffered()) + string(x.conn.(*tape).in)
		if left != rest {
			t.Fatalf("%q leaves %q, want %q", text, left, rest)
		}
	})
}

// What the parser accepts can be queued, and is the same when it is said again.
func FuzzParameters(f *testing.F) {
	f.Add("FROM:<a@b> SIZE=3 BODY=8BITMIME RET=FULL ENVID=a+2Bb SMTPUTF8", "TO:<c@d> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+40y", true)
	f.Add(`FROM:<"a>b"@c>`, `TO:<@r:"\""@d>`, false)
	f.Add("FROM:<>", "TO:<postmaster> ORCPT=utf-8;ü", true)
	f.Fuzz(func(t *testing.T, mail, rcpt string, requireTLS bool) {
		if !clean([]byte(mail)) || !clean([]byte(rcpt)) {
			return
		}
		m, bad := parseMail(mail, &Options{RequireTLS: requireTLS})
		if bad != nil {
			if bad.Code < 500 {
				t.Fatalf("%q: %v", mail, bad)
			}
			return
		}
		r, bad := parseRcpt(rcpt, m.SMTPUTF8)
		if bad != nil {
			return
		}
		e := envelope.Envelope{Sender: m.Sender, Body: m.Body, SMTPUTF8: m.SMTPUTF8, Ret: m.Ret, EnvID: m.EnvID, Recipients: []envelope.Recipient{r}}
		if err := e.Check(); err != nil {
			t.Fatalf("%q %q: %v", mail, rcpt, err)
		}
		if a, err := address.ParsePath("<"+m.Sender+">", m.SMTPUTF8); err != nil || a.String() != m.Sender {
			t.Fatalf("%q: sender %q is not canonical: %v", mail, m.Sender, err)
		}
		d := &delivery{c: &Client{ext: extensions{pipelining: true, eightBit: true, utf8: true, dsn: true, size: true, requireTLS: true}},
			t: &Transaction{Sender: m.Sender, Body: m.Body, SMTPUTF8: m.SMTPUTF8, RequireTLS: m.RequireTLS, Ret: m.Ret, EnvID: m.EnvID, Size: m.Size}}
		again := string(bytes.TrimSuffix(d.appendMail(nil), []byte("\r\n")))
		m2, bad := parseMail(strings.TrimPrefix(again, "MAIL "), &Options{RequireTLS: requireTLS})
		if bad != nil || fmt.Sprint(*m2) != fmt.Sprint(*m) {
			t.Fatalf("%q became %q: %v", mail, again, bad)
		}
		again = string(bytes.TrimSuffix(d.appendRcpt(nil, &r), []byte("\r\n")))
		r2, bad := parseRcpt(strings.TrimPrefix(again, "RCPT "), m.SMTPUTF8)
		if bad != nil || fmt.Sprint(r2) != fmt.Sprint(r) {
			t.Fatalf("%q became %q: %v", rcpt, again, bad)
		}
	})
}

// counting counts the calls that would be system calls.
type counting struct {
	net.Conn
	reads, writes atomic.Int64
}

func (c *counting) Read(p []byte) (int, error)  { c.reads.Add(1); return c.Conn.Read(p) }
func (c *counting) Write(p []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(p) }

type countingListener struct {
	net.Listener
	conns chan *counting
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &counting{Conn: conn}
	l.conns <- c
	return c, nil
}

// A small transaction is one write and one read of the client, and as many of
// the server.
func TestASmallTransactionTakesFewCalls(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	cl := countingListener{l, make(chan *counting, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, cl, &memory{}, Options{}) }()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ours := &counting{Conn: conn}
	c, err := NewClient(ctx, ours, "me", Timeouts{})
	if err != nil {
		t.Fatal(err)
	}
	server := <-cl.conns
	before := [4]int64{ours.reads.Load(), ours.writes.Load(), server.reads.Load(), server.writes.Load()}
	const n = 10
	message := strings.Repeat("0123456789abcdef\r\n", 250)
	for range n {
		if _, err := c.Deliver(ctx, transaction(message, "a@x.test", "b@x.test")); err != nil {
			t.Fatal(err)
		}
	}
	after := [4]int64{ours.reads.Load(), ours.writes.Load(), server.reads.Load(), server.writes.Load()}
	for i, what := range []string{"reads of the client", "writes of the client", "reads of the server", "writes of the server"} {
		if got := after[i] - before[i]; got > n+1 {
			t.Errorf("%d %s for %d messages", got, what, n)
		}
	}
	cancel()
	<-done
}

func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lmtp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestOnlyListedUsersMayConnect(t *testing.T) {
	path := serve(t, &memory{}, Options{UIDs: []int{os.Geteuid() + 1}})
	if _, err := Dial(context.Background(), "unix", path, "me", Timeouts{}); err == nil || !strings.Contains(err.Error(), "may not hand in mail") {
		t.Errorf("a stranger: %v", err)
	}
	path = serve(t, &memory{}, Options{UIDs: []int{os.Geteuid()}})
	dial(t, path)
}

func TestTooManyConnections(t *testing.T) {
	path := serve(t, &memory{}, Options{Connections: 2})
	dial(t, path)
	dial(t, path)
	if _, err := Dial(context.Background(), "unix", path, "me", Timeouts{}); err == nil || !strings.Contains(err.Error(), "too many connections") {
		t.Error(err)
	}
}

// panics is a Backend with a defect.
type panics struct{}

func (panics) Begin(context.Context, *Mail) (Handler, error) { panic("a defect") }

func TestADefectEndsOneSession(t *testing.T) {
	path := serve(t, panics{}, Options{})
	c := dial(t, path)
	if got, err := c.Deliver(context.Background(), transaction(hello, "a@x.test")); err == nil || !got[0].Err.Temporary() {
		t.Error(got, err)
	}
	dial(t, path)
}

func TestAHandlerThatDoesNotReadOrForgetsARecipient(t *testing.T) {
	m := &memory{noRead: true}
	c := dial(t, serve(t, m, Options{}))
	big := strings.Repeat("line of the message\r\n", 10000)
	for _, size := range []int64{int64(len(big)), 0} {
		tr := transaction(big, "a@x.test")
		tr.Size = size
		if got, err := c.Deliver(context.Background(), tr); err != nil || got[0].Err != nil {
			t.Error(got, err)
		}
	}
	if err := c.Reset(context.Background()); err != nil {
		t.Error(err)
	}
}

// scarceListener fails a few times as a system without files does.
type scarceListener struct {
	net.Listener
	fail []error
}

func (l *scarceListener) Accept() (net.Conn, error) {
	if len(l.fail) > 0 {
		err := l.fail[0]
		l.fail = l.fail[1:]
		return nil, err
	}
	return l.Listener.Accept()
}

func TestAcceptSurvivesAShortageAndReportsTheRest(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	shortage := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept", unix.EMFILE)}
	done := make(chan error)
	go func() {
		done <- Serve(context.Background(), &scarceListener{l, []error{shortage, shortage}}, &memory{}, Options{})
	}()
	c, err := Dial(context.Background(), "tcp", l.Addr().String(), "me", Timeouts{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func BenchmarkSmallMessage(b *testing.B) {
	path := serve(b, discard{}, Options{})
	c := dial(b, path)
	message := strings.Repeat("0123456789abcdef\r\n", 228)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for range b.N {
		tr := transaction(message, "a@x.test")
		if got, err := c.Deliver(context.Background(), tr); err != nil || got[0].Err != nil {
			b.Fatal(got, err)
		}
	}
}

func BenchmarkLargeMessage(b *testing.B) {
	path := serve(b, discard{}, Options{})
	c := dial(b, path)
	message := strings.Repeat("0123456789abcdef\r\n", 1<<20/18)
	b.SetBytes(int64(len(message)))
	for range b.N {
		tr := transaction(message, "a@x.test")
		if got, err := c.Deliver(context.Background(), tr); err != nil || got[0].Err != nil {
			b.Fatal(got, err)
		}
	}
}

// discard is a Backend that takes everything.
type discard struct{}

func (discard) Begin(context.Context, *Mail) (Handler, error)  { return discard{}, nil }
func (discard) Rcpt(context.Context, envelope.Recipient) error { return nil }
func (discard) End()                                           {}
func (discard) Data(_ context.Context, r io.Reader, _ int64) []Outcome {
	io.Copy(io.Discard, r)
	return make([]Outcome, 1)
}
