package crash_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"peyk/internal/commit"
	"peyk/internal/envelope"
	"peyk/internal/spool"
	"peyk/test/crash/supervise"
)

// A talk is a connection of SMTP or LMTP.
type talk struct {
	net.Conn
	r *bufio.Reader
}

// hello reads the greeting and says hello.
func hello(conn net.Conn, word string) (*talk, error) {
	t := &talk{conn, bufio.NewReader(conn)}
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := t.reply(); err != nil {
		return nil, err
	}
	_, err := t.do(word + " client.example")
	return t, err
}

// reply reads one reply, and returns its last line.
func (t *talk) reply() (string, error) {
	for {
		line, err := t.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(line) > 3 && line[3] != '-' {
			return strings.TrimSpace(line), nil
		}
	}
}

func (t *talk) do(command string) (string, error) {
	if _, err := t.Write([]byte(command + "\r\n")); err != nil {
		return "", err
	}
	return t.reply()
}

// A letter is a message that is sent; its text has CRLF.
type letter struct {
	to   []string
	text string
	bdat bool
}

// newLetter makes one of about size octets, that says where it ends.
func newLetter(name string, size int, to ...string) letter {
	line := "0123456789abcdef0123456789abcdef0123456789abcdef\r\n"
	return letter{to: to, text: "Date: Mon, 23 Nov 2026 05:00:00 +0000\r\nFrom: sender@example.net\r\nMessage-ID: <m@example.net>\r\nSubject: " + name + "\r\n\r\n" + strings.Repeat(line, 1+size/len(line)) + "end of " + name + "\r\n"}
}

// send sends a letter and returns the last replies: one, or for LMTP one for
// each recipient. A refusal before the end is all there is.
func (t *talk) send(l letter, replies int) (last []string, err error) {
	for i, command := range append([]string{"MAIL FROM:<sender@example.net>"}, l.to...) {
		if i > 0 {
			command = "RCPT TO:<" + command + ">"
		}
		reply, err := t.do(command)
		if err != nil || reply[0] != '2' {
			return []string{reply}, err
		}
	}
	if l.bdat {
		err = t.chunks(l.text)
	} else {
		err = t.data(l.text)
	}
	for range replies {
		reply := ""
		if err == nil {
			reply, err = t.reply()
		}
		last = append(last, reply)
	}
	return last, err
}

func (t *talk) data(text string) error {
	if reply, err := t.do("DATA"); err != nil || reply[0] != '3' {
		return fmt.Errorf("DATA: %s %w", reply, err)
	}
	_, err := t.Write([]byte(text + ".\r\n"))
	return err
}

// chunks sends a text in three parts (RFC 3030).
func (t *talk) chunks(text string) error {
	third := len(text) / 3
	for i, part := range []string{text[:third], text[third : 2*third], text[2*third:]} {
		last := ""
		if i == 2 {
			last = " LAST"
		}
		if _, err := fmt.Fprintf(t, "BDAT %d%s\r\n%s", len(part), last, part); err != nil {
			return err
		}
		if i == 2 {
			return nil
		}
		if reply, err := t.reply(); err != nil || reply[0] != '2' {
			return fmt.Errorf("BDAT: %s %w", reply, err)
		}
	}
	return nil
}

// An smtpPath is one way of a message into the drop.
type smtpPath struct {
	name   string
	socket string
	size   int
	bdat   bool
	reuse  bool // over the file of a message that is done with
	to     string
}

var smtpPaths = []smtpPath{
	{name: "small", socket: "smtp.sock", size: 500, to: "alice@example.test"},
	{name: "reuse", socket: "smtp.sock", size: 500, reuse: true, to: "alice@example.test"},
	{name: "large", socket: "smtp.sock", size: 200_000, to: "alice@example.test"},
	{name: "bdat", socket: "smtp.sock", size: 200_000, bdat: true, to: "alice@example.test"},
	{name: "submit", socket: "submit.sock", size: 2000, to: "somebody@elsewhere.example"},
}

func (p smtpPath) path() path {
	return path{name: "accept " + p.name, prepare: makeSpool, learn: p.learn, try: p.try}
}

// makeSpool makes the directories of an empty queue.
func makeSpool(w *world) {
	w.Helper()
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		w.Fatal(err)
	}
	if err := w.queue().Make(); err != nil {
		w.Fatal(err)
	}
}

func (w *world) queue() *spool.Queue { return spool.OpenQueue(w.dir+"/spool", new(commit.Disk)) }

func (p smtpPath) learn(w *world) any {
	w.Helper()
	r := &run{world: w}
	p.try(r, nil)
	if len(r.problems) > 0 {
		w.Fatalf("without a fault: %q\n%s", r.problems, w.log())
	}
	return nil
}

// A server is a daemon and one connection to it.
type server struct {
	r      *run
	p      *supervise.Process
	talk   *talk
	socket string
	word   string
	start  func(supervise.Fault) *supervise.Process
}

// connect gives the server a connection, and starts the daemon anew when it
// was killed.
func (s *server) connect() error {
	if s.talk != nil {
		s.talk.Close()
	}
	if s.p == nil {
		s.p = s.start(supervise.Fault{})
	}
	var err error
	s.talk, err = hello(s.r.dial(s.socket), s.word)
	return err
}

// buried sees whether the fault has killed the daemon, and waits for its end.
func (s *server) buried() bool {
	s.r.note(s.p)
	if !s.r.hit || !s.r.killed() {
		return false
	}
	if ended, _ := s.p.WaitFor(patience); !ended {
		s.r.problem("the killed daemon does not end")
	}
	s.p = nil
	return true
}

// retry tries until it works: at once over the same connection, or over a new
// one, in five seconds.
func (s *server) retry(what string, try func(*talk) bool) (first bool) {
	if s.p != nil && s.talk != nil && try(s.talk) {
		return true
	}
	start := time.Now()
	if s.p != nil {
		s.buried()
	}
	if s.p != nil {
		s.p.Disarm()
	}
	if err := s.connect(); err != nil {
		s.r.problem("%s: cannot connect again: %v", what, err)
		return false
	}
	if !try(s.talk) {
		s.r.problem("%s: the next attempt fails too", what)
	}
	if took := time.Since(start); took > 5*time.Second {
		s.r.problem("%s: the next attempt took %v", what, took)
	}
	return false
}

// stop ends the daemon as its service manager does.
func (s *server) stop() {
	if s.talk != nil {
		s.talk.Close()
	}
	if s.p == nil {
		return
	}
	s.p.Signal(syscall.SIGTERM)
	ended, err := s.p.WaitFor(patience)
	s.r.note(s.p)
	if !ended {
		s.r.problem("the daemon does not end on SIGTERM")
	} else if err != nil && !s.r.killed() {
		s.r.problem("the daemon ended with %v", err)
	}
}

func (p smtpPath) try(r *run, _ any) {
	s := &server{r: r, socket: p.socket, word: "EHLO", start: func(f supervise.Fault) *supervise.Process { return r.start(f, false, nil, "smtpd") }}
	s.p = s.start(r.fault)
	if err := s.connect(); err != nil {
		r.Fatalf("cannot begin: %v\n%s", err, r.log())
	}
	send := func(l letter) func(*talk) bool {
		return func(t *talk) bool {
			t.do("RSET")
			replies, err := t.send(l, 1)
			if err == nil && replies[0][0] == '5' {
				r.problem("refused for good: %s", replies[0])
			}
			if err != nil || !strings.HasPrefix(replies[0], "250") {
				return false
			}
			r.promised(s.p)
			return true
		}
	}
	if p.reuse {
		if !send(newLetter("done with", p.size*2, p.to))(s.talk) {
			r.Fatalf("cannot begin\n%s", r.log())
		}
		r.emptyDrop()
	}
	s.p.Arm()
	letters := map[string]letter{"first": newLetter("first", p.size, p.to), "second": newLetter("second", p.size, p.to)}
	sure := map[string]bool{}
	for _, name := range []string{"first", "second"} {
		l := letters[name]
		l.bdat = p.bdat
		sure[name] = s.retry(name, send(l))
	}
	s.stop()
	r.judgeDrop(letters, sure)
}

// emptyDrop takes what is in the drop, as queue-run does, and is done with it.
func (w *world) emptyDrop() {
	names, _ := filepath.Glob(w.dir + "/spool/drop/new/*")
	for _, name := range names {
		os.Remove(name)
	}
}

// judgeDrop looks for each letter in the drop: once if it was acknowledged at
// the first attempt, and not twice but after a kill.
func (r *run) judgeDrop(letters map[string]letter, sure map[string]bool) {
	names, _ := filepath.Glob(r.dir + "/spool/drop/new/*")
	found := map[string]int{}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			r.problem("%v", err)
			continue
		}
		e, n, err := envelope.Parse(raw)
		if err != nil || e.ID != filepath.Base(name) || int64(len(raw)-n) != e.Size {
			r.problem("%s is not whole: %v", name, err)
			continue
		}
		for key, l := range letters {
			if bytes.HasSuffix(raw, []byte("\r\n"+l.text)) {
				found[key]++
			}
		}
	}
	total := 0
	for key := range letters {
		most := 1
		if r.killed() && !sure[key] {
			most = 2
		}
		if n := found[key]; n < 1 || n > most {
			r.problem("%s is there %d times", key, n)
		}
		total += found[key]
	}
	if total != len(names) {
		r.problem("%d files in the drop, %d letters", len(names), total)
	}
	r.judgeSpool("drop/new")
}

// judgeSpool looks at all that lies in the spool but in the given places: it
// must be empty, if need be after the sweep.
func (r *run) judgeSpool(but ...string) {
	tmp := r.dir + "/spool/drop/tmp"
	if left := listing(tmp); len(left) > 0 && !r.killed() && !strings.Contains(r.call.Name, "unlink") {
		r.problem("litter in drop/tmp: %q", left)
	}
	if _, err := r.queue().Sweep(time.Now().Add(37 * time.Hour)); err != nil {
		r.problem("sweep: %v", err)
	}
	for _, name := range listing(r.dir + "/spool") {
		place := filepath.Dir(name)
		if strings.Contains(name, "/") && name != "drop/new" && name != "drop/tmp" && !contains(but, place) {
			r.problem("left in the spool: %s", name)
		}
	}
}

func contains(words []string, word string) bool {
	for _, w := range words {
		if w == word {
			return true
		}
	}
	return false
}
