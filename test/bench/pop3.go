package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// A popRow gets a server and whether only to see that it works.
type popRow = row[popBox]

type popBox struct {
	*peer
	quick bool
}

var popRows = []popRow{
	{goal{"POP3 RETR in turn", "/s", 1, 2}, func(b popBox) (float64, error) { return retrieve(b, false) }},
	{goal{"POP3 RETR pipelined", "/s", 1, 1.5}, func(b popBox) (float64, error) { return retrieve(b, true) }},
	{goal{"POP3 login+UIDL+LIST", "ms", 1, 0.4}, listAll},
	{goal{"POP3 sessions x10", "/s", 1, 3}, popSessions},
}

func runPOP3(p *peer, r popRow, quick bool) (result, error) {
	if p.pop3 == "" {
		return failed, fmt.Errorf("no POP3")
	}
	flushed, used := flushes(), p.cpuTime()
	v, err := r.measure(popBox{p, quick})
	if err != nil {
		return failed, err
	}
	return result{v, flushes() - flushed, 1000 * (p.cpuTime() - used)}, nil
}

// popConn is one connection of a POP3 client.
type popConn struct {
	conn net.Conn
	r    *bufio.Reader
}

// openPOP3 logs in.
func openPOP3(p *peer, user string) (*popConn, error) {
	conn, err := net.Dial("tcp", p.pop3)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	c := &popConn{conn, bufio.NewReaderSize(conn, 64<<10)}
	if err = c.ok(); err == nil {
		err = c.do("USER "+user+"@"+p.domain, "PASS "+p.password)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *popConn) ok() error {
	line, err := c.r.ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+OK") {
		err = fmt.Errorf("%s", strings.TrimSpace(line))
	}
	return err
}

func (c *popConn) do(commands ...string) error {
	for _, command := range commands {
		if _, err := io.WriteString(c.conn, command+"\r\n"); err != nil {
			return err
		}
		if err := c.ok(); err != nil {
			return err
		}
	}
	return nil
}

// lines reads an answer of many lines, and counts them.
func (c *popConn) lines() (n int, err error) {
	if err := c.ok(); err != nil {
		return 0, err
	}
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return n, err
		}
		if string(line) == ".\r\n" {
			return n, nil
		}
		n++
	}
}

// list gives a command with an answer of many lines.
func (c *popConn) list(command string) (int, error) {
	if _, err := io.WriteString(c.conn, command+"\r\n"); err != nil {
		return 0, err
	}
	return c.lines()
}

// retrieve gets all messages.
func retrieve(b popBox, pipelined bool) (float64, error) {
	c, err := openPOP3(b.peer, "reader")
	if err != nil {
		return 0, err
	}
	defer c.conn.Close()
	n, err := c.list("LIST")
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if pipelined {
		var all bytes.Buffer
		for i := range n {
			fmt.Fprintf(&all, "RETR %d\r\n", i+1)
		}
		go c.conn.Write(all.Bytes())
	}
	for i := range n {
		if !pipelined {
			fmt.Fprintf(c.conn, "RETR %d\r\n", i+1)
		}
		if _, err := c.lines(); err != nil {
			return 0, err
		}
	}
	took := time.Since(begun)
	return float64(n) / took.Seconds(), c.do("QUIT")
}

// listAll logs in and lists the mailbox as a client that keeps mail does.
func listAll(b popBox) (float64, error) {
	begun := time.Now()
	c, err := openPOP3(b.peer, "reader")
	if err != nil {
		return 0, err
	}
	defer c.conn.Close()
	for _, command := range []string{"UIDL", "LIST"} {
		if _, err := c.list(command); err != nil {
			return 0, err
		}
	}
	took := milliseconds(time.Since(begun))
	return took, c.do("QUIT")
}

// popSessions looks into empty mailboxes again and again, ten at a time, each
// its own.
func popSessions(b popBox) (float64, error) {
	n := 1000
	if b.quick {
		n = 50
	}
	var next, worker atomic.Int64
	begun := time.Now()
	err := inParallel(10, func() error {
		user := fmt.Sprintf("u%02d", worker.Add(1))
		for int(next.Add(1)) <= n {
			c, err := openPOP3(b.peer, user)
			if err != nil {
				return err
			}
			_, err = c.list("LIST")
			if err == nil {
				err = c.do("QUIT")
			}
			c.conn.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
	return float64(n) / time.Since(begun).Seconds(), err
}
