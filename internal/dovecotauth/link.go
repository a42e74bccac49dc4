package dovecotauth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Times of a client.
const (
	defaultTimeout = 30 * time.Second
	firstPause     = 100 * time.Millisecond // before a second connect, doubling
	longestPause   = 2 * time.Second
)

// errClosed is the end of a client that its owner closed.
var errClosed = errors.New("the client was closed")

// mux shares one connection between any number of requests.
type mux struct {
	socket    string
	options   Options
	handshake func(net.Conn, *bufio.Reader) error

	mu     sync.Mutex // guards what follows; held while connecting
	link   *link
	pause  time.Duration // after a connect that failed
	notYet time.Time     // no connect before
	why    error         // of the last failure
	closed bool
}

// link is one connection and the requests under way on it.
type link struct {
	conn net.Conn
	read atomic.Uint64 // lines that came
	down chan struct{} // closed when the link is dead

	mu    sync.Mutex
	next  uint32
	calls map[uint32]*call
	dead  error // why no more calls can be made
}

// A call is one request under way.
type call struct {
	id      uint32
	link    *link
	replies chan message
	gone    chan struct{} // closed when nobody waits any more
	fresh   bool          // the link was made for this call
}

func (o Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

func (o Options) timeout() time.Duration {
	if o.Timeout <= 0 {
		return defaultTimeout
	}
	return o.Timeout
}

// connected returns the live link, making it if need be. After a failure it
// does not try again for a while: many sessions ask at once.
func (m *mux) connected(ctx context.Context) (l *link, fresh bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, false, errClosed
	}
	if m.link != nil && m.link.alive() {
		return m.link, false, nil
	}
	if m.options.now().Before(m.notYet) {
		return nil, false, m.why
	}
	m.link, err = m.dial(ctx)
	if err == nil {
		m.pause, m.notYet = 0, time.Time{}
		return m.link, true, nil
	}
	m.pause = min(max(2*m.pause, firstPause), longestPause)
	m.notYet = m.options.now().Add(m.pause)
	m.why = err
	return nil, false, err
}

func (m *mux) dial(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.options.timeout()) // others wait for it too
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", m.socket)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	r := bufio.NewReaderSize(conn, maxReply)
	err = m.handshake(conn, r)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("handshake on %s: %w", m.socket, err)
	}
	l := &link{conn: conn, calls: make(map[uint32]*call), down: make(chan struct{})}
	go l.receive(r)
	return l, nil
}

// call sends a request, which build makes for its id. finish must be called
// when no more replies are wanted.
func (m *mux) call(ctx context.Context, build func(id uint32) []byte) (*call, error) {
	c, err := m.register(ctx)
	if err != nil {
		return nil, err
	}
	l := c.link
	if err := l.send(build(c.id), m.options.timeout()); err != nil {
		c.finish()
		return c, err
	}
	return c, nil
}

// register makes a call on a live link. A link may die between the two steps;
// a new one hardly does.
func (m *mux) register(ctx context.Context) (*call, error) {
	for {
		l, fresh, err := m.connected(ctx)
		if err != nil {
			return nil, err
		}
		c, err := l.register()
		if err == nil {
			c.fresh = fresh
			return c, nil
		}
		if fresh {
			return nil, err
		}
	}
}

func (m *mux) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.link != nil {
		m.link.end(errClosed)
	}
	return nil
}

func (l *link) alive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead == nil
}

func (l *link) register() (*call, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return nil, l.dead
	}
	l.next++
	for l.next == 0 || l.calls[l.next] != nil {
		l.next++
	}
	c := &call{id: l.next, link: l, replies: make(chan message, 16), gone: make(chan struct{})}
	l.calls[c.id] = c
	return c, nil
}

// send writes one request. The buffer is wiped: it may hold a password.
func (l *link) send(b []byte, timeout time.Duration) error {
	defer clear(b)
	l.conn.SetWriteDeadline(time.Now().Add(timeout))
	if _, err := l.conn.Write(b); err != nil { // one Write is one line: net.Conn does not mix them
		l.end(err)
		return err
	}
	return nil
}

// end closes the link; all calls on it fail.
func (l *link) end(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return
	}
	l.dead = why
	l.conn.Close()
	close(l.down)
}

// receive hands lines to their calls until the connection ends.
func (l *link) receive(r *bufio.Reader) {
	for {
		m, err := readMessage(r)
		if err != nil {
			l.end(fmt.Errorf("connection lost: %w", err))
			return
		}
		l.read.Add(1)
		id, ok := m.id()
		if !ok {
			l.end(garbage("a reply without a number"))
			return
		}
		l.hand(id, m)
	}
}

// hand passes a reply on. One that nobody waits for any more is dropped.
func (l *link) hand(id uint32, m message) {
	l.mu.Lock()
	c := l.calls[id]
	l.mu.Unlock()
	if c == nil {
		return
	}
	select {
	case c.replies <- m:
	case <-c.gone:
	case <-l.down:
	}
}

// reply waits for the next reply. A link that was silent all the while is
// given up: its server hangs.
func (c *call) reply(ctx context.Context) (message, error) {
	before := c.link.read.Load()
	select {
	case m := <-c.replies:
		return m, nil
	case <-c.link.down:
		return c.last()
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && c.link.read.Load() == before {
			c.link.end(errors.New("no answer in time"))
		}
		return message{}, ctx.Err()
	}
}

// last returns a reply that came before the link died.
func (c *call) last() (message, error) {
	select {
	case m := <-c.replies:
		return m, nil
	default:
		return message{}, c.link.reason()
	}
}

func (l *link) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// finish forgets the call.
func (c *call) finish() {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	select {
	case <-c.gone:
		return
	default:
	}
	close(c.gone)
	if c.link.calls[c.id] == c {
		delete(c.link.calls, c.id)
	}
}
