package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// An imapRow gets a connection with the mailbox to read selected.
type imapRow = row[*imapConn]

var imapRows = []imapRow{
	{goal{"idle connection", "KB", 0.4, 64.0 / 542}, func(c *imapConn) (float64, error) { return idleMemory(c, c.imap, false) }},
	{goal{"idle connection, TLS", "KB", 0.4, 0}, func(c *imapConn) (float64, error) { return idleMemory(c, c.imaps, true) }},
	{goal{"IDLE notice p50", "ms", 0.2, 10.0 / 502}, func(c *imapConn) (float64, error) { return notice(c, 50) }},
	{goal{"IDLE notice p99", "ms", 0.2, 30.0 / 510}, func(c *imapConn) (float64, error) { return notice(c, 99) }},
	{goal{"LOGIN+SELECT cold", "ms", 1.5, 0.7}, cold()},
	{goal{"FETCH envelope cold", "ms", 1, 0.4}, cold("FETCH 1:* (UID ENVELOPE)")},
	{goal{"FETCH structure cold", "ms", 1.2, 0.6}, cold("FETCH 1:* (UID BODYSTRUCTURE)")},
	{goal{"LOGIN+SELECT warm", "ms", 1, 0.5}, warm},
	{goal{"FETCH uid flags size", "ms", 1.5, 1}, timed("FETCH 1:* (UID FLAGS RFC822.SIZE)")},
	{goal{"FETCH envelope warm", "ms", 1, 0.5}, again("FETCH 1:* (UID ENVELOPE)")},
	{goal{"FETCH structure warm", "ms", 2, 1}, again("FETCH 1:* (UID BODYSTRUCTURE)")},
	{goal{"FETCH header fields", "ms", 1, 0.5}, timed("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (X-BENCH-ID LIST-ID)])")},
	{goal{"FETCH common fields", "ms", 1, 0.5}, again("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (DATE FROM TO CC SUBJECT REFERENCES)])")},
	{goal{"FETCH whole bodies", "MB/s", 1, 2}, bodies},
	{goal{"SEARCH unseen", "ms", 1, 0}, timed("SEARCH UNSEEN")},
	{goal{"SEARCH subject", "ms", 1.5, 1}, again("SEARCH SUBJECT \"about invoice\"")},
	{goal{"SEARCH since", "ms", 0.5, 0.1}, again("SEARCH SINCE 1-Jun-2026")},
	{goal{"SEARCH header", "ms", 1, 0.5}, timed("SEARCH HEADER X-Bench-Id \"-4242\"")},
	{goal{"SEARCH text", "ms", 1, 0.5}, timed("SEARCH TEXT \"zzznotthere\"")},
	{goal{"SEARCH text, indexed", "ms", 1, 0.5}, indexed("SEARCH TEXT \"zzznotthere\"")},
	{goal{"SEARCH text found, indexed", "ms", 1, 0.5}, indexed("SEARCH TEXT \"about invoice number\"")},
	{goal{"SEARCH text found", "ms", 1, 0.5}, timed("SEARCH TEXT \"about invoice number\"")},
	{goal{"SORT date", "ms", 1, 0.5}, again("SORT (DATE) UTF-8 ALL")},
	{goal{"SORT subject", "ms", 1, 0.5}, again("SORT (SUBJECT REVERSE DATE) UTF-8 ALL")},
	{goal{"THREAD references", "ms", 1, 0.5}, again("THREAD REFERENCES UTF-8 ALL")},
	{goal{"STORE 1000", "ms", 1, 0.5}, timed("STORE 1:1000 -FLAGS (\\Flagged)", "STORE 1:1000 +FLAGS (\\Flagged)", "STORE 1:1000 -FLAGS (\\Flagged)")},
	{goal{"STORE one at a time", "/s", 1, 3}, storeEach},
	{goal{"COPY 1000", "ms", 1.2, 0.7}, timed("CREATE Copies", "COPY 1:1000 Copies", "DELETE Copies")},
	{goal{"MOVE 1000", "ms", 1.2, 0.7}, moveThere},
	{goal{"EXPUNGE 1000", "ms", 1, 0.5}, expungeCopies},
	{goal{"APPEND 4 KB", "/s", 1, 1.6}, appendEach},
	{goal{"SELECT large cold", "ms", 1.5, 0.7}, func(c *imapConn) (float64, error) { return selectLarge(c, true) }},
	{goal{"SELECT large warm", "ms", 1, 0.5}, func(c *imapConn) (float64, error) { return selectLarge(c, false) }},
	{goal{"SELECT large, octets each", "B", 0, 0}, largeMemory},
	{goal{"STATUS of 1000 folders", "ms", 1, 0.5}, statusAll},
	{goal{"LOGIN+SELECT+LOGOUT x10", "/s", 1.5, 5}, sessions},
}

// runIMAP takes a row once.
func runIMAP(p *peer, r imapRow, quick bool) (result, error) {
	c, err := openIMAP(p, "reader@"+p.domain, 256<<10)
	if err != nil {
		return failed, err
	}
	defer c.conn.Close()
	c.quick = quick
	flushed, used := flushes(), p.cpuTime()
	v, err := r.measure(c)
	if err != nil {
		return failed, err
	}
	one := result{v, flushes() - flushed, 1000 * (p.cpuTime() - used)}
	if c.spent > 0 {
		one.cpu = c.spent
	}
	c.do("LOGOUT")
	return one, nil
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
		used, begun := c.cpuTime(), time.Now()
		if err := c.do(commands[at]); err != nil {
			return 0, err
		}
		took := milliseconds(time.Since(begun))
		c.spent = 1000 * (c.cpuTime() - used)
		return took, c.do(commands[at+1:]...)
	}
}

// cold takes the time of a command, or without one of LOGIN and SELECT, after
// all that the server keeps beside the mail was removed.
func cold(commands ...string) func(*imapConn) (float64, error) {
	return func(c *imapConn) (float64, error) {
		if err := c.do("LOGOUT"); err != nil {
			return 0, err
		}
		time.Sleep(300 * time.Millisecond) // it may write its indexes now
		if err := c.forget(); err != nil {
			return 0, err
		}
		other, err := dialIMAP(c.peer, 256<<10)
		if err != nil {
			return 0, err
		}
		defer other.conn.Close()
		begun := time.Now()
		if _, err := other.enter("reader@" + c.domain); err != nil {
			return 0, err
		}
		took := time.Since(begun)
		if len(commands) > 0 {
			used := c.cpuTime()
			begun = time.Now()
			err = other.do(commands...)
			took = time.Since(begun)
			c.spent = 1000 * (c.cpuTime() - used)
		}
		if err == nil {
			err = other.do("LOGOUT")
		}
		return milliseconds(took), err
	}
}

// forget removes what the server keeps of the mailbox to read.
func (p *peer) forget() error { return forgetIn(fmt.Sprintf(p.mail, "reader")) }

func forgetIn(dir string) error {
	for _, pattern := range []string{"dovecot*", "peyk-*", "courierimapuiddb"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := os.RemoveAll(file); err != nil {
				return err
			}
		}
	}
	return nil
}

// warm takes the time of LOGIN and SELECT, with nobody else at the mailbox.
func warm(c *imapConn) (float64, error) {
	if err := c.do("LOGOUT"); err != nil {
		return 0, err
	}
	time.Sleep(100 * time.Millisecond)
	other, err := dialIMAP(c.peer, 4096)
	if err != nil {
		return 0, err
	}
	defer other.conn.Close()
	begun := time.Now()
	if _, err := other.enter("reader@" + c.domain); err != nil {
		return 0, err
	}
	took := milliseconds(time.Since(begun))
	return took, other.do("LOGOUT")
}

// again takes the time of a command that was given before, in another session.
func again(command string) func(*imapConn) (float64, error) {
	return func(c *imapConn) (float64, error) {
		if err := c.do(command, "LOGOUT"); err != nil {
			return 0, err
		}
		time.Sleep(100 * time.Millisecond)
		other, err := openIMAP(c.peer, "reader@"+c.domain, 256<<10)
		if err != nil {
			return 0, err
		}
		defer other.conn.Close()
		took, err := timed(command)(other)
		c.spent = other.spent
		if err == nil {
			err = other.do("LOGOUT")
		}
		return took, err
	}
}

// bodies fetches all messages and returns MB/s.
func bodies(c *imapConn) (float64, error) {
	c.octets = 0
	took, err := timed("FETCH 1:* (BODY.PEEK[])")(c)
	return float64(c.octets) / 1e3 / took, err
}

// moveThere moves 1,000 messages that were copied before.
func moveThere(c *imapConn) (float64, error) {
	if err := c.do("CREATE From", "CREATE To", "COPY 1:1000 From", "SELECT From"); err != nil {
		return 0, err
	}
	took, err := timed("MOVE 1:1000 To")(c)
	if err != nil {
		return 0, err
	}
	return took, c.do("SELECT INBOX", "DELETE From", "DELETE To")
}

// expungeCopies expunges 1,000 messages of 2,000.
func expungeCopies(c *imapConn) (float64, error) {
	if err := c.do("CREATE Gone", "COPY 1:1000 Gone", "COPY 1:1000 Gone", "SELECT Gone", "STORE 500:1499 +FLAGS.SILENT (\\Deleted)"); err != nil {
		return 0, err
	}
	took, err := timed("EXPUNGE")(c)
	if err != nil {
		return 0, err
	}
	return took, c.do("SELECT INBOX", "DELETE Gone")
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

// idleMemory returns what each of 500 idle connections adds to the PSS of a
// server, in KB: more than it had at its start, as memory that other rows left
// to it would hide them. These rows stand first, so that they left little.
func idleMemory(c *imapConn, addr string, secure bool) (float64, error) {
	n := c.times(500)
	c.settle()
	if c.fresh == 0 {
		c.fresh, _ = c.memory()
	}
	for i := range n {
		other, err := dialAt(c.peer, addr, secure, 1024)
		if err != nil {
			return 0, err
		}
		defer other.conn.Close()
		if _, err := other.enter(c.user(i)); err != nil {
			return 0, err
		}
		if err := other.idle(); err != nil {
			return 0, err
		}
	}
	c.settle()
	pss, _ := c.memory()
	return (pss - c.fresh) * 1024 / float64(n), nil
}
