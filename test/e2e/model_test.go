package e2e_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peyk/test/imapwire"
	"peyk/test/sandbox"
)

// Everybody works on one account at once: IMAP clients of all kinds, some of
// them in processes of their own, deliveries, POP3 sessions that delete, and a
// mail reader that renames and removes files, while imapd is killed now and
// then. Others only listen, and must hear of everything. What must hold anyway
// is in model.
//
//	PEYK_MODEL=10m   how long (10s)
//	PEYK_SEED=N      the seed of all random choices; the order in which they
//	                 meet is still the machine's
func TestManyWritersOfOneAccount(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("PEYK_MODEL"))
	if err != nil {
		long = 10 * time.Second
	}
	seed, err := strconv.ParseUint(os.Getenv("PEYK_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	m := newModel(t, seed)
	t.Logf("PEYK_SEED=%d", seed)
	var all sync.WaitGroup
	clients := make([]*modelClient, 8)
	for n := range clients {
		clients[n] = &modelClient{m: m, n: n, r: rand.New(rand.NewPCG(seed, uint64(n))), kind: kinds[n], box: "INBOX", witness: map[uint32]int{}}
		all.Go(clients[n].run)
	}
	var hearing sync.WaitGroup
	listeners := []*listener{newListener(m, 20, kind{}, false), newListener(m, 21, kind{qresync: true}, true), newListener(m, 22, kind{process: true}, false)}
	for _, l := range listeners {
		hearing.Go(l.run)
	}
	defer hearing.Wait()
	defer close(m.end)
	all.Go(func() { m.deliver(rand.New(rand.NewPCG(seed, 100))) })
	all.Go(func() { m.pop(rand.New(rand.NewPCG(seed, 101))) })
	all.Go(func() { m.foreign(rand.New(rand.NewPCG(seed, 102))) })
	m.kill(rand.New(rand.NewPCG(seed, 103)), long)
	close(m.stop)
	all.Wait()
	m.verdict(clients, listeners)
}

// kinds are what the clients can do.
var kinds = [8]kind{{qresync: true}, {}, {qresync: true, notify: true}, {condstore: true, process: true},
	{qresync: true, uidOnly: true}, {notify: true}, {qresync: true, process: true}, {condstore: true}}

// A kind is what a client has asked for.
type kind struct {
	condstore bool
	qresync   bool
	uidOnly   bool
	notify    bool
	process   bool // it has an imapd of its own
}

// A model is what is known to be true of the account.
type model struct {
	t    *testing.T
	s    *sandbox.Sandbox
	stop chan struct{} // those who write end
	end  chan struct{} // those who listen end

	mu       sync.Mutex
	failures int
	n        int             // messages made
	kept     int             // of those, how many nobody may delete
	acked    map[string]bool // kept messages that were acknowledged in INBOX
	sum      map[place][32]byte
	id       map[place]string
	gone     map[place]string // who said so
	validity map[string]uint64
	next     map[string]uint64 // the greatest UIDNEXT that was told
	modseq   map[string]uint64 // the greatest HIGHESTMODSEQ that was told
	count    map[string]int
}

// A place is a mailbox and a UID in it.
type place struct {
	box string
	uid uint32
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, s: sandbox.Start(t, "retry=1s"), stop: make(chan struct{}), end: make(chan struct{}), acked: map[string]bool{}, sum: map[place][32]byte{}, id: map[place]string{},
		gone: map[place]string{}, validity: map[string]uint64{}, next: map[string]uint64{}, modseq: map[string]uint64{}, count: map[string]int{}}
	c, err := m.login()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, command := range []string{"CREATE Other", "SELECT INBOX", "STORE 1 +FLAGS (" + letters() + ")"} {
		if a, err := c.Do(command); err != nil || a.Kind != "OK" {
			t.Fatal(command, a, err)
		}
	}
	return m
}

// letters are so many keywords that all others have no letter in file names.
func letters() string {
	var names []string
	for i := range 26 {
		names = append(names, fmt.Sprint("letter", i))
	}
	return strings.Join(names, " ")
}

// process is a connection to an imapd of its own.
func (m *model) process() (*imapwire.Client, *exec.Cmd, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	cmd := exec.Command(filepath.Join(m.s.Bin, "imapd"), "-control", m.s.Env["PEYK_CONTROL"], "-preauth", m.s.Env["PEYK_MAILDIR1"])
	cmd.Stdin, cmd.Stdout = theirs, theirs
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	conn, err := net.FileConn(ours)
	var c *imapwire.Client
	if err == nil {
		theirs.Close()
		c, err = imapwire.New(conn, patience)
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return nil, nil, err
	}
	return c, cmd, nil
}

func (m *model) login() (*imapwire.Client, error) {
	c, err := imapwire.Dial(m.s.Env["PEYK_IMAPS"], trusted(m.t, m.s), patience)
	if err != nil {
		return nil, err
	}
	a, err := c.Do("LOGIN " + m.s.Env["PEYK_USER1"] + " " + m.s.Env["PEYK_PASS1"])
	if err == nil && a.Kind != "OK" {
		err = fmt.Errorf("LOGIN: %q", a.Raw)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (m *model) fail(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failLocked(format, args...)
}

func (m *model) failLocked(format string, args ...any) {
	if m.failures++; m.failures <= 10 {
		m.t.Errorf(format, args...)
	}
}

func (m *model) did(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count[what]++
}

func (m *model) over() bool {
	select {
	case <-m.stop:
		return true
	default:
		return false
	}
}

// pause waits a little, or less when the test is over.
func (m *model) pause(d time.Duration) {
	select {
	case <-m.stop:
	case <-time.After(d):
	}
}

// message makes a new one. Every third is kept: nobody deletes it.
func (m *model) message(r *rand.Rand) (id string, text []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.n++
	kind := "free"
	if r.IntN(3) == 0 && m.kept < 300 {
		m.kept++
		kind = "kept"
	}
	id = fmt.Sprintf("%s-%d", kind, m.n)
	filler := strings.Repeat("0123456789abcdef0123456789abcdef\r\n", r.IntN(200))
	return id, []byte("Subject: " + id + "\r\n\r\n" + filler + "end of " + id + "\r\n")
}

func (m *model) acknowledge(id string) {
	if strings.HasPrefix(id, "kept") {
		m.mu.Lock()
		m.acked[id] = true
		m.mu.Unlock()
	}
}

var idOf = regexp.MustCompile(`(?m)^Subject: ((?:kept|free)-\d+)\r?\n`)

// learn checks that a UID stands for the same octets for ever, and that it
// was not announced as gone when nobody could delete it.
func (m *model) learn(who string, at place, text []byte) string {
	found := idOf.FindSubmatch(text)
	m.mu.Lock()
	defer m.mu.Unlock()
	id := "the sandbox's welcome"
	if found != nil {
		id = string(found[1])
	}
	if found != nil && !strings.HasSuffix(string(text), "end of "+id+"\r\n") {
		m.failLocked("%s: %v is cut: %.100q", who, at, text)
	}
	sum := sha256.Sum256(text)
	if old, ok := m.sum[at]; ok && old != sum {
		m.failLocked("%s: %v was %s with other octets, and is %s", who, at, m.id[at], id)
	}
	m.sum[at], m.id[at] = sum, id
	if by := m.gone[at]; by != "" && at.box == "INBOX" && strings.HasPrefix(id, "kept") {
		m.failLocked("%s: %v is %s, which %s was told to be gone", who, at, id, by)
	}
	return id
}

// vanished checks that what is gone could be deleted.
func (m *model) vanished(who string, at place) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone[at] = who
	m.count["announced gone"]++
	if id := m.id[at]; at.box == "INBOX" && strings.HasPrefix(id, "kept") {
		m.failLocked("%s: %v is %s and was announced as gone", who, at, id)
	}
}

func (m *model) idAt(at place) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.id[at]
}

// highest returns what was told about a mailbox so far.
func (m *model) highest(box string) (next, modseq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.next[box], m.modseq[box]
}

// told checks a number of a mailbox against what was known before it was
// asked for.
func (m *model) told(who, box, what string, value, before uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	table := map[string]map[string]uint64{"UIDVALIDITY": m.validity, "UIDNEXT": m.next, "HIGHESTMODSEQ": m.modseq}[what]
	if what == "UIDVALIDITY" && table[box] != 0 && table[box] != value || value < before {
		m.failLocked("%s: %s of %s is %d, and was %d", who, what, box, value, max(before, table[box]))
	}
	table[box] = max(table[box], value)
}

// deliver sends mail to the account.
func (m *model) deliver(r *rand.Rand) {
	var conn *line
	for !m.over() {
		if conn == nil {
			if conn, _ = hello(m.s.Env["PEYK_SMTP"]); conn == nil {
				m.pause(10 * time.Millisecond)
				continue
			}
		}
		id, text := m.message(r)
		if _, err := conn.send("model@example.net", m.s.Env["PEYK_USER1"], text, 0); err != nil {
			conn.Close()
			conn = nil
			continue
		}
		m.acknowledge(id)
		m.did("delivered")
		m.pause(time.Duration(r.IntN(60)) * time.Millisecond)
	}
}

// pop deletes by POP3 what may be deleted.
func (m *model) pop(r *rand.Rand) {
	for !m.over() {
		if err := m.popOnce(r); err == nil {
			m.did("POP3 sessions")
		}
		m.pause(time.Duration(100+r.IntN(400)) * time.Millisecond)
	}
}

func (m *model) popOnce(r *rand.Rand) error {
	c, err := popDial(m.s, m.t)
	if err != nil {
		return err
	}
	defer c.Close()
	stat, err := c.ask("STAT")
	if err != nil {
		return err
	}
	var n int
	fmt.Sscanf(stat, "+OK %d", &n)
	deleted := 0
	for range min(n, 4) {
		i := 1 + r.IntN(n)
		text, err := c.top(i)
		if err != nil {
			return err
		}
		if strings.Contains(text, "\nSubject: free-") || strings.HasPrefix(text, "Subject: free-") {
			if _, err := c.ask(fmt.Sprint("DELE ", i)); err == nil {
				deleted++
			}
		}
	}
	if r.IntN(5) == 0 {
		return errors.New("gone without QUIT")
	}
	if _, err = c.ask("QUIT"); err == nil {
		for range deleted {
			m.did("deleted by POP3")
		}
	}
	return err
}

// popDial logs in without a test to fail.
func popDial(s *sandbox.Sandbox, t *testing.T) (*line, error) {
	c, err := dialTLS(s.Env["PEYK_POP3S"], trusted(t, s))
	if err != nil {
		return nil, err
	}
	for _, command := range []string{"", "USER " + s.Env["PEYK_USER1"], "PASS " + s.Env["PEYK_PASS1"]} {
		if _, err := c.ask(command); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// foreign is a mail reader that works on the files: it moves new mail to
// cur/, sets and clears \Flagged, and removes.
func (m *model) foreign(r *rand.Rand) {
	root := m.s.Env["PEYK_MAILDIR1"]
	for !m.over() {
		m.pause(time.Duration(5+r.IntN(40)) * time.Millisecond)
		all := sandbox.Mail(root)
		if len(all) == 0 {
			continue
		}
		path := all[r.IntN(len(all))]
		dir, name := filepath.Split(path)
		switch r.IntN(4) {
		case 0:
			m.remove(path)
		case 1:
			if strings.HasSuffix(dir, "/new/") && os.Rename(path, filepath.Join(root, "cur", name+":2,")) == nil {
				m.did("moved to cur/")
			}
		default:
			if strings.HasSuffix(dir, "/cur/") && os.Rename(path, dir+toggled(name)) == nil {
				m.did("renamed")
			}
		}
	}
}

func (m *model) remove(path string) {
	text, err := os.ReadFile(path)
	if found := idOf.FindSubmatch(text); err != nil || found == nil || !strings.HasPrefix(string(found[1]), "free") {
		return
	}
	if os.Remove(path) == nil {
		m.did("removed")
	}
}

// toggled is a file's name with F set or cleared; flags stand in ASCII order.
func toggled(name string) string {
	base, flags, ok := strings.Cut(name, ":2,")
	if !ok {
		return name + ":2,F"
	}
	if strings.Contains(flags, "F") {
		return base + ":2," + strings.Replace(flags, "F", "", 1)
	}
	i := 0
	for i < len(flags) && flags[i] < 'F' {
		i++
	}
	return base + ":2," + flags[:i] + "F" + flags[i:]
}

// kill kills imapd now and then until the time is over.
func (m *model) kill(r *rand.Rand, long time.Duration) {
	for end := time.Now().Add(long); time.Now().Before(end); {
		m.pause(min(time.Until(end), time.Duration(500+r.IntN(4000))*time.Millisecond))
		m.s.Kill("imapd")
		m.did("kills")
	}
}

// verdict looks at what is left, when everybody has stopped.
func (m *model) verdict(clients []*modelClient, listeners []*listener) {
	last := &modelClient{m: m, n: 99, r: rand.New(rand.NewPCG(0, 0)), box: "INBOX"}
	found := map[string]bool{}
	m.s.Eventually("everything acknowledged is there", func() bool {
		clear(found)
		if last.connect() != nil || last.selectBox() != nil {
			return false
		}
		defer last.drop()
		if _, err := last.do("FETCH 1:* (UID FLAGS BODY.PEEK[])"); err != nil {
			return false
		}
		for _, uid := range last.view {
			found[m.idAt(place{"INBOX", uid})] = true
		}
		for id := range m.acked {
			if !found[id] {
				return false
			}
		}
		return true
	})
	for _, c := range clients {
		for uid, want := range c.witness {
			if has := strings.Contains(last.flags[uid]+" ", " "+c.keyword()+" "); want >= 0 && has != (want == 1) {
				m.fail("client %d: %s on UID %d: the flags are %q, want %d", c.n, c.keyword(), uid, last.flags[uid], want)
			}
		}
	}
	for _, l := range listeners {
		var missing string
		defer func() {
			if missing != "" {
				m.t.Log(missing, l.who())
			}
		}()
		m.s.Eventually("listener "+strconv.Itoa(l.n)+" knows everything", func() bool {
			missing = l.misses(last)
			return missing == ""
		})
	}
	m.t.Logf("%d kept messages of %d are all there; %v", len(m.acked), m.n, m.count)
}
