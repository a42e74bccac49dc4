package guardconn

import (
	"io"
	"io/fs"
	"net"
	"os"
	"sync"
	"time"
)

// lastWords is how long Close waits until a pipe has taken the output.
const lastWords = 5 * time.Second

// Stdin returns a listener with one connection: the socket that inetd or
// systemd (Accept=yes) passed as standard input, or the two pipes of a
// program such as ssh. Once that connection is closed, Accept returns
// net.ErrClosed.
func Stdin(in, out *os.File) net.Listener {
	l := &single{conn: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conn <- &closer{Conn: stdio(in, out), closed: l.close}
	return l
}

// stdio makes one connection of two files.
func stdio(in, out *os.File) net.Conn {
	// FileConn makes whatever it is given non-blocking, so ask first.
	if info, err := in.Stat(); err == nil && info.Mode().Type() == fs.ModeSocket {
		if c, err := net.FileConn(in); err == nil {
			return c
		}
	}
	// Pipes and terminals may be shared with other processes, so they must stay
	// blocking; two pumps give them deadlines.
	inOurs, inFar := net.Pipe()
	outOurs, outFar := net.Pipe()
	s := &pumped{Conn: inOurs, out: outOurs, drained: make(chan struct{})}
	go func() {
		io.Copy(inFar, in)
		inFar.Close()
	}()
	go func() {
		io.Copy(out, outFar)
		outFar.Close()
		close(s.drained)
	}()
	return s
}

// pumped is a connection over two pipes: reads go to the embedded one.
type pumped struct {
	net.Conn
	out     net.Conn
	drained chan struct{} // closed when all output is written
}

func (s *pumped) Write(p []byte) (int, error)        { return s.out.Write(p) }
func (s *pumped) SetWriteDeadline(t time.Time) error { return s.out.SetWriteDeadline(t) }

func (s *pumped) SetDeadline(t time.Time) error {
	s.out.SetWriteDeadline(t)
	return s.Conn.SetReadDeadline(t)
}

// Close waits for the output: the process may end right afterwards.
func (s *pumped) Close() error {
	s.out.Close()
	select {
	case <-s.drained:
	case <-time.After(lastWords):
	}
	return s.Conn.Close()
}

// single is a listener with one connection.
type single struct {
	conn chan net.Conn
	done chan struct{}
	once sync.Once
}

func (l *single) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	default:
	}
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *single) close()         { l.once.Do(func() { close(l.done) }) }
func (l *single) Close() error   { l.close(); return nil }
func (l *single) Addr() net.Addr { return stdinAddr{} }

type stdinAddr struct{}

func (stdinAddr) Network() string { return "stdio" }
func (stdinAddr) String() string  { return "stdin" }

// closer tells the listener when its connection ends.
type closer struct {
	net.Conn
	closed func()
}

// Close ends the output of a socket for the process that started us too: it
// shares our standard input and would keep the socket open.
func (c *closer) Close() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	err := c.Conn.Close()
	c.closed()
	return err
}

// NetConn returns the connection below, as tls.Conn does.
func (c *closer) NetConn() net.Conn { return c.Conn }
