package guardconn

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Sizes of the coalescing buffer, in bytes. A connection with nothing to say
// holds none.
const (
	smallBuffer = 4 << 10
	flushAt     = 32 << 10 // Write flushes when this much waits
	largeBuffer = 64 << 10 // and never lets more than this wait
)

// goodbye bounds what Close may take to bring out the last words.
const goodbye = 5 * time.Second

// Conn is a connection to a client. Its methods may be called by several
// goroutines, Read and SetPhase by one at a time.
//
// Write only collects: the output goes out before a Read that would block, at
// 32 KiB, on Flush and on Close. While a Read is blocked, as in IMAP's IDLE,
// writes pass straight through. So a session that answers a pipelined batch
// costs two system calls, and nobody waits for a reply that lies in a buffer.
type Conn struct {
	sock        net.Conn
	raw         syscall.RawConn // nil where the connection has no descriptor
	o           *Options
	buffers     *buffers
	remote      net.Addr
	local       net.Addr
	leave       []func() // gives places in the limits back
	once        sync.Once
	secure      atomic.Pointer[tls.Conn]
	farewell    atomic.Pointer[string] // of Dismiss
	compression atomic.Pointer[compression]
	wire        wire
	shaking     atomic.Bool // a TLS handshake is going on
	in, out     atomic.Int64

	mu      sync.Mutex
	pending []byte // output that waits
	blocked bool   // a Read waits for the client, so output must not
	failed  error  // a write failed: the stream is broken for good

	reading reading
	timing  timing
}

// reading is what one Read needs; it is reused, so that a Read costs no
// allocation.
type reading struct {
	ahead []byte // read beyond the PROXY header
	err   error  // final
	into  []byte
	n     int
	fail  error
	armed bool // beforeBlock has run
	ready func(fd uintptr) bool
}

func newConn(inner net.Conn, o *Options, b *buffers) *Conn {
	c := &Conn{sock: inner, o: o, buffers: b, remote: inner.RemoteAddr(), local: inner.LocalAddr()}
	c.raw = rawConn(inner)
	c.wire.c = c
	c.reading.ready = c.readReady
	c.timing.reset(Phase{})
	return c
}

// NewConn wraps one connection that no Listener accepted, as in tests. Of the
// options only those about writing, shutdown and logging matter.
func NewConn(inner net.Conn, o Options) *Conn {
	return newConn(inner, o.withDefaults(), newBuffers())
}

func rawConn(c net.Conn) syscall.RawConn {
	if w, ok := c.(*closer); ok {
		c = w.Conn
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// RemoteAddr returns the client's address, as the PROXY header gave it if
// there was one.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// LocalAddr returns the address that the client connected to.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// Counts returns how many bytes the client sent and was sent, as the protocol
// saw them.
func (c *Conn) Counts() (in, out int64) { return c.in.Load(), c.out.Load() }

// TLSState returns the state of TLS, nil on a plaintext connection.
func (c *Conn) TLSState() *tls.ConnectionState {
	t := c.secure.Load()
	if t == nil {
		return nil
	}
	s := t.ConnectionState()
	return &s
}

// Read reads what the client sent. Before it blocks, it flushes. Its errors,
// besides those of the network, are *TimeoutError when the client breaks the
// Phase, ErrShutdown after Interrupt, both final, and
// os.ErrDeadlineExceeded after SetReadDeadline.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := 0, error(nil)
	if z := c.compression.Load(); z != nil {
		n, err = z.read(c, p)
	} else {
		n, err = c.readPlain(p)
	}
	c.in.Add(int64(n))
	return n, err
}

// readPlain reads below compression.
func (c *Conn) readPlain(p []byte) (int, error) {
	if t := c.secure.Load(); t != nil {
		return t.Read(p)
	}
	return c.readSocket(p)
}

// readSocket reads below TLS.
func (c *Conn) readSocket(p []byte) (int, error) {
	r := &c.reading
	if r.err != nil {
		return 0, r.err
	}
	if len(r.ahead) > 0 {
		n := copy(p, r.ahead)
		r.ahead = r.ahead[n:]
		return n, nil
	}
	for {
		n, err := c.readOnce(p)
		if n > 0 {
			c.timing.got(n, c.o.Now)
			return n, nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && !isTimeout(err) {
			err = c.timing.expired(c.o.Now())
			if err == nil {
				continue // the window of the rate began anew
			}
		}
		return 0, c.readFailed(err)
	}
}

// readFailed remembers a final error and, on a shutdown, says the last line.
func (c *Conn) readFailed(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && !isTimeout(err) {
		return err // of SetReadDeadline: the caller may go on
	}
	c.reading.err = err
	if last := c.farewellFor(err); last != "" {
		c.Write([]byte(last + "\r\n"))
		c.Flush()
	}
	return err
}

// farewellFor returns the line for a client whose session we end with err.
func (c *Conn) farewellFor(err error) string {
	switch {
	case errors.Is(err, ErrDismissed):
		return *c.farewell.Load()
	case errors.Is(err, ErrShutdown):
		return c.o.Farewell
	}
	return ""
}

// readOnce is one read of the socket, which may block.
func (c *Conn) readOnce(p []byte) (int, error) {
	r := &c.reading
	r.into, r.n, r.fail, r.armed = p, 0, nil, false
	if c.raw == nil {
		if err := c.beforeBlock(); err != nil {
			return 0, err
		}
		n, err := c.sock.Read(p)
		c.afterBlock()
		return n, err
	}
	err := c.raw.Read(r.ready)
	r.into = nil
	if r.armed {
		c.afterBlock()
	}
	if r.fail != nil {
		err = r.fail
	}
	return r.n, err
}

// readReady tries to read; only when there is nothing does it flush and set
// the deadline, and asks to be called again.
func (c *Conn) readReady(fd uintptr) bool {
	r := &c.reading
	for {
		n, err := syscall.Read(int(fd), r.into)
		if err == syscall.EINTR {
			continue
		}
		if err == syscall.EAGAIN {
			return r.wouldBlock(c)
		}
		r.n, r.fail = max(n, 0), nil
		if err != nil {
			r.fail = os.NewSyscallError("read", err)
		} else if n == 0 {
			r.fail = io.EOF
		}
		return true
	}
}

// wouldBlock reports whether the attempt is over.
func (r *reading) wouldBlock(c *Conn) bool {
	if r.armed {
		return false
	}
	r.armed = true
	r.fail = c.beforeBlock()
	return r.fail != nil
}

func (c *Conn) beforeBlock() error {
	c.mu.Lock()
	err := c.flush()
	c.blocked = err == nil
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.timing.arm(c.sock, c.o.Now())
}

func (c *Conn) afterBlock() {
	c.mu.Lock()
	c.blocked = false
	c.mu.Unlock()
	c.timing.disarm(c.sock, c.o.Now())
}

// Write queues p for the client, see Conn. An error is final, and may come
// from an earlier Write.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return 0, c.failed
	}
	c.out.Add(int64(len(p)))
	if len(c.pending)+len(p) > largeBuffer {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) >= flushAt && len(c.pending) == 0 {
		if err := c.send(p); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	c.pending = c.buffers.append(c.pending, p)
	if c.blocked || len(c.pending) >= flushAt {
		if err := c.flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Flush sends all output that waits.
func (c *Conn) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flush()
}

// flush wants c.mu.
func (c *Conn) flush() error {
	if c.failed != nil || len(c.pending) == 0 {
		return c.failed
	}
	err := c.send(c.pending)
	c.buffers.put(c.pending)
	c.pending = nil
	return err
}

// send writes p, in pieces that the client must take within the write
// timeout each. It wants c.mu.
func (c *Conn) send(p []byte) error {
	if c.Compressed() {
		d := c.buffers.deflate(p)
		defer c.buffers.deflaters.Put(d)
		p = d.out.Bytes()
	}
	t := c.secure.Load()
	for len(p) > 0 {
		piece := p[:min(len(p), largeBuffer)]
		p = p[len(piece):]
		c.sock.SetWriteDeadline(c.o.Now().Add(c.o.WriteTimeout))
		var err error
		if t == nil {
			_, err = c.sock.Write(piece)
		} else {
			err = c.wire.encrypt(t, piece)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = &TimeoutError{"write", c.o.WriteTimeout}
		}
		if err != nil {
			c.failed = err
			return err
		}
	}
	return nil
}

// UpgradeTLS ends the plaintext part of a connection (STARTTLS). Call it right
// after writing the go-ahead, without a flush: then whatever the client sent
// before it could have seen the go-ahead is discarded here; the caller must
// discard what it holds itself. When the handshake fails or ctx ends, the
// connection is closed: it never falls back to plaintext.
func (c *Conn) UpgradeTLS(ctx context.Context, config *tls.Config) error {
	c.mu.Lock()
	if len(c.pending) > 0 {
		c.reading.ahead = nil
		c.discard()
	}
	err := c.flush()
	c.mu.Unlock()
	if err != nil {
		c.Close()
		return err
	}
	return c.handshake(ctx, config)
}

func (c *Conn) handshake(ctx context.Context, config *tls.Config) error {
	c.SetPhase(Phase{}) // the context is the deadline
	c.shaking.Store(true)
	defer c.shaking.Store(false)
	if c.timing.shutdown() {
		c.Close()
		return ErrShutdown
	}
	c.sock.SetWriteDeadline(c.o.Now().Add(c.o.HandshakeTimeout))
	t := tls.Server(&c.wire, c.tlsConfig(config))
	if err := t.HandshakeContext(ctx); err != nil {
		c.Close()
		return err
	}
	c.secure.Store(t)
	return nil
}

func (c *Conn) tlsConfig(config *tls.Config) *tls.Config {
	if !c.o.NoTickets {
		return config
	}
	config = config.Clone()
	config.SessionTicketsDisabled = true
	if choose := config.GetConfigForClient; choose != nil {
		config.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(h)
			if chosen != nil {
				chosen = chosen.Clone()
				chosen.SessionTicketsDisabled = true
			}
			return chosen, err
		}
	}
	return config
}

// discard throws away what the client has sent so far, 64 KiB at most. It goes
// past the lock of the descriptor, which a blocked Read may hold.
func (c *Conn) discard() {
	if c.raw == nil {
		return
	}
	c.raw.Control(func(fd uintptr) {
		var scratch [1024]byte
		for range 64 {
			if n, _ := syscall.Read(int(fd), scratch[:]); n < len(scratch) {
				return
			}
		}
	})
}

// Close flushes, within a few seconds, and closes. It may be called more than
// once and at any time.
func (c *Conn) Close() error {
	var err error
	c.once.Do(func() {
		c.lastWords()
		err = c.sock.Close()
		c.o.Tracker.remove(c)
		c.release()
	})
	return err
}

// lastWords brings out what waits, unless another goroutine is stuck writing.
func (c *Conn) lastWords() {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	if c.failed == nil && len(c.pending) > 0 {
		c.sock.SetWriteDeadline(time.Now().Add(goodbye))
		c.flushLast()
	}
	if t := c.secure.Load(); t != nil && c.failed == nil {
		t.CloseWrite() // close_notify; sets a deadline of its own
	}
	// A socket closed with unread input is reset, and the client loses our
	// last line.
	if !c.blocked && c.secure.Load() == nil {
		c.discard()
	}
	if c.failed == nil {
		c.failed = net.ErrClosed
	}
	c.buffers.put(c.pending)
	c.pending = nil
}

// flushLast is flush with the deadline that is set already.
func (c *Conn) flushLast() {
	last := c.pending
	if c.Compressed() {
		last = c.buffers.deflate(last).out.Bytes()
	}
	if t := c.secure.Load(); t != nil {
		c.wire.encrypt(t, last)
		return
	}
	c.sock.Write(last)
}

func (c *Conn) release() {
	for _, leave := range c.leave {
		leave()
	}
	c.leave = nil
}

// wire is the connection that crypto/tls sees. Records written while it is
// held leave in one system call.
type wire struct {
	c    *Conn
	mu   sync.Mutex
	hold bool
	held []byte
}

// encrypt sends p through t.
func (w *wire) encrypt(t *tls.Conn, p []byte) error {
	if len(p) <= smallBuffer {
		_, err := t.Write(p) // a single record
		return err
	}
	w.mu.Lock()
	w.hold = true
	w.mu.Unlock()
	_, err := t.Write(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold = false
	if len(w.held) > 0 && err == nil {
		_, err = w.c.sock.Write(w.held)
	}
	w.c.buffers.put(w.held)
	w.held = nil
	return err
}

func (w *wire) Read(p []byte) (int, error) { return w.c.readSocket(p) }

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hold {
		w.held = w.c.buffers.append(w.held, p)
		return len(p), nil
	}
	return w.c.sock.Write(p)
}

func (w *wire) Close() error                       { return w.c.sock.Close() }
func (w *wire) LocalAddr() net.Addr                { return w.c.local }
func (w *wire) RemoteAddr() net.Addr               { return w.c.remote }
func (w *wire) SetDeadline(t time.Time) error      { return w.c.SetDeadline(t) }
func (w *wire) SetReadDeadline(t time.Time) error  { return w.c.SetReadDeadline(t) }
func (w *wire) SetWriteDeadline(t time.Time) error { return w.c.sock.SetWriteDeadline(t) }

// buffers lends out output buffers.
type buffers struct{ small, large, deflaters sync.Pool }

func newBuffers() *buffers {
	b := &buffers{}
	b.small.New = func() any { s := make([]byte, 0, smallBuffer); return &s }
	b.large.New = func() any { s := make([]byte, 0, largeBuffer+largeBuffer/8); return &s }
	return b
}

// append appends p to a lent buffer, or to none yet.
func (b *buffers) append(to, p []byte) []byte {
	if to == nil && len(p) <= smallBuffer {
		to = *b.small.Get().(*[]byte)
	}
	if len(to)+len(p) > cap(to) {
		bigger := append(*b.large.Get().(*[]byte), to...)
		b.put(to)
		to = bigger
	}
	return append(to, p...)
}

func (b *buffers) put(s []byte) {
	s = s[:0]
	switch {
	case cap(s) == smallBuffer:
		b.small.Put(&s)
	case cap(s) >= largeBuffer && cap(s) <= 2*largeBuffer:
		b.large.Put(&s)
	}
}
