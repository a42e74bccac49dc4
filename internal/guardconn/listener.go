// Package guardconn stands between the network and every server of Peyk. Its
// Listener hands out connections that are already fit to be served: the PROXY
// header is read, the limits are checked, the TLS handshake is done, each in a
// goroutine of its own, so that a slow client delays nobody. Its Conn joins
// small writes into large ones and holds the client to deadlines that suit
// what the protocol waits for: silence, a command, or data.
package guardconn

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"peyk/internal/eventlog"
)

// Defaults of Options.
const (
	DefaultHandshakeTimeout = 30 * time.Second
	DefaultProxyTimeout     = 5 * time.Second
	DefaultWriteTimeout     = 2 * time.Minute
)

// The accept loop waits this long when the system is out of files or memory,
// doubling from the first to the second.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = time.Second
)

// logEvery is the time between two log lines about the same lasting trouble.
const logEvery = time.Minute

// Options say how a Listener treats connections. The zero value is a plain
// listener without limits.
type Options struct {
	TLS              *tls.Config    // TLS from the first byte where set
	HandshakeTimeout time.Duration  // for a whole TLS handshake; 0 is DefaultHandshakeTimeout
	Proxy            []netip.Prefix // peers that must begin with a PROXY header; nobody else may
	ProxyTimeout     time.Duration  // for that header; 0 is DefaultProxyTimeout
	WriteTimeout     time.Duration  // for the client to take 64 KiB of output; 0 is DefaultWriteTimeout
	NoTickets        bool           // no TLS session tickets: a client that never comes back needs none
	Exempt           []netip.Prefix // clients to which no limit applies
	Limits           *Limits        // may be shared by several listeners; nil is no limits
	Tracker          *Tracker       // knows the live connections; nil where nobody drains them
	Farewell         string         // last line, without CRLF, for a client whose session a shutdown interrupts

	// Refusal returns the line, without CRLF, that tells a client over a limit
	// why it is not served. nil closes without a word, as TLS listeners always do.
	Refusal func(r Reason) string

	Log *eventlog.Log    // nil logs nothing
	Now func() time.Time // nil is time.Now
}

func (o Options) withDefaults() *Options {
	if o.HandshakeTimeout == 0 {
		o.HandshakeTimeout = DefaultHandshakeTimeout
	}
	if o.ProxyTimeout == 0 {
		o.ProxyTimeout = DefaultProxyTimeout
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = DefaultWriteTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &o
}

// A Listener is a net.Listener whose connections are all *Conn.
type Listener struct {
	inner   net.Listener
	options atomic.Pointer[Options]
	ready   chan *Conn
	failed  chan struct{}   // closed when the inner listener is at its end
	err     error           // why failed was closed
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	buffers *buffers
	start   sync.Once
	stop    sync.Once
	refused throttle
	waiting throttle
}

// New wraps a listener.
func New(inner net.Listener, o Options) *Listener {
	l := &Listener{inner: inner, ready: make(chan *Conn), failed: make(chan struct{}), buffers: newBuffers()}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.options.Store(o.withDefaults())
	return l
}

// SetOptions replaces the options for connections that come from now on.
func (l *Listener) SetOptions(o Options) { l.options.Store(o.withDefaults()) }

// Addr returns the address of the wrapped listener.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Accept returns the next connection that is fit to be served, a *Conn. Its
// error is final.
func (l *Listener) Accept() (net.Conn, error) {
	l.start.Do(func() { go l.loop() })
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.failed:
		return nil, l.err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close stops accepting. Connections that were accepted live on; those that
// are still being prepared are closed.
func (l *Listener) Close() error {
	var err error
	l.stop.Do(func() {
		l.cancel()
		err = l.inner.Close()
	})
	return err
}

// loop accepts until the listener fails or is closed.
func (l *Listener) loop() {
	var preparing sync.WaitGroup
	pause := firstPause
	for {
		inner, err := l.inner.Accept()
		if err == nil {
			pause = firstPause
			preparing.Go(func() { l.prepare(inner) })
			continue
		}
		if !retry(err) {
			preparing.Wait()
			l.err = err
			close(l.failed)
			return
		}
		if scarce(err) {
			l.wait(pause, err)
			pause = min(2*pause, lastPause)
		}
	}
}

// wait pauses the accept loop: the descriptor that is missing now comes back
// when a session ends.
func (l *Listener) wait(pause time.Duration, err error) {
	o := l.options.Load()
	if ok, _ := l.waiting.pass(o.Now(), logEvery); ok {
		o.Log.Event(eventlog.AcceptWait, "address", l.Addr(), "error", err)
	}
	select {
	case <-time.After(pause):
	case <-l.ctx.Done():
	}
}

// scarce reports whether accepting failed because the system is out of files
// or memory.
func scarce(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ENOBUFS)
}

// retry reports whether accept(2) may succeed after err. Linux passes the
// network errors of a connection that died in the queue through it.
func retry(err error) bool {
	if scarce(err) {
		return true
	}
	for _, e := range []error{syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO, syscall.ENETDOWN, syscall.ENOPROTOOPT,
		syscall.EHOSTDOWN, syscall.ENONET, syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ENETUNREACH, syscall.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// prepare makes a connection fit to be served and passes it to Accept.
func (l *Listener) prepare(inner net.Conn) {
	o := l.options.Load()
	c := newConn(inner, o, l.buffers)
	if err := l.admit(c, o); err != nil {
		c.Close()
		return
	}
	select {
	case l.ready <- c:
	case <-l.ctx.Done():
		c.Close()
	}
}

// errRefused ends the preparation of a connection; what there is to say has
// been said and logged.
var errRefused = errors.New("refused")

func (l *Listener) admit(c *Conn, o *Options) error {
	limits := o.Limits
	if contains(o.Proxy, address(c.RemoteAddr())) {
		// The proxy may keep us waiting too, so it counts in the total already.
		if reason := limits.enter(); reason != "" {
			return l.refuse(c, o, reason)
		}
		c.leave = append(c.leave, limits.exit)
		if err := c.readProxy(o.ProxyTimeout); err != nil {
			o.Log.Event(eventlog.Refused, "client", c.RemoteAddr(), "reason", "proxy-header", "error", err)
			return errRefused
		}
		c.release()
	}
	client := address(c.RemoteAddr())
	if !contains(o.Exempt, client) {
		leave, reason := limits.Enter(client)
		if reason != "" {
			return l.refuse(c, o, reason)
		}
		c.leave = append(c.leave, leave)
	}
	if !o.Tracker.add(c) {
		return errRefused
	}
	if o.TLS == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(l.ctx, o.HandshakeTimeout)
	defer cancel()
	if err := c.handshake(ctx, o.TLS); err != nil {
		o.Log.Event(eventlog.TLSFailed, "client", c.RemoteAddr(), "error", err)
		return err
	}
	return nil
}

// refuse tells the client why it is not served. On a TLS port there are no
// words before the handshake, and the handshake is what we want to save.
func (l *Listener) refuse(c *Conn, o *Options, reason Reason) error {
	if ok, skipped := l.refused.pass(o.Now(), time.Second); ok {
		o.Log.Event(eventlog.Refused, "client", c.RemoteAddr(), "reason", string(reason), "unlogged", skipped)
	}
	if o.Refusal == nil || o.TLS != nil {
		return errRefused
	}
	if line := o.Refusal(reason); line != "" {
		c.Write([]byte(line + "\r\n")) // the buffer of a new socket has room: this does not block
		c.Flush()
	}
	return errRefused
}

// A throttle keeps a lasting trouble from filling the log.
type throttle struct {
	mu      sync.Mutex
	next    time.Time
	skipped int
}

// pass reports whether a line may be logged, and how many were not since the
// last one.
func (t *throttle) pass(now time.Time, every time.Duration) (bool, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.next) {
		t.skipped++
		return false, 0
	}
	skipped := t.skipped
	t.next, t.skipped = now.Add(every), 0
	return true, skipped
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// address returns the IP address of a, or the invalid one where it has none,
// as on a Unix socket.
func address(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
