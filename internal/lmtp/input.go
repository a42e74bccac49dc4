package lmtp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// inputSize is how much of the input a session buffers: a small transaction
// comes whole in one read.
const inputSize = 32 << 10

var errLineLong = errors.New("the line is too long")

// wire is the connection of a session: a buffer for what came and one for
// what is to be answered. The answers go out when the next read would block,
// all together.
type wire struct {
	conn net.Conn
	o    *Options
	buf  []byte
	r, w int    // buf[r:w] has come and is not used yet
	out  []byte // replies

	mu       sync.Mutex // guards the deadline against drain
	content  bool       // within a message
	draining bool

	began    time.Time // of the message
	received int64     // octets of the message so far
}

// buffered returns what has come and is not used yet.
func (x *wire) buffered() []byte { return x.buf[x.r:x.w] }

// fill reads more, after it has sent what is to be answered.
func (x *wire) fill() error {
	if err := x.flush(); err != nil {
		return err
	}
	if x.r > 0 {
		x.w = copy(x.buf, x.buf[x.r:x.w])
		x.r = 0
	}
	if x.w == len(x.buf) {
		return errLineLong // callers use up what they have before it comes to this
	}
	n, err := x.conn.Read(x.buf[x.w:])
	x.w += n
	if n > 0 {
		return nil // an error comes back with the next read
	}
	return err
}

func (x *wire) flush() error {
	if len(x.out) == 0 {
		return nil
	}
	x.conn.SetWriteDeadline(time.Now().Add(x.o.Write))
	_, err := x.conn.Write(x.out)
	x.out = x.out[:0]
	return err
}

// until gives the next reads their deadline. A session that is drained does
// not wait for a command.
func (x *wire) until(t time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.draining && !x.content {
		t = time.Unix(1, 0)
	}
	x.conn.SetReadDeadline(t)
}

// drain ends the wait for a command, now and from now on.
func (x *wire) drain() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.draining = true
	if !x.content {
		x.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

func (x *wire) isDraining() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.draining
}

// setContent says whether a message is being read; began starts its clock.
func (x *wire) setContent(on bool) {
	x.mu.Lock()
	x.content = on
	x.mu.Unlock()
	if on {
		x.began, x.received = time.Now(), 0
	}
}

// line returns the next command line without its line end, and whether that
// was CRLF. It is valid until the next call. A line that the connection's end
// cuts off is not returned.
func (x *wire) line() (line []byte, crlf bool, err error) {
	searched := 0
	started := x.r < x.w
	x.until(time.Now().Add(x.lineTime(started)))
	for {
		if i := bytes.IndexByte(x.buf[x.r+searched:x.w], '\n'); i >= 0 {
			n := searched + i + 1
			line = x.buf[x.r : x.r+n-1]
			x.r += n
			if n > x.o.MaxLine {
				return nil, false, errLineLong
			}
			if n > 1 && line[n-2] == '\r' {
				return line[:n-2], true, nil
			}
			return line, false, nil
		}
		searched = x.w - x.r
		if searched >= x.o.MaxLine {
			return nil, false, errLineLong
		}
		if err := x.fill(); err != nil {
			return nil, false, err
		}
		if !started { // the first byte is there: now the line has its own, shorter time
			started = true
			x.until(time.Now().Add(x.o.Command))
		}
	}
}

func (x *wire) lineTime(started bool) time.Duration {
	if started {
		return x.o.Command
	}
	return x.o.Idle
}

// more reads more of a message, within the time that its progress and the
// least rate allow.
func (x *wire) more() error {
	now := time.Now()
	limit := x.began.Add(x.o.Data + time.Duration(x.received/x.o.Rate)*time.Second)
	if t := now.Add(x.o.Data); t.Before(limit) {
		limit = t
	}
	x.until(limit)
	err := x.fill()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
