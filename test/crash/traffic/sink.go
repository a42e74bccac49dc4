package traffic

import (
	"bytes"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A Sink is somebody else's mail server. It takes everything, and notes it in
// the ledger when it says 250 to the final dot.
type Sink struct {
	Addr string

	ledger *Ledger
	listen net.Listener
	n      atomic.Int64
	mu     sync.Mutex
	open   map[net.Conn]bool
}

// NewSink listens on a loopback port until the test ends.
func NewSink(t testing.TB, ledger *Ledger) *Sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink{Addr: l.Addr().String(), ledger: ledger, listen: l, open: map[net.Conn]bool{}}
	go s.accept()
	t.Cleanup(func() { l.Close(); s.Reset() })
	return s
}

func (s *Sink) accept() {
	for {
		conn, err := s.listen.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open[conn] = true
		s.mu.Unlock()
		go s.serve(conn)
	}
}

// Reset resets every connection that is open, and returns how many.
func (s *Sink) Reset() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		conn.Close()
	}
	return len(s.open)
}

func (s *Sink) serve(conn net.Conn) {
	c := textproto.NewConn(conn)
	defer func() {
		c.Close()
		s.mu.Lock()
		delete(s.open, conn)
		s.mu.Unlock()
	}()
	c.PrintfLine("220 sink.example ESMTP")
	for {
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); verb {
		case "EHLO":
			c.PrintfLine("250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 99999999")
		case "DATA":
			c.PrintfLine("354 go on")
			if s.data(c) != nil {
				return
			}
			c.PrintfLine("250 2.0.0 taken")
		case "QUIT":
			c.PrintfLine("221 bye")
			return
		default:
			c.PrintfLine("250 2.0.0 ok")
		}
	}
}

func (s *Sink) data(c *textproto.Conn) error {
	var text []byte
	for {
		line, err := c.R.ReadBytes('\n')
		if err != nil {
			return err
		}
		if string(line) == ".\r\n" {
			s.ledger.See(fmt.Sprint("sink ", s.n.Add(1)), text)
			return nil
		}
		text = append(text, bytes.TrimPrefix(line, []byte("."))...)
	}
}
