package crash_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"peyk/internal/envelope"
	"peyk/internal/spool"
	"peyk/test/crash/supervise"
)

// A mailman plays deliver: it takes messages by LMTP and remembers them.
type mailman struct {
	net.Listener
	refuse func(rcpt string, times int) string // "" accepts

	mu    sync.Mutex
	asked map[string]int
	got   map[string][]string // recipient → texts
}

func newMailman(w *world, refuse func(string, int) string) *mailman {
	w.Helper()
	os.Remove(w.base + "/deliver.sock")
	l, err := net.Listen("unix", w.base+"/deliver.sock")
	if err != nil {
		w.Fatal(err)
	}
	m := &mailman{Listener: l, refuse: refuse, asked: map[string]int{}, got: map[string][]string{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go m.serve(conn)
		}
	}()
	return m
}

func (m *mailman) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	say := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 mailman LMTP")
	var rcpts []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		word := strings.ToUpper(strings.TrimSpace(line))
		switch {
		case strings.HasPrefix(word, "LHLO"):
			say("250-mailman\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES")
		case strings.HasPrefix(word, "RCPT"):
			_, after, _ := strings.Cut(line, "<")
			rcpt, _, _ := strings.Cut(after, ">")
			rcpts = append(rcpts, rcpt)
			say("250 2.1.5 ok")
		case word == "DATA":
			say("354 go on")
			text := readText(r)
			for _, rcpt := range rcpts {
				say(m.take(rcpt, text))
			}
			rcpts = nil
		case word == "QUIT":
			say("221 2.0.0 bye")
			return
		default:
			if word == "RSET" {
				rcpts = nil
			}
			say("250 2.0.0 ok")
		}
	}
}

func readText(r *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == ".\r\n" {
			return b.String()
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (m *mailman) take(rcpt, text string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := rcpt + " " + subjectOf(text)
	m.asked[key]++
	if no := m.refuse(rcpt, m.asked[key]); no != "" {
		return no
	}
	m.got[rcpt] = append(m.got[rcpt], text)
	return "250 2.0.0 filed"
}

func subjectOf(text string) string {
	_, after, _ := strings.Cut(text, "Subject: ")
	line, _, _ := strings.Cut(after, "\r\n")
	return line
}

// count returns how often somebody got a text that ends so, or, for a report,
// that holds it.
func (m *mailman) count(rcpt, end string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, text := range m.got[rcpt] {
		if strings.HasSuffix(text, end) {
			n++
		}
	}
	return n
}

func (m *mailman) reports(rcpt string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, text := range m.got[rcpt] {
		if strings.Contains(text, "multipart/report") {
			n++
		}
	}
	return n
}

// drop puts a letter into the drop, as smtpd does.
func (w *world) drop(l letter) string {
	w.Helper()
	id, err := spool.NewID(time.Now(), rand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	e := &envelope.Envelope{ID: id, Sender: "alice@example.test"}
	for _, to := range l.to {
		e.Recipients = append(e.Recipients, envelope.Recipient{Address: to})
	}
	writer, err := w.queue().Drop().Create(e)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := writer.Write([]byte(l.text)); err != nil {
		w.Fatal(err)
	}
	if err := writer.Commit(); err != nil {
		w.Fatal(err)
	}
	return id
}

// A queuePath is one way of a message out of the queue.
type queuePath struct {
	name   string
	start  bool // the start of queue-run is watched, too
	size   int
	refuse func(rcpt string, times int) string
	report bool // one recipient fails for good, and the sender is told
}

func accept(string, int) string { return "" }

var queuePaths = []queuePath{
	{name: "start", start: true, size: 300, refuse: accept},
	{name: "deliver", size: 300, refuse: accept},
	{name: "deliver large", size: 150_000, refuse: accept},
	{name: "retry", size: 300, refuse: func(rcpt string, times int) string {
		if rcpt == "bob@example.test" && times == 1 {
			return "451 4.2.0 come again"
		}
		return ""
	}},
	{name: "bounce", size: 300, report: true, refuse: func(rcpt string, times int) string {
		if rcpt == "bob@example.test" {
			return "550 5.1.1 nobody"
		}
		return ""
	}},
}

func (p queuePath) path() path {
	return path{name: "queue " + p.name, prepare: makeSpool, learn: p.learn, try: p.try}
}

func (p queuePath) learn(w *world) any {
	w.Helper()
	r := &run{world: w}
	p.try(r, nil)
	if len(r.problems) > 0 {
		w.Fatalf("without a fault: %q\n%s", r.problems, w.log())
	}
	return nil
}

func (p queuePath) try(r *run, _ any) {
	m := newMailman(r.world, p.refuse)
	defer m.Close()
	first, second := newLetter("first", p.size, "alice@example.test", "bob@example.test"), newLetter("second", p.size, "alice@example.test")
	if p.start {
		r.drop(first)
	}
	q := r.startQueue(r.fault, p.start)
	if !p.start {
		r.await(q, "ready", func() bool { return strings.Contains(r.log(), "event=ready") })
		q.Arm()
		r.drop(first)
	}
	tried := func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.asked["alice@example.test first"] > 0
	}
	q = r.await(q, "the first attempt", tried)
	start := time.Now()
	r.drop(second)
	q = r.await(q, "the second message", func() bool { return m.count("alice@example.test", second.text) > 0 })
	r.prompt("the next message", start)
	q = r.await(q, "the end", func() bool { return p.finished(r, m, first) })
	q.Signal(syscall.SIGTERM)
	if ended, err := q.WaitFor(patience); !ended || err != nil && !r.killed() {
		r.problem("queue-run ended with %v", err)
	}
	r.note(q)
	if r.killed() && r.hit { // it died while it ended: another one takes up what is left
		q = r.startQueue(supervise.Fault{}, false)
		q = r.await(q, "the end", func() bool { return p.finished(r, m, first) })
		q.Signal(syscall.SIGTERM)
		q.WaitFor(patience)
	}
	p.judge(r, m, first, second)
}

// startQueue starts queue-run.
func (r *run) startQueue(f supervise.Fault, armed bool) *supervise.Process {
	q := r.world.start(f, false, nil, "queue-run")
	if armed {
		q.Arm()
	}
	return q
}

// await waits until something is true. When queue-run ends meanwhile it is
// started again, as its service manager does.
func (r *run) await(q *supervise.Process, what string, ok func() bool) *supervise.Process {
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			r.problem("%s: not within %v", what, patience)
			return q
		}
		if r.note(q); r.hit {
			q.Disarm()
		}
		if q.Ended() {
			if q.Wait(); !r.hit {
				r.problem("queue-run ended by itself")
				return q
			}
			q = r.startQueue(supervise.Fault{}, false)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return q
}

// finished: everybody has what is his, and nothing waits.
func (p queuePath) finished(r *run, m *mailman, first letter) bool {
	for _, to := range first.to {
		if m.refuse(to, 100) == "" && m.count(to, first.text) == 0 {
			return false
		}
	}
	if p.report && m.reports("alice@example.test") == 0 {
		return false
	}
	return len(waiting(r.world)) == 0
}

// waiting lists the messages of the queue.
func waiting(w *world) []string {
	return slices.Concat(listing(w.dir+"/spool/queue"), listing(w.dir+"/spool/drop/new"))
}

func (p queuePath) judge(r *run, m *mailman, first, second letter) {
	most := 1
	if r.killed() {
		most = 2
	}
	check := func(what string, n, want int) {
		if n < want || n > want*most {
			r.problem("%s: %d times", what, n)
		}
	}
	for _, to := range first.to {
		want := 1
		if m.refuse(to, 100) != "" {
			want = 0
		}
		check(to+" got the first", m.count(to, first.text), want)
	}
	check("alice got the second", m.count("alice@example.test", second.text), 1)
	if p.report {
		check("reports", m.reports("alice@example.test"), 1)
	}
	r.judgeSpool()
}
