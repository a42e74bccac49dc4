package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// perConnection is how many messages a session sends before it comes anew.
const perConnection = 10

// smtpRow is one load: n messages of a size over some sessions at once.
type smtpRow struct {
	name     string
	sessions int
	messages int
	size     int
}

// smtpResult is what one run of a row measured.
type smtpResult struct {
	delivered float64 // messages a second, until the last one lies in new/
	cpu       float64 // CPU seconds of the server for 1,000 messages
	p50, p99  float64 // from the final dot to its reply, in milliseconds
	lost      int
}

// runSMTP sends the messages and waits until every one is in a Maildir.
func runSMTP(p *peer, row smtpRow, run int) (smtpResult, error) {
	before, err := p.count()
	if err != nil {
		return smtpResult{}, err
	}
	cpu := p.cpu()
	begun := time.Now()
	latencies, err := blast(p, row, run)
	if err != nil {
		return smtpResult{}, err
	}
	lost, err := p.await(before + row.messages)
	took := time.Since(begun)
	if err != nil {
		return smtpResult{}, err
	}
	slices.Sort(latencies)
	return smtpResult{
		delivered: float64(row.messages-lost) / took.Seconds(),
		cpu:       (p.cpu() - cpu) / float64(row.messages) * 1000,
		p50:       milliseconds(latencies[len(latencies)/2]),
		p99:       milliseconds(latencies[len(latencies)*99/100]),
		lost:      lost,
	}, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// blast runs the sessions and returns the time of each final dot.
func blast(p *peer, row smtpRow, run int) ([]time.Duration, error) {
	var next atomic.Int64
	var mu sync.Mutex
	var all []time.Duration
	var first error
	var wg sync.WaitGroup
	for range row.sessions {
		wg.Go(func() {
			times, err := session(p, row, run, &next)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, times...)
			if first == nil {
				first = err
			}
		})
	}
	wg.Wait()
	return all, first
}

// session takes numbers until all messages are sent.
func session(p *peer, row smtpRow, run int, next *atomic.Int64) ([]time.Duration, error) {
	var times []time.Duration
	body := bytes.Repeat([]byte("0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n"), row.size/65+1)[:row.size]
	copy(body[len(body)-2:], "\r\n")
	for {
		conn, err := net.Dial("tcp", p.smtp)
		if err != nil {
			return times, err
		}
		done, err := burst(conn, p, row, run, next, body, &times)
		conn.Close()
		if done || err != nil {
			return times, err
		}
	}
}

// burst sends up to perConnection messages over one connection.
func burst(conn net.Conn, p *peer, row smtpRow, run int, next *atomic.Int64, body []byte, times *[]time.Duration) (done bool, err error) {
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReader(conn)
	if err := expect(r, "220"); err != nil {
		return false, err
	}
	if err := say(conn, r, "EHLO bench.example\r\n", "250"); err != nil {
		return false, err
	}
	for range perConnection {
		n := int(next.Add(1)) - 1
		if n >= row.messages {
			return true, nil
		}
		head := fmt.Sprintf("From: a@bench.example\r\nTo: b@bench.example\r\nSubject: %s %d %d\r\nMessage-ID: <%d.%d.%d@bench.example>\r\n\r\n", row.name, run, n, run, n, row.sessions)
		for _, step := range [][2]string{{"MAIL FROM:<a@bench.example>\r\n", "250"}, {"RCPT TO:<" + p.user(n) + ">\r\n", "250"}, {"DATA\r\n", "354"}} {
			if err := say(conn, r, step[0], step[1]); err != nil {
				return false, err
			}
		}
		buf := append(append([]byte(head), body...), ".\r\n"...)
		start := time.Now()
		if _, err := conn.Write(buf); err != nil {
			return false, err
		}
		if err := expect(r, "250"); err != nil {
			return false, err
		}
		*times = append(*times, time.Since(start))
	}
	return false, say(conn, r, "QUIT\r\n", "221")
}

func say(w io.Writer, r *bufio.Reader, command, want string) error {
	if _, err := io.WriteString(w, command); err != nil {
		return err
	}
	return expect(r, want)
}

func expect(r *bufio.Reader, want string) error {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, want) {
			return fmt.Errorf("got %q, want %s", line, want)
		}
		if len(line) > 3 && line[3] == ' ' {
			return nil
		}
	}
}

// count returns how many messages lie in the new/ of all users.
func (p *peer) count() (int, error) {
	n := 0
	for i := range users {
		entries, err := os.ReadDir(filepath.Join(p.maildir(i), "new"))
		if err != nil && !os.IsNotExist(err) {
			return 0, err
		}
		n += len(entries)
	}
	return n, nil
}

// patience is how long the last messages may take.
const patience = 60 * time.Second

// await waits until n messages are there; lost is how many never came.
func (p *peer) await(n int) (lost int, err error) {
	deadline := time.Now().Add(patience)
	for {
		have, err := p.count()
		if err != nil || have >= n {
			return 0, err
		}
		if time.Now().After(deadline) {
			return n - have, nil
		}
		time.Sleep(2 * time.Millisecond)
	}
}
