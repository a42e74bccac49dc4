package power_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"peyk/test/sandbox"
)

// A trial is one cut of the power: a fresh disk with some mail on it.
type trial struct {
	*testing.T
	system
	dir      string
	image    string
	books    []*book
	admin    *office
	ticks    atomic.Int64
	recorder *recorder // what tells the time, if there is one
	seed     uint64
}

// prepared is a disk with some mail, and the books of how it came there.
type prepared struct {
	image string
	books []*book
	ticks int64
}

// prepare makes a disk on which each account has a few messages.
func prepare(t *testing.T, bin, dir string) *prepared {
	t.Helper()
	tr := &trial{T: t, dir: dir, system: system{bin: bin, disk: filepath.Join(dir, "m"), run: filepath.Join(dir, "run")}}
	tr.image = makeDisk(t, bin, dir)
	mounted(t, tr.image, tr.disk)
	for i := range accounts {
		b := newBook(accountName(i), tr.tick)
		tr.books = append(tr.books, b)
		err := tr.mailTo(b)
		if err == nil {
			err = tr.withClerk(b, func(k *clerk) error { return begin(k) })
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	unmounted(t, tr.disk)
	return &prepared{tr.image, tr.books, tr.ticks.Load()}
}

// begin gives an account two folders and six messages.
func begin(k *clerk) error {
	if err := k.create(); err != nil {
		return err
	}
	for range 6 {
		if err := k.append(); err != nil {
			return err
		}
	}
	return k.look()
}

// copyOf copies a book whose ops are all done, for a trial with another clock.
func (b *book) copyOf(clock func() int64) *book {
	c := newBook(b.name, clock)
	c.ops, c.tells, c.deliveries = slices.Clone(b.ops), slices.Clone(b.tells), slices.Clone(b.deliveries)
	for f, v := range b.validity {
		c.validity[f] = v
	}
	c.now = b.now.clone()
	return c
}

// tick is the clock of the books: it counts, or says how many writes and
// flushes the disk has seen.
func (tr *trial) tick() int64 {
	if tr.recorder != nil {
		return tr.ticks.Load() + tr.recorder.position()
	}
	return tr.ticks.Add(1)
}

// start makes a trial on the prepared disk, which is not mounted yet.
func (p *prepared) start(t *testing.T, bin, dir string, seed uint64) *trial {
	tr := &trial{T: t, dir: dir, seed: seed, image: filepath.Join(dir, "trial.img"),
		system: system{bin: bin, disk: filepath.Join(dir, "m"), run: filepath.Join(dir, "run")}}
	tr.ticks.Store(p.ticks)
	for _, b := range p.books {
		tr.books = append(tr.books, b.copyOf(tr.tick))
	}
	tr.admin = &office{s: &tr.system, clock: tr.tick}
	return tr
}

// trial copies the prepared disk and mounts it.
func (p *prepared) trial(t *testing.T, bin, dir string, seed uint64) *trial {
	t.Helper()
	tr := p.start(t, bin, dir, seed)
	if err := copyFile(tr.image, p.image); err != nil {
		t.Fatal(err)
	}
	mounted(t, tr.image, tr.disk)
	return tr
}

// powerCut cuts the power, ends everything, and returns when it was.
func (tr *trial) powerCut() moment {
	m := moment{from: tr.tick()}
	if err := cut(tr.disk); err != nil {
		tr.Fatalf("shutdown: %v", err)
	}
	m.to = tr.tick()
	tr.kill()
	return m
}

// judge brings the disk back and checks it.
func (tr *trial) judge(m moment) outcome {
	tr.Helper()
	unmounted(tr.T, tr.disk)
	mounted(tr.T, tr.image, tr.disk)
	o := tr.check(tr.books, m)
	tr.admin.judge(&tr.system, m, &o)
	unmounted(tr.T, tr.disk)
	return o
}

// withClerk runs f with a client of an imapd that serves it alone.
func (tr *trial) withClerk(b *book, f func(k *clerk) error) error {
	conn, cmd, err := tr.session("imapd", "-preauth", tr.maildir(b.name))
	if err != nil {
		return err
	}
	defer cmd.Wait()
	defer conn.Close()
	k, err := clerkOn(b, conn, tr.seed)
	if err != nil {
		return err
	}
	k.n = int(tr.ticks.Load()) // names that were not used before
	return f(k)
}

// mailTo delivers one message by deliver on the command line.
func (tr *trial) mailTo(b *book) error {
	if err := tr.start("authd"); err != nil {
		return err
	}
	defer tr.kill()
	id := fmt.Sprintf("mda-%s-%d", b.name, tr.tick())
	return b.deliver(id, 0, func() error {
		text := strings.ReplaceAll(string(compose(rand.New(rand.NewPCG(tr.seed, 3)), id)), "\r\n", "\n")
		_, err := tr.once(text, "deliver", "-f", "sender@example.net", b.name+"@"+domain)
		return err
	})
}

// A single is one act on a quiet disk, after which the power goes at once: the
// only way to see that a flush is missing, as a busy stream has others.
type single struct {
	name string
	act  func(tr *trial) error
}

func imapAct(f func(k *clerk) error) func(tr *trial) error {
	return func(tr *trial) error {
		b := tr.books[0]
		return tr.withClerk(b, func(k *clerk) error {
			if err := k.open("INBOX"); err != nil {
				return err
			}
			settle(tr.T, tr.disk)
			before := b.acknowledged()
			for range 100 { // until it found something to do
				if err := f(k); err != nil || b.acknowledged() > before {
					return err
				}
			}
			return fmt.Errorf("nothing to do")
		})
	}
}

var singles = []single{
	{"smtpd", func(tr *trial) error { return tr.mailOnce("tcp", "EHLO", "authd", "smtpd") }},
	{"deliver", func(tr *trial) error { return tr.mailTo(tr.books[0]) }},
	{"deliver-lmtp", func(tr *trial) error { return tr.mailOnce("unix", "LHLO", "authd", "deliver") }},
	{"queue", func(tr *trial) error { return tr.throughQueue() }},
	{"append", imapAct((*clerk).append)},
	{"store", imapAct((*clerk).flag)},
	{"keyword", imapAct((*clerk).store)},
	{"copy", imapAct((*clerk).copy)},
	{"move", imapAct((*clerk).move)},
	{"expunge", imapAct((*clerk).expunge)},
	{"create", imapAct((*clerk).create)},
	{"look", func(tr *trial) error {
		if err := tr.mailTo(tr.books[0]); err != nil {
			return err
		}
		return imapAct((*clerk).look)(tr)
	}},
	{"alias", func(tr *trial) error {
		return tr.admin.edit("s1@"+domain, true, "alias", "add", "s1@"+domain, "u1@"+domain)
	}},
	{"user", func(tr *trial) error {
		return tr.admin.edit("s2@"+domain, true, "user", "add", "--generate", "s2@"+domain)
	}},
}

// mailOnce sends one message to a daemon.
func (tr *trial) mailOnce(network, verb string, daemons ...string) error {
	if err := tr.start(daemons...); err != nil {
		return err
	}
	address := tr.smtp
	if network == "unix" {
		address = tr.socket("deliver.sock")
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	settle(tr.T, tr.disk)
	m, err := mailerOn(conn, verb, fmt.Sprintf("%s-%d", strings.ToLower(verb), tr.seed), tr.seed)
	if err != nil {
		return err
	}
	return m.send(tr.books[0])
}

// throughQueue has a message accepted, and cuts the power when the queue has
// just delivered it.
func (tr *trial) throughQueue() error {
	if err := tr.mailOnce("tcp", "EHLO", "authd", "smtpd"); err != nil {
		return err
	}
	settle(tr.T, tr.disk)
	if err := tr.start("deliver", "queue-run"); err != nil {
		return err
	}
	if left := tr.drain("drop/new", "queue"); len(left) > 0 {
		return fmt.Errorf("the queue does not empty: %q\n%s", left, tr.log())
	}
	return nil
}

// TestSingleCuts does one thing and cuts the power.
func TestSingleCuts(t *testing.T) {
	needs(t, "mkfs.ext4")
	bin, dir := built(t), workDir(t)
	n := count(t, "PEYK_POWER_SINGLES", 3, 10*len(singles))
	lost := cutSingles(t, bin, dir, n)
	for _, name := range sorted(lost) {
		t.Errorf("%s: %d cuts lost something", name, lost[name])
	}
}

// cutSingles makes n trials and counts those in which something was lost.
func cutSingles(t *testing.T, bin, dir string, n int) map[string]int {
	t.Helper()
	p := prepare(t, bin, dir)
	lost, tries := map[string]int{}, map[string]int{}
	for i := range n {
		one := singles[i%len(singles)]
		tr := p.trial(t, bin, dir, uint64(i))
		err := one.act(tr)
		if err != nil {
			t.Errorf("%s: %v", one.name, err)
		}
		o := tr.judge(tr.powerCut())
		tries[one.name]++
		if len(o.faults) > 0 {
			lost[one.name]++
			t.Logf("%s, seed %d: %s", one.name, i, strings.Join(o.faults[:min(3, len(o.faults))], "\n\t"))
		}
	}
	t.Logf("%d cuts after one act each, with a loss in: %v of %v", n, lost, tries)
	return lost
}

func sorted(m map[string]int) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func built(t *testing.T) string {
	t.Helper()
	bin, err := sandbox.Build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// A traffic is all clients at work at the same time.
type traffic struct {
	wait sync.WaitGroup
	stop chan struct{}
	mu   sync.Mutex
	errs []error
}

func (f *traffic) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, err)
}

func (f *traffic) stopped() bool {
	select {
	case <-f.stop:
		return true
	default:
		return false
	}
}

// traffic starts a client of each kind: one IMAP clerk for each account, two
// senders by SMTP, and where the daemons are ours one by LMTP and an admin.
func (tr *trial) traffic() *traffic {
	f := &traffic{stop: make(chan struct{})}
	for i, b := range tr.books {
		f.run(func() (io.Closer, func() error, error) {
			k, err := logIn(b, tr.imap, tr.seed*100+uint64(i))
			if err != nil {
				return nil, nil, err
			}
			k.n = int(tr.ticks.Load())
			return k.c, k.act, nil
		})
	}
	for i, way := range []struct{ network, address, verb string }{{"tcp", tr.smtp, "EHLO"}, {"tcp", tr.smtp, "EHLO"}, {"unix", tr.socket("deliver.sock"), "LHLO"}} {
		if way.network == "unix" && len(tr.procs) == 0 {
			return f // they run in a guest
		}
		f.run(func() (io.Closer, func() error, error) {
			conn, err := net.Dial(way.network, way.address)
			if err != nil {
				return nil, nil, err
			}
			m, err := mailerOn(conn, way.verb, fmt.Sprintf("%s-%d-%d", strings.ToLower(way.verb), tr.seed, i), tr.seed*100+uint64(i))
			return conn, func() error { return m.send(tr.books[m.r.IntN(len(tr.books))]) }, err
		})
	}
	f.run(func() (io.Closer, func() error, error) { return io.NopCloser(nil), tr.admin.act, nil })
	return f
}

// run works until the traffic is stopped or the power is gone.
func (f *traffic) run(connect func() (io.Closer, func() error, error)) {
	f.wait.Go(func() {
		c, act, err := connect()
		if err != nil {
			f.fail(err)
			return
		}
		defer c.Close()
		for !f.stopped() {
			if err := act(); err != nil {
				f.fail(err)
				return
			}
		}
	})
}

// TestBusyCuts cuts the power while everything works.
func TestBusyCuts(t *testing.T) {
	needs(t, "mkfs.ext4")
	bin, dir := built(t), workDir(t)
	n := count(t, "PEYK_POWER_BUSY", 1, 70)
	p := prepare(t, bin, dir)
	var acked, extra int
	var slowest time.Duration
	for i := range n {
		tr := p.trial(t, bin, dir, uint64(i))
		if err := tr.start("authd", "deliver", "queue-run", "smtpd", "imapd"); err != nil {
			t.Fatal(err)
		}
		before := tr.acknowledged()
		f := tr.traffic()
		time.Sleep(time.Duration(200+rand.IntN(800)) * time.Millisecond) // the power goes at any time
		if len(f.errs) > 0 {
			t.Errorf("before the cut: %v", f.errs)
		}
		m := tr.powerCut()
		close(f.stop)
		f.wait.Wait()
		o := tr.judge(m)
		acked, extra = acked+tr.acknowledged()-before, extra+o.extra
		slowest = max(slowest, o.took)
		if len(o.faults) > 0 {
			keep(tr.image)
			t.Errorf("cut %d: %d faults: %s", i, len(o.faults), strings.Join(o.faults[:min(6, len(o.faults))], "\n\t"))
		}
	}
	t.Logf("%d cuts of busy streams: %d acts acknowledged, %d extra copies, the queue empty again after at most %v", n, acked, extra, slowest.Round(time.Millisecond))
}

// keep copies an image that shows a fault to where PEYK_POWER_KEEP says.
func keep(image string) {
	if dir := os.Getenv("PEYK_POWER_KEEP"); dir != "" {
		exec.Command("cp", "--sparse=always", image, dir).Run()
	}
}
