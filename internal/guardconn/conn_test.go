package guardconn

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counted counts the writes of a socket; its descriptor shows through.
type counted struct {
	*net.TCPConn
	writes atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.TCPConn.Write(p)
}

// pair returns a guarded connection over loopback, what counts its writes, and
// the client's end.
func pair(t testing.TB, o Options) (*Conn, *counted, net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	inner, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	count := &counted{TCPConn: inner.(*net.TCPConn)}
	c := NewConn(count, o)
	t.Cleanup(func() { client.Close(); c.Close() })
	return c, count, client
}

func TestRepliesToABatchAreOneWrite(t *testing.T) {
	c, count, client := pair(t, Options{})
	io.WriteString(client, strings.Repeat("NOOP\r\n", 500))
	in := bufio.NewReader(c)
	served := make(chan error)
	go func() {
		for range 500 {
			if _, err := in.ReadString('\n'); err != nil {
				served <- err
				return
			}
			io.WriteString(c, "+OK\r\n")
		}
		_, err := in.ReadString('\n') // blocks: this flushes
		served <- err
	}()
	expect(t, client, strings.Repeat("+OK\r\n", 500))
	client.Close()
	if err := <-served; err != io.EOF {
		t.Fatal(err)
	}
	if n := count.writes.Load(); n > 3 { // the batch may arrive in a few pieces
		t.Fatalf("%d writes", n)
	}
}

func TestCloseFlushesAndTheLastLineArrives(t *testing.T) {
	c, _, client := pair(t, Options{})
	io.WriteString(client, strings.Repeat("garbage\r\n", 1000)) // unread input would reset the connection
	c.Read(make([]byte, 10))
	io.WriteString(c, "421 too many errors\r\n")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal("not idempotent:", err)
	}
	b, _ := io.ReadAll(client)
	if string(b) != "421 too many errors\r\n" {
		t.Fatalf("got %q", b)
	}
}

func TestCloseFromAnotherGoroutine(t *testing.T) {
	c, _, _ := pair(t, Options{})
	ended := make(chan error)
	go func() { _, err := c.Read(make([]byte, 1)); ended <- err }()
	c.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

func TestUpgradeTLS(t *testing.T) {
	config := serverTLS(t)
	t.Run("good", func(t *testing.T) {
		c, _, client := pair(t, Options{})
		upgraded := make(chan error, 1)
		go func() {
			io.WriteString(c, "+OK\r\n")
			upgraded <- c.UpgradeTLS(context.Background(), config)
			io.Copy(c, c)
		}()
		expect(t, client, "+OK\r\n")
		secure := tls.Client(client, trusting)
		big := strings.Repeat("0123456789", 50_000)
		go io.WriteString(secure, big)
		expect(t, secure, big)
		if err := <-upgraded; err != nil {
			t.Fatal(err)
		}
		if c.TLSState() == nil || c.TLSState().Version < tls.VersionTLS12 {
			t.Fatal("no state")
		}
	})
	t.Run("injected", func(t *testing.T) {
		c, _, client := pair(t, Options{})
		in := bufio.NewReaderSize(c, 16)
		io.WriteString(client, "STLS\r\n"+strings.Repeat("DELE 1\r\n", 2000))
		in.ReadString('\n')
		result := make(chan string)
		go func() {
			io.WriteString(c, "+OK\r\n")
			in.Reset(c)
			if err := c.UpgradeTLS(context.Background(), config); err != nil {
				result <- err.Error()
				return
			}
			line, _ := in.ReadString('\n')
			result <- line
		}()
		expect(t, client, "+OK\r\n")
		secure := tls.Client(client, trusting)
		io.WriteString(secure, "NOOP\r\n")
		if got := <-result; got != "NOOP\r\n" {
			t.Fatalf("got %q", got)
		}
	})
	t.Run("garbage closes", func(t *testing.T) {
		c, _, client := pair(t, Options{})
		go io.WriteString(client, "NOOP\r\nNOOP\r\n")
		if err := c.UpgradeTLS(context.Background(), config); err == nil {
			t.Fatal("no error")
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Fatal("the connection lives on")
		}
		expectClosed(t, client)
	})
	t.Run("timeout closes", func(t *testing.T) {
		c, _, client := pair(t, Options{})
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if err := c.UpgradeTLS(ctx, config); err == nil {
			t.Fatal("no error")
		}
		expectClosed(t, client)
	})
	t.Run("shutdown closes", func(t *testing.T) {
		c, _, client := pair(t, Options{Farewell: "421 bye"})
		done := make(chan error)
		go func() { done <- c.UpgradeTLS(context.Background(), config) }()
		io.WriteString(client, "\x16\x03") // a hello that never ends
		eventually(t, "the handshake has begun", c.shaking.Load)
		c.Interrupt()
		if err := <-done; err == nil {
			t.Fatal("no error")
		}
		if got := expectClosed(t, client); got != "" {
			t.Fatalf("got %q in the midst of a handshake", got)
		}
	})
}

func TestTickets(t *testing.T) {
	for _, no := range []bool{false, true} {
		o := Options{TLS: serverTLS(t), NoTickets: no}
		l := listen(t, o)
		config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		resumed := false
		for range 2 {
			c := tls.Client(dial(t, l), config)
			expect(t, c, "hello")
			resumed = c.ConnectionState().DidResume
			c.Close()
		}
		if resumed == no {
			t.Errorf("NoTickets %v: resumed %v", no, resumed)
		}
	}
}

func TestLargeOutputOverTLSIsFewWrites(t *testing.T) {
	c, count, client := pair(t, Options{})
	go func() {
		c.UpgradeTLS(context.Background(), serverTLS(t))
		before := count.writes.Load()
		for range 256 {
			c.Write(bytes.Repeat([]byte("x"), 4096))
		}
		c.Flush()
		count.writes.Add(-before)
	}()
	secure := tls.Client(client, trusting)
	expect(t, secure, strings.Repeat("x", 1<<20))
	eventually(t, "writes are counted", func() bool { return count.writes.Load() <= 1<<20/flushAt+1 })
}

// FuzzCoalescing holds Conn against a model: what a session writes comes out,
// all of it and in order, however writes, flushes and reads are mixed, and
// never more than the stated limit waits.
func FuzzCoalescing(f *testing.F) {
	f.Add([]byte{1, 200, 3, 0, 255, 255, 7}, false)
	f.Add([]byte{255, 254, 253, 1, 1, 1, 0}, true)
	f.Fuzz(func(t *testing.T, ops []byte, echo bool) {
		if len(ops) > 200 {
			return
		}
		theirs, client := net.Pipe()
		c := NewConn(theirs, Options{})
		var got bytes.Buffer
		var collect sync.WaitGroup
		collect.Go(func() { io.Copy(&got, client) })
		var want bytes.Buffer
		for i, op := range ops {
			switch {
			case op == 0:
				c.Flush()
			case op == 1 && echo:
				collect.Go(func() { client.Write([]byte("?")) })
				if _, err := c.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				if len(c.pending) != 0 {
					t.Fatal("a blocked Read left output behind")
				}
			default:
				p := bytes.Repeat([]byte{byte(i)}, int(op)*int(op)*2)
				want.Write(p)
				if n, err := c.Write(p); n != len(p) || err != nil {
					t.Fatal(n, err)
				}
			}
			if len(c.pending) >= largeBuffer {
				t.Fatalf("%d bytes wait", len(c.pending))
			}
		}
		c.Close()
		collect.Wait()
		if !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Fatalf("%d bytes out, %d in", got.Len(), want.Len())
		}
		if c.pending != nil {
			t.Fatal("a closed connection holds a buffer")
		}
	})
}

func BenchmarkPipelinedReplies(b *testing.B) {
	c, count, client := pair(b, Options{})
	go func() {
		batch := []byte(strings.Repeat("NOOP\r\n", 100))
		for {
			if _, err := client.Write(batch); err != nil {
				return
			}
		}
	}()
	go io.Copy(io.Discard, client)
	in := bufio.NewReader(c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := in.ReadSlice('\n'); err != nil {
			b.Fatal(err)
		}
		c.SetPhase(Phase{Idle: time.Minute, Whole: time.Minute, Command: true})
		c.Write([]byte("+OK\r\n"))
	}
	b.ReportMetric(float64(count.writes.Load())/float64(b.N), "writes/op")
}

func BenchmarkLockstep(b *testing.B) {
	c, count, client := pair(b, Options{})
	go io.Copy(c, c)
	in := bufio.NewReader(client)
	b.ReportAllocs()
	for b.Loop() {
		fmt.Fprint(client, "NOOP\r\n")
		in.ReadSlice('\n')
	}
	b.ReportMetric(float64(count.writes.Load())/float64(b.N), "writes/op")
}
