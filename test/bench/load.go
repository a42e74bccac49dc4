package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// smtpRow is one load: messages of some sizes over some sessions at once.
type smtpRow struct {
	name          string
	sessions      int
	messages      int
	size          func(n int) int // octets of message n
	recipients    int             // of each message
	perConnection int             // messages that a session sends before it comes anew
	login         bool            // STARTTLS and AUTH, at the submission port
	memory        bool            // sample the memory, which costs some CPU
	queue         bool            // to a next hop that is down; accepted is what counts
}

var smtpRows = []smtpRow{
	{"4 KB, 1 session", 1, 600, kilobyte(4), 1, 10, false, false, false},
	{"4 KB, 10 sessions", 10, 2000, kilobyte(4), 1, 10, false, false, false},
	{"4 KB, 50 sessions", 50, 3000, kilobyte(4), 1, 10, false, false, false},
	{"1 KB to 1 MB, 10", 10, 1000, mixed, 1, 10, false, false, false},
	{"1 MB, 10 sessions", 10, 300, kilobyte(1024), 1, 10, false, false, false},
	{"20 recipients, 10", 10, 300, kilobyte(4), 20, 10, false, false, false},
	{"STARTTLS+AUTH, 10", 10, 1000, kilobyte(4), 1, 1, true, false, false},
	{"memory, 50 sessions", 50, 3000, kilobyte(4), 1, 10, false, true, false},
	{"next hop down, 10", 10, 2000, kilobyte(4), 1, 10, false, false, true}, // last, as the mail stays
}

func kilobyte(n int) func(int) int { return func(int) int { return n << 10 } }

// mixed spreads the sizes from 1 KB to 1 MB, most of them small, with a mean
// of 60 KB. Any run of messages has the same spread.
func mixed(n int) int {
	_, even := math.Modf(float64(n) * math.Phi)
	return int(1024 * math.Pow(1024, math.Pow(even, 2.8)))
}

// The columns of the SMTP table. Rate is deliveries a second until the last
// message lies in new/, or accepted ones where the next hop is down; the rest
// is for a message. p50 and p99 are the times from the final dot to its reply.
var smtpColumns = []string{"rate/s", "CPU s/1000", "flushes", "p50 ms", "p99 ms", "PSS MB"}

// smtpResult is what one run of a row measured: the columns.
type smtpResult struct {
	columns [6]float64
	lost    int
}

// A load is one run of a row against one server.
type load struct {
	*peer
	row  smtpRow
	run  int
	body []byte
	next atomic.Int64

	mu    sync.Mutex
	times []time.Duration
	err   error
}

const textLine = "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n"

// runSMTP sends the messages and waits until every one is where it belongs.
func runSMTP(p *peer, row smtpRow, run int) (r smtpResult, err error) {
	l := &load{peer: p, row: row, run: run, body: bytes.Repeat([]byte(textLine), (1<<20)/len(textLine))}
	before, err := l.count()
	if err != nil {
		return r, err
	}
	peak := func() float64 { return math.NaN() }
	if row.memory {
		peak = p.watchMemory()
	}
	flushed, cpu, begun := flushes(), p.cpu(), time.Now()
	if err := l.blast(); err != nil {
		return r, err
	}
	took := time.Since(begun)
	if !row.queue {
		r.lost, err = l.await(before)
		took = time.Since(begun)
	}
	p.settle()
	if row.queue {
		r.lost, err = l.await(before)
	}
	slices.Sort(l.times)
	n := float64(row.messages)
	r.columns = [6]float64{(n*float64(row.recipients) - float64(r.lost)) / took.Seconds(), (p.cpu() - cpu) / n * 1000, (flushes() - flushed) / n,
		milliseconds(l.times[len(l.times)/2]), milliseconds(l.times[len(l.times)*99/100]), peak()}
	return r, err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// blast runs the sessions.
func (l *load) blast() error {
	var wg sync.WaitGroup
	for range l.row.sessions {
		wg.Go(func() {
			for done := false; !done; {
				var err error
				if done, err = l.burst(); err != nil {
					l.failed(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return l.err
}

func (l *load) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// take returns the number of the next message.
func (l *load) take() (n int, ok bool) {
	n = int(l.next.Add(1)) - 1
	return n, n < l.row.messages
}

// burst sends the messages of one connection.
func (l *load) burst() (done bool, err error) {
	n, ok := l.take()
	if !ok {
		return true, nil
	}
	c, err := l.open(n)
	if err != nil {
		return false, err
	}
	defer c.conn.Close()
	for sent := 1; ok; sent++ {
		if err := l.send(c, n); err != nil {
			return false, err
		}
		if sent == l.row.perConnection {
			return false, c.quit()
		}
		n, ok = l.take()
	}
	return true, c.quit()
}

func (l *load) open(n int) (*smtpConn, error) {
	if !l.row.login {
		return dialSMTP(l.smtp, "EHLO")
	}
	c, err := dialSMTP(l.submission, "EHLO")
	if err != nil {
		return nil, err
	}
	return c, c.login(l.user(n), l.password)
}

func (l *load) send(c *smtpConn, n int) error {
	to := make([]string, l.row.recipients)
	for i := range to {
		to[i] = l.user(n*l.row.recipients + i)
		if l.row.queue {
			to[i] = fmt.Sprintf("u%d@elsewhere.example", n)
		}
	}
	head := fmt.Sprintf("From: a@bench.example\r\nTo: b@bench.example\r\nSubject: %s %d %d\r\nMessage-ID: <%d.%d.%d@bench.example>\r\n\r\n", l.row.name, l.run, n, l.run, n, l.row.sessions)
	sender := "a@bench.example"
	if l.row.login {
		sender = l.user(n)
	}
	took, err := c.send(sender, to, head, l.body[:l.row.size(n)/len(textLine)*len(textLine)])
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, took)
	return nil
}

// places are the directories in which messages end up: the new/ of all users,
// or those of the queue as one.
func (l *load) places() [][]string {
	if l.row.queue {
		return [][]string{l.queue}
	}
	var places [][]string
	for n := range users {
		places = append(places, []string{filepath.Join(l.maildir(n), "new")})
	}
	return places
}

// count returns how many messages lie in each place.
func (l *load) count() ([]int, error) {
	var counts []int
	for _, place := range l.places() {
		n, err := countFiles(place)
		if err != nil {
			return nil, err
		}
		counts = append(counts, n)
	}
	return counts, nil
}

func countFiles(dirs []string) (int, error) {
	n := 0
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Ext(path) != ".log" && d.Name()[0] != '.' {
				n++
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			return 0, err
		}
	}
	return n, nil
}

// patience is how long the last messages may take.
const patience = 60 * time.Second

// await waits until every place has what was sent to it, beside what it had
// before. A place that has is not looked at again, as that costs CPU. lost is
// how many never came.
func (l *load) await(before []int) (lost int, err error) {
	places, deadline := l.places(), time.Now().Add(patience)
	if len(places[0]) == 0 {
		return 0, nil // nobody knows where its queue is
	}
	want := slices.Clone(before)
	for n := range l.row.messages * l.row.recipients {
		want[n%len(want)]++
	}
	for i := range places {
		for {
			have, err := countFiles(places[i])
			if err != nil || have >= want[i] {
				if err != nil {
					return 0, err
				}
				break
			}
			if time.Now().After(deadline) {
				lost += want[i] - have
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	return lost, nil
}
