package guardconn

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"peyk/internal/eventlog"
)

func serverTLS(t testing.TB) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

var trusting = &tls.Config{InsecureSkipVerify: true}

// listen starts a listener whose connections are echoed line by line.
func listen(t testing.TB, o Options) *Listener {
	return listenWith(t, o, echo)
}

func listenWith(t testing.TB, o Options, serve func(*Conn)) *Listener {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(inner, o)
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				defer c.Close()
				serve(c.(*Conn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	return l
}

func echo(c *Conn) {
	fmt.Fprintf(c, "hello %s\r\n", c.RemoteAddr())
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		io.WriteString(c, line)
	}
}

func dial(t testing.TB, l net.Listener) net.Conn {
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

func expect(t testing.TB, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("got %q, %v; want %q", b, err, want)
	}
}

// expectClosed reads to the end and returns what came.
func expectClosed(t testing.TB, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %q, %v; want the end", b, err)
	}
	return string(b)
}

func TestEcho(t *testing.T) {
	for name, o := range map[string]Options{"plain": {}, "tls": {TLS: serverTLS(t)}} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, o)
			c := dial(t, l)
			if o.TLS != nil {
				c = tls.Client(c, trusting)
			}
			fmt.Fprint(c, "one\r\ntwo\r\n")
			expect(t, c, "hello "+c.LocalAddr().String()+"\r\none\r\ntwo\r\n")
			big := strings.Repeat("0123456789abcde\n", 20000)
			go io.WriteString(c, big)
			expect(t, c, big)
		})
	}
}

func TestLimitsRefuseWithTheProtocolsLine(t *testing.T) {
	var log lines
	limits := NewLimits(Max{Total: 3, PerAddress: 2})
	l := listen(t, Options{Limits: limits, Refusal: func(r Reason) string { return "421 " + string(r) }, Log: log.log()})
	a, b := dial(t, l), dial(t, l)
	expect(t, a, "hello")
	expect(t, b, "hello")
	if got := expectClosed(t, dial(t, l)); got != "421 connections-per-address\r\n" {
		t.Fatalf("got %q", got)
	}
	limits.Set(Max{Total: 2})
	if got := expectClosed(t, dial(t, l)); got != "421 connections\r\n" {
		t.Fatalf("got %q", got)
	}
	limits.Set(Max{PerPrefix: 2})
	if got := expectClosed(t, dial(t, l)); got != "421 connections-per-prefix\r\n" {
		t.Fatalf("got %q", got)
	}
	a.Close()
	b.Close()
	eventually(t, "the places are free", func() bool { return limits.Total() == 0 })
	limits.mu.Lock()
	n := len(limits.addresses) + len(limits.prefixes)
	limits.mu.Unlock()
	if n != 0 {
		t.Fatalf("%d addresses are remembered", n)
	}
	expect(t, dial(t, l), "hello")
	if !strings.Contains(log.String(), "event=refused") || !strings.Contains(log.String(), "reason=connections-per-address") {
		t.Fatalf("log: %s", log.String())
	}
}

func TestExemptNetworksHaveNoLimit(t *testing.T) {
	l := listen(t, Options{Limits: NewLimits(Max{Total: 1, PerAddress: 1}), Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	for range 3 {
		expect(t, dial(t, l), "hello")
	}
}

func TestPrefixOfIPv6(t *testing.T) {
	l := NewLimits(Max{PerPrefix: 1})
	leave, _ := l.Enter(netip.MustParseAddr("2001:db8::1"))
	if _, met := l.Enter(netip.MustParseAddr("2001:db8::ffff:2")); met != TooManyPerPrefix {
		t.Fatalf("met %q", met)
	}
	if _, met := l.Enter(netip.MustParseAddr("2001:db8:0:1::1")); met != "" {
		t.Fatalf("met %q", met)
	}
	leave()
	if _, met := l.Enter(netip.MustParseAddr("2001:db8::2")); met != "" {
		t.Fatalf("met %q", met)
	}
}

func TestStalledHandshakesBlockNobody(t *testing.T) {
	l := listen(t, Options{TLS: serverTLS(t), HandshakeTimeout: time.Hour})
	for range 20 {
		dial(t, l) // says nothing
	}
	c := tls.Client(dial(t, l), trusting)
	expect(t, c, "hello")
}

func TestHandshakeHasADeadline(t *testing.T) {
	var log lines
	l := listen(t, Options{TLS: serverTLS(t), HandshakeTimeout: 20 * time.Millisecond, Log: log.log()})
	if got := expectClosed(t, dial(t, l)); got != "" {
		t.Fatalf("got %q", got)
	}
	eventually(t, "the failure is logged", func() bool { return strings.Contains(log.String(), "event=tls-failed") })
}

func TestAbandonedHandshakesLeaveNothing(t *testing.T) {
	limits, tracker := NewLimits(Max{}), new(Tracker)
	l := listen(t, Options{TLS: serverTLS(t), Limits: limits, Tracker: tracker})
	expect(t, tls.Client(dial(t, l), trusting), "hello") // whatever starts once has started
	before, files := runtime.NumGoroutine(), openFiles(t)
	for i := range 1000 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "\x16\x03\x01\x02\x00\x01\x00"[:i%8])
		c.Close()
	}
	eventually(t, "connections are gone", func() bool { return limits.Total() == 1 && tracker.Len() == 1 })
	eventually(t, "goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
	eventually(t, "files are closed", func() bool { return openFiles(t) <= files })
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	n := 0
	for _, e := range entries {
		if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

func TestCloseStopsAcceptingOnly(t *testing.T) {
	l := listen(t, Options{})
	c := dial(t, l)
	expect(t, c, "hello "+c.LocalAddr().String()+"\r\n")
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %v", err)
	}
	fmt.Fprint(c, "still\n")
	expect(t, c, "still\n")
	c.Close()
}

func TestCloseEndsHandshakes(t *testing.T) {
	tracker := new(Tracker)
	l := listen(t, Options{TLS: serverTLS(t), HandshakeTimeout: time.Hour, Tracker: tracker})
	c := dial(t, l)
	eventually(t, "the handshake has begun", func() bool { return tracker.Len() == 1 })
	l.Close()
	expectClosed(t, c)
}

// fails is a listener that fails first.
type fails struct {
	net.Listener
	errs []error
}

func (f *fails) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return f.Listener.Accept()
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept", err)}
}

func TestAcceptBacksOff(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log lines
	l := New(&fails{inner, []error{syscall.EMFILE, syscall.ECONNABORTED, syscall.ENFILE, syscall.ENOMEM, syscall.EINVAL}}, Options{Log: log.log()})
	defer l.Close()
	if _, err := l.Accept(); !errors.Is(err, syscall.EINVAL) {
		t.Fatalf("got %v", err)
	}
	if n := strings.Count(log.String(), "event=accept-wait"); n != 1 {
		t.Fatalf("%d lines: %s", n, log.String())
	}
}

func TestDrain(t *testing.T) {
	tracker := new(Tracker)
	atData := make(chan struct{})
	l := listenWith(t, Options{Tracker: tracker, Farewell: "421 shutting down"}, func(c *Conn) {
		c.SetPhase(Phase{Command: true})
		in := bufio.NewReader(c)
		if line, _ := in.ReadString('\n'); line != "data\n" {
			return
		}
		c.SetPhase(Phase{})
		close(atData)
		if line, _ := in.ReadString('\n'); line == "end\n" {
			io.WriteString(c, "250 ok\r\n")
		}
		c.SetPhase(Phase{Command: true})
		in.ReadString('\n')
	})
	idle, busy, stuck := dial(t, l), dial(t, l), dial(t, l)
	fmt.Fprint(busy, "data\n")
	<-atData
	eventually(t, "all are connected", func() bool { return tracker.Len() == 3 })
	ctx, cancel := context.WithCancel(context.Background())
	cut := make(chan int)
	go func() { cut <- tracker.Drain(ctx) }()
	expect(t, idle, "421 shutting down\r\n")
	expect(t, stuck, "421 shutting down\r\n")
	fmt.Fprint(busy, "end\n")
	expect(t, busy, "250 ok\r\n421 shutting down\r\n")
	if n := <-cut; n != 0 {
		t.Fatalf("%d were cut", n)
	}
	cancel()
	if got := expectClosed(t, dial(t, l)); got != "" {
		t.Fatalf("after the drain: %q", got)
	}
}

func TestDrainCuts(t *testing.T) {
	tracker := new(Tracker)
	l := listenWith(t, Options{Tracker: tracker}, func(c *Conn) { io.Copy(io.Discard, c) }) // data for ever
	c := dial(t, l)
	eventually(t, "it is connected", func() bool { return tracker.Len() == 1 })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if n := tracker.Drain(ctx); n != 1 {
		t.Fatalf("%d were cut", n)
	}
	expectClosed(t, c)
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for range 6000 {
		if f() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("waited in vain until %s", what)
}

// lines is a log that tests read.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) log() *eventlog.Log { return eventlog.New(l, "test", eventlog.Logfmt, time.Now) }

func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "gc") // short: the path of a socket has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	if _, err := Listen(path, 0o660); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("a live socket: %v", err)
	}
	stale.Close()
	inner, err := Listen(path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o660 {
		t.Fatalf("mode %o", info.Mode().Perm())
	}
	l := New(inner, Options{Limits: NewLimits(Max{PerAddress: 1})})
	defer l.Close()
	for range 2 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	os.WriteFile(path+"f", nil, 0o600)
	if _, err := Listen(path+"f", 0o600); err == nil {
		t.Fatal("a file was replaced")
	}
}

func TestSystemd(t *testing.T) {
	env := map[string]string{"LISTEN_PID": "7", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "pop3:pop3s:pop3"}
	var opened []int
	a := activation{pid: 7, getenv: func(k string) string { return env[k] }, open: func(fd int) (net.Listener, error) {
		opened = append(opened, fd)
		return nil, nil
	}}
	if ls, err := a.listeners("pop3"); err != nil || len(ls) != 2 || opened[0] != 3 || opened[1] != 5 {
		t.Fatalf("%v %v %v", ls, err, opened)
	}
	if ls, err := a.listeners("imap"); err != nil || len(ls) != 0 {
		t.Fatalf("%v %v", ls, err)
	}
	env["LISTEN_FDS"] = "x"
	if _, err := a.listeners("pop3"); err == nil {
		t.Fatal("no error")
	}
	a.pid = 8
	if ls, err := a.listeners("pop3"); err != nil || len(ls) != 0 {
		t.Fatalf("%v %v", ls, err)
	}
}

func TestStdinPipes(t *testing.T) {
	inR, inW, _ := os.Pipe()
	outR, outW, _ := os.Pipe()
	l := New(Stdin(inR, outW), Options{})
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { echo(c.(*Conn)); c.Close(); close(served) }()
	out := bufio.NewReader(outR)
	expect(t, out, "hello pipe\r\n")
	io.WriteString(inW, "one\n")
	expect(t, out, "one\n")
	io.WriteString(inW, "two\n")
	inW.Close()
	<-served
	outW.Close()
	expect(t, out, "two\n")
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

func TestStdinSocket(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours := os.NewFile(uintptr(fds[0]), "ours")
	theirs := os.NewFile(uintptr(fds[1]), "theirs")
	client, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	l := New(Stdin(theirs, theirs), Options{})
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if c.(*Conn).raw == nil {
		t.Error("the socket is not used as one")
	}
	go func() { echo(c.(*Conn)); c.Close() }()
	io.WriteString(client, "one\n")
	in := bufio.NewReader(client)
	if line, _ := in.ReadString('\n'); !strings.HasPrefix(line, "hello") {
		t.Fatalf("got %q", line)
	}
	expect(t, in, "one\n")
	client.(*net.UnixConn).CloseWrite()
	if got := expectClosed(t, client); got != "" { // although theirs is still open
		t.Fatalf("got %q", got)
	}
	theirs.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

func tlsClient(c net.Conn) net.Conn { return tls.Client(c, trusting) }
