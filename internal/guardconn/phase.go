package guardconn

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// A Phase says what the server waits for, and how long. A limit of 0 is none.
//
// For a command: Idle is the autologout, Whole the time for the rest of the
// line after its first byte, so that a client that drips bytes cannot stay.
// For data: Whole is the overall limit, and Rate the least speed.
type Phase struct {
	Idle    time.Duration // longest silence before the first byte
	Whole   time.Duration // from the first byte to the next SetPhase
	Rate    int64         // least bytes per second, on average over each Window
	Window  time.Duration // counts only the time in which we wait for the client
	Command bool          // a shutdown may interrupt it
}

// ErrShutdown is what Read returns once Interrupt has been called and the
// session waits for a command.
var ErrShutdown = errors.New("the server is shutting down")

// ErrDismissed is what Read returns instead once Dismiss has been called.
var ErrDismissed = errors.New("the session was ended by the server")

// A TimeoutError is a client that was too slow.
type TimeoutError struct {
	Limit string        // idle, whole or rate: the field of Phase; write: it took no output
	After time.Duration // its value; for rate the window
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("the client is too slow: %s limit after %s", e.Limit, e.After)
}

// Timeout is true, as net.Error wants it.
func (e *TimeoutError) Timeout() bool { return true }

// Temporary is false: the connection cannot be used any more.
func (e *TimeoutError) Temporary() bool { return false }

// Is makes the error one of os.ErrDeadlineExceeded.
func (e *TimeoutError) Is(target error) bool { return target == os.ErrDeadlineExceeded }

func isTimeout(err error) bool {
	var t *TimeoutError
	return errors.As(err, &t)
}

// timing computes the deadline of a Read that blocks.
type timing struct {
	mu          sync.Mutex
	phase       Phase
	since       time.Time // when the first wait of the phase began; zero before
	first       time.Time // when its first byte came; zero before
	bytes       int64     // in the window
	waited      time.Duration
	armedAt     time.Time // zero unless a Read is blocked
	explicit    time.Time // of SetReadDeadline
	interrupted bool
	dismissed   bool
}

// SetPhase begins a phase: the clocks of Idle, Whole and Rate start again.
func (c *Conn) SetPhase(p Phase) { c.timing.reset(p) }

// SetReadDeadline sets a deadline besides those of the phase. A Read that it
// ends fails with os.ErrDeadlineExceeded, and may be tried again.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.timing.setExplicit(c.sock, t) }

// SetWriteDeadline does nothing: Options.WriteTimeout rules.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// Interrupt asks the session to end: as soon as it waits for a command, its
// Read returns ErrShutdown, after the farewell of the options was sent.
func (c *Conn) Interrupt() {
	c.timing.interrupt(c.sock)
	if c.shaking.Load() {
		c.sock.Close()
	}
}

// dismissGrace is how long a session that is dismissed may go on with what it
// is doing.
const dismissGrace = 500 * time.Millisecond

// Dismiss ends the session as Interrupt does, with a farewell of its own, which
// has no CRLF and may be empty; Read returns ErrDismissed. A session that does
// not come to a command soon is cut off. It may be called after Close.
func (c *Conn) Dismiss(farewell string) {
	c.farewell.Store(&farewell)
	c.timing.dismiss()
	c.Interrupt()
	time.AfterFunc(dismissGrace, func() { c.sock.Close() })
}

func (t *timing) dismiss() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dismissed = true
}

// why says why an interrupted session ends. It wants t.mu.
func (t *timing) why() error {
	if t.dismissed {
		return ErrDismissed
	}
	return ErrShutdown
}

func (t *timing) reset(p Phase) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.phase = p
	t.since, t.first = time.Time{}, time.Time{}
	t.bytes, t.waited = 0, 0
}

// arm sets the deadline of a Read that is about to block.
func (t *timing) arm(sock net.Conn, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.interrupted && t.phase.Command {
		return t.why()
	}
	if t.since.IsZero() {
		t.since = now
	}
	t.armedAt = now
	if d := t.deadline(); !d.IsZero() {
		return sock.SetReadDeadline(d)
	}
	return nil
}

// disarm is called after the Read; no deadline may be left, because it would
// fail a Read for which there is data.
func (t *timing) disarm(sock net.Conn, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waited += now.Sub(t.armedAt)
	t.armedAt = time.Time{}
	sock.SetReadDeadline(time.Time{})
}

// deadline returns the earliest one, or zero. It wants t.mu and t.armedAt.
func (t *timing) deadline() time.Time {
	d := t.explicit
	sooner := func(e time.Time) {
		if d.IsZero() || e.Before(d) {
			d = e
		}
	}
	if t.phase.Idle > 0 && t.first.IsZero() {
		sooner(t.since.Add(t.phase.Idle))
	}
	if t.phase.Whole > 0 && !t.first.IsZero() {
		sooner(t.first.Add(t.phase.Whole))
	}
	if t.phase.Rate > 0 {
		sooner(t.armedAt.Add(t.phase.Window - t.waited))
	}
	return d
}

// got counts n bytes.
func (t *timing) got(n int, now func() time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes += int64(n)
	if t.first.IsZero() {
		t.first = now()
	}
	if t.phase.Rate > 0 && t.waited >= t.phase.Window && t.fastEnough() {
		t.bytes, t.waited = 0, 0
	}
}

func (t *timing) fastEnough() bool {
	return float64(t.bytes) >= float64(t.phase.Rate)*t.phase.Window.Seconds()
}

// expired says which limit a Read met that ran into its deadline; nil means
// that it may go on.
func (t *timing) expired(now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.phase
	switch {
	case t.interrupted && p.Command:
		return t.why()
	case p.Idle > 0 && t.first.IsZero() && now.Sub(t.since) >= p.Idle:
		return &TimeoutError{"idle", p.Idle}
	case p.Whole > 0 && !t.first.IsZero() && now.Sub(t.first) >= p.Whole:
		return &TimeoutError{"whole", p.Whole}
	case p.Rate > 0 && t.waited >= p.Window && !t.fastEnough():
		return &TimeoutError{"rate", p.Window}
	case !t.explicit.IsZero() && !now.Before(t.explicit):
		return os.ErrDeadlineExceeded
	}
	if p.Rate > 0 && t.waited >= p.Window {
		t.bytes, t.waited = 0, 0
	}
	return nil
}

func (t *timing) setExplicit(sock net.Conn, at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.explicit = at
	if t.armedAt.IsZero() {
		return nil
	}
	return sock.SetReadDeadline(t.deadline())
}

func (t *timing) interrupt(sock net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.interrupted = true
	if t.phase.Command && !t.armedAt.IsZero() {
		sock.SetReadDeadline(time.Unix(1, 0))
	}
}

func (t *timing) shutdown() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.interrupted
}
