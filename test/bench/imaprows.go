package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An imapRow is one figure. It gets a connection with the mailbox to read
// selected; "more" units are better high, "ms" and "KB" low.
type imapRow struct {
	name, unit string
	measure    func(c *imapConn) (float64, error)
}

var imapRows = []imapRow{
	{"PSS of an idle connection", "KB", func(c *imapConn) (float64, error) { pss, _, err := idleMemory(c); return pss, err }},
	{"RSS of an idle connection", "KB", func(c *imapConn) (float64, error) { _, rss, err := idleMemory(c); return rss, err }},
	{"LOGIN", "ms", login},
	{"SELECT", "ms", selectInbox},
	{"FETCH uid flags size", "ms", timed("FETCH 1:* (UID FLAGS RFC822.SIZE)")},
	{"FETCH envelope", "ms", timed("FETCH 1:* (UID ENVELOPE)")},
	{"FETCH envelope again", "ms", timed("FETCH 1:* (UID ENVELOPE)")},
	{"FETCH bodystructure", "ms", timed("FETCH 1:* (UID BODYSTRUCTURE)")},
	{"FETCH header field", "ms", timed("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (X-NONE SUBJECT)])")},
	{"FETCH whole bodies", "ms", timed("FETCH 1:* (BODY.PEEK[])")},
	{"SEARCH subject", "ms", timed("SEARCH SUBJECT 9999")},
	{"STORE 1000 flags", "ms", timed("STORE 1:1000 +FLAGS (\\Flagged)", "STORE 1:1000 -FLAGS (\\Flagged)")},
	{"STORE one at a time", "/s", storeEach},
	{"COPY 1000", "ms", timed("CREATE Copies", "COPY 1:1000 Copies", "DELETE Copies")},
	{"APPEND 4 KB", "/s", appendEach},
	{"LOGIN+SELECT+LOGOUT, 10", "/s", sessions},
	{"IDLE notice p50", "ms", func(c *imapConn) (float64, error) { return notice(c, 50) }},
	{"IDLE notice, slowest", "ms", func(c *imapConn) (float64, error) { return notice(c, 100) }},
}

// imapResult is what one run of a row measured.
type imapResult struct{ value, flushes float64 }

// runIMAP takes each row once.
func runIMAP(p *peer, rows []imapRow, quick bool) ([]imapResult, error) {
	c, err := openIMAP(p, "reader@"+p.domain, 256<<10)
	if err != nil {
		return nil, err
	}
	defer c.conn.Close()
	c.quick = quick
	var results []imapResult
	for _, row := range rows {
		c.conn.SetDeadline(time.Now().Add(2 * time.Minute))
		flushed := flushes()
		v, err := row.measure(c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", row.name, err)
		}
		results = append(results, imapResult{v, flushes() - flushed})
	}
	return results, nil
}

// times returns how often something is done: less if it is only to be seen
// that it works.
func (c *imapConn) times(n int) int {
	if c.quick {
		return max(n/20, 5)
	}
	return n
}

// timed takes the time of a command. Of three it is the second one: the others
// prepare it and undo it. Of two it is the first.
func timed(commands ...string) func(*imapConn) (float64, error) {
	at := (len(commands) - 1) / 2
	return func(c *imapConn) (float64, error) {
		if err := c.do(commands[:at]...); err != nil {
			return 0, err
		}
		begun := time.Now()
		if err := c.do(commands[at]); err != nil {
			return 0, err
		}
		took := milliseconds(time.Since(begun))
		return took, c.do(commands[at+1:]...)
	}
}

// selectInbox takes the time of SELECT as the first command of a session, with
// nobody else at the mailbox.
func selectInbox(c *imapConn) (float64, error) {
	if err := c.do("CLOSE"); err != nil {
		return 0, err
	}
	other, err := dialIMAP(c.peer, 4096)
	if err != nil {
		return 0, err
	}
	defer other.conn.Close()
	took, err := timed(other.loginAs("reader@"+c.domain), "SELECT INBOX", "LOGOUT")(other)
	if err != nil {
		return 0, err
	}
	return took, c.do("SELECT INBOX")
}

// login takes the time of LOGIN on a connection that is greeted.
func login(c *imapConn) (float64, error) {
	other, err := dialIMAP(c.peer, 4096)
	if err != nil {
		return 0, err
	}
	defer other.conn.Close()
	return timed(other.loginAs("reader@" + c.domain))(other)
}

// storeEach stores a flag in each of 1,000 messages, one command for each.
func storeEach(c *imapConn) (float64, error) {
	n, begun := c.times(1000), time.Now()
	for i := range n {
		if err := c.do(fmt.Sprintf("STORE %d +FLAGS (\\Answered)", i+1)); err != nil {
			return 0, err
		}
	}
	took := time.Since(begun)
	return float64(n) / took.Seconds(), c.do("STORE 1:1000 -FLAGS (\\Answered)")
}

// appendEach appends messages to a mailbox of its own. Each reply means that
// the message is on disk.
func appendEach(c *imapConn) (float64, error) {
	if err := c.do("CREATE Appends"); err != nil {
		return 0, err
	}
	text := "From: a@bench.example\r\nSubject: appended\r\n\r\n" + strings.Repeat(textLine, 4096/len(textLine))
	n, begun := c.times(500), time.Now()
	for range n {
		if _, err := fmt.Fprintf(c.conn, "x APPEND Appends {%d}\r\n", len(text)); err != nil {
			return 0, err
		}
		if err := c.until("+", ""); err != nil {
			return 0, err
		}
		if _, err := io.WriteString(c.conn, text+"\r\n"); err != nil {
			return 0, err
		}
		if err := c.reply(); err != nil {
			return 0, err
		}
	}
	took := time.Since(begun)
	return float64(n) / took.Seconds(), c.do("DELETE Appends")
}

// sessions opens an empty mailbox again and again, ten at a time.
func sessions(c *imapConn) (float64, error) {
	n := c.times(1000)
	var next atomic.Int64
	begun := time.Now()
	err := inParallel(10, func() error {
		for int(next.Add(1)) <= n {
			other, err := openIMAP(c.peer, "idler@"+c.domain, 4096)
			if err != nil {
				return err
			}
			err = other.do("LOGOUT")
			other.conn.Close()
			if err != nil {
				return err
			}
		}
		return nil
	})
	return float64(n) / time.Since(begun).Seconds(), err
}

// inParallel runs f n times at once and returns the first error.
func inParallel(n int, f func() error) error {
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		wg.Go(func() { errs <- f() })
	}
	wg.Wait()
	for range n {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// notice sends mail to a client in IDLE and returns a percentile of the times
// from the final dot to its EXISTS.
func notice(c *imapConn, percent int) (float64, error) {
	other, err := openIMAP(c.peer, "idler@"+c.domain, 4096)
	if err != nil {
		return 0, err
	}
	defer other.conn.Close()
	addr, hello := c.smtp, "EHLO"
	if c.lmtp != "" {
		addr, hello = c.lmtp, "LHLO"
	}
	sender, err := dialSMTP(addr, hello)
	if err != nil {
		return 0, err
	}
	defer sender.conn.Close()
	if err := other.idle(); err != nil {
		return 0, err
	}
	var times []float64
	for range c.times(20) {
		took, err := oneNotice(sender, other)
		if err != nil {
			return 0, err
		}
		times = append(times, took)
	}
	slices.Sort(times)
	return times[(len(times)-1)*percent/100], nil
}

func oneNotice(sender *smtpConn, waiting *imapConn) (float64, error) {
	time.Sleep(20 * time.Millisecond) // the client of the last one is idle again
	seen := make(chan time.Time, 1)
	failed := make(chan error, 1)
	go func() {
		err := waiting.until("* ", " EXISTS")
		seen <- time.Now()
		failed <- err
	}()
	begun := time.Now()
	took, err := sender.send("a@bench.example", []string{"idler@" + waiting.domain}, "Subject: news\r\n\r\n", []byte(textLine))
	if err != nil {
		return 0, err
	}
	dot := begun.Add(time.Since(begun) - took)
	return milliseconds((<-seen).Sub(dot)), <-failed
}

// idleMemory returns what each of 500 idle connections adds to the memory of a
// server, in KB: more than it had at its start, as memory that other rows left
// to it would hide them. These rows stand first, so that they left little.
func idleMemory(c *imapConn) (pss, rss float64, err error) {
	n := c.times(500)
	c.settle()
	if c.fresh == [2]float64{} {
		c.fresh[0], c.fresh[1] = c.memory()
	}
	for i := range n {
		other, err := openIMAP(c.peer, c.user(i), 1024)
		if err != nil {
			return 0, 0, err
		}
		defer other.conn.Close()
		if err := other.idle(); err != nil {
			return 0, 0, err
		}
	}
	c.settle()
	pss, rss = c.memory()
	kb := 1024 / float64(n)
	return (pss - c.fresh[0]) * kb, (rss - c.fresh[1]) * kb, nil
}
