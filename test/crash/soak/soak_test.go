// Package soak_test runs the whole system for hours under mixed load, breaks
// something once a minute, and looks whether it stays what it was.
package soak_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peyk/test/crash/tmpfs"
	"peyk/test/crash/traffic"
	"peyk/test/sandbox"
)

func TestMain(m *testing.M) { os.Exit(tmpfs.Main(m)) }

var daemons = []string{"smtpd", "submission", "queue-run", "deliver", "remote", "imapd", "pop3d", "authd"}

// A fault breaks something and returns what it did. It mends it before it
// returns, where it does not mend itself.
type fault struct {
	name  string
	disks bool // it needs small disks
	do    func(*soak) string
}

var faults = []fault{
	{"kill -9", false, func(k *soak) string {
		d := k.daemon()
		k.s.Kill(d)
		return d
	}},
	{"SIGSTOP", false, func(k *soak) string {
		d := k.daemon()
		pid, long := k.s.Pid(d), k.short()
		syscall.Kill(pid, syscall.SIGSTOP)
		time.Sleep(long)
		syscall.Kill(pid, syscall.SIGCONT)
		return fmt.Sprint(d, " for ", long)
	}},
	{"EMFILE", false, func(k *soak) string {
		d := k.daemon()
		pid, long := k.s.Pid(d), k.short()
		var old unix.Rlimit
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
			return err.Error()
		}
		few := unix.Rlimit{Cur: uint64(openFiles(pid) + 1), Max: old.Max}
		unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil)
		time.Sleep(long)
		unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil)
		return fmt.Sprint(d, " with ", few.Cur, " for ", long)
	}},
	{"resets", false, func(k *soak) string {
		long := k.short()
		k.load.Resets.Store(true)
		n := k.load.Reset()
		time.Sleep(long)
		k.load.Resets.Store(false)
		return fmt.Sprint("of ", n+k.load.Reset(), " connections from remote, and of clients for ", long)
	}},
	{"SIGHUP", false, func(k *soak) string {
		d := k.daemon()
		syscall.Kill(k.s.Pid(d), syscall.SIGHUP)
		return d
	}},
	{"queue disk full", true, func(k *soak) string { return k.fill(k.spool) }},
	{"mail disk full", true, func(k *soak) string { return k.fill(k.mail) }},
}

type soak struct {
	t           *testing.T
	s           *sandbox.Sandbox
	load        *traffic.Load
	r           *rand.Rand
	spool, mail *tmpfs.Disk
	most        time.Duration // of a fault
	started     time.Time
	events      []string
	samples     []sample
}

func (k *soak) daemon() string { return daemons[k.r.IntN(len(daemons))] }

func (k *soak) short() time.Duration {
	return (k.most/10 + time.Duration(k.r.Int64N(int64(k.most)))).Round(time.Millisecond)
}

func (k *soak) fill(d *tmpfs.Disk) string {
	long := k.short()
	if k.r.IntN(2) == 0 {
		d.FillOctets(0)
		defer d.MakeRoom()
		time.Sleep(long)
		return fmt.Sprint("octets, for ", long)
	}
	d.FillNodes(0)
	defer d.MakeRoom()
	time.Sleep(long)
	return fmt.Sprint("inodes, for ", long)
}

// TestSoak is make soak HOURS=n. Without PEYK_SOAK it is a run of seconds that
// meets each fault once.
//
//	PEYK_SOAK=24h PEYK_SEED=1 PEYK_SOAK_REPORT=soak-report.txt
func TestSoak(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv("PEYK_SOAK"))
	quick := err != nil
	seed, err := strconv.ParseUint(os.Getenv("PEYK_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	k := begin(t, seed)
	k.most = 20 * time.Second
	if quick {
		k.most = 300 * time.Millisecond
	}
	k.started = time.Now()
	k.load.Start(6)
	if quick {
		for _, f := range faults {
			k.breakIt(f)
		}
	} else {
		k.soak(long)
	}
	k.load.Stop()
	verdict := k.load.Arrive(5 * time.Minute)
	report := k.report(seed, verdict)
	if path := os.Getenv("PEYK_SOAK_REPORT"); path != "" && !quick {
		if err := os.WriteFile(path, []byte(report), 0o644); err != nil {
			t.Error(err)
		}
		t.Logf("the report is in %s", path)
	}
	t.Log(report)
	k.judge(verdict, quick)
}

func begin(t *testing.T, seed uint64) *soak {
	dir, err := os.MkdirTemp("", "peyk-soak-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	k := &soak{t: t, r: rand.New(rand.NewPCG(seed, 0))}
	if tmpfs.Possible() {
		k.spool = tmpfs.Mount(t, filepath.Join(dir, "spool"), "size=256m,nr_inodes=20000")
		k.mail = tmpfs.Mount(t, filepath.Join(dir, "mail"), "size=512m,nr_inodes=100000")
	}
	ledger := traffic.NewLedger()
	sink := traffic.NewSink(t, ledger)
	k.s = sandbox.StartIn(t, dir, traffic.Settings(sink)...)
	k.load = traffic.New(t, k.s, ledger, sink)
	k.load.Empty, k.load.Pause = true, 100*time.Millisecond
	return k
}

// soak breaks something each minute, at a random time of it, and takes a
// sample every ten seconds.
func (k *soak) soak(long time.Duration) {
	end := k.started.Add(long)
	next := k.started.Add(time.Minute + time.Duration(k.r.IntN(30))*time.Second)
	for time.Now().Before(end) {
		time.Sleep(10 * time.Second)
		k.sample()
		if time.Now().After(next) && time.Until(end) > time.Minute {
			k.breakIt(faults[k.r.IntN(len(faults))])
			next = next.Add(time.Minute)
		}
	}
}

func (k *soak) breakIt(f fault) {
	if f.disks && k.spool == nil {
		return
	}
	what := f.do(k)
	k.events = append(k.events, fmt.Sprintf("%8s  %s: %s", time.Since(k.started).Round(time.Second), f.name, what))
	k.t.Log(k.events[len(k.events)-1])
	before := k.load.Promised()
	k.s.Eventually("mail goes on after "+f.name, func() bool { return k.load.Promised() > before+5 })
}

// judge holds what the system promises.
func (k *soak) judge(v traffic.Verdict, quick bool) {
	if len(v.Lost) > 0 || len(v.Wrong) > 0 {
		k.t.Errorf("lost %.3000s; wrong %.3000s", fmt.Sprint(v.Lost), fmt.Sprint(v.Wrong))
	}
	if v.Extra > max(len(k.events), 10) {
		k.t.Errorf("%d extra copies for %d faults, such as\n%s", v.Extra, len(k.events), strings.Join(v.Copies, "\n"))
	}
	k.s.Eventually("the queue is empty", func() bool {
		left, _ := filepath.Glob(filepath.Join(k.s.Env["PEYK_SPOOL"], "queue", "*"))
		return len(left) == 0
	})
	for _, place := range []string{"hold", "corrupt"} {
		if left, _ := filepath.Glob(filepath.Join(k.s.Env["PEYK_SPOOL"], place, "*")); len(left) > 0 {
			k.t.Errorf("%s: %q", place, left)
		}
	}
	if strings.Contains(k.s.Log(), "event=panic") {
		k.t.Error("somebody panicked")
	}
	if quick {
		return
	}
	for _, d := range daemons {
		for _, m := range measures {
			if r := k.trend(d, m); r.steep(m) {
				k.t.Errorf("%s: %s grows: %s", d, m.name, r)
			}
		}
	}
}

func (k *soak) report(seed uint64, v traffic.Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Soak of %v, seed %d, %d faults\n\n%v\n%v\n\n", time.Since(k.started).Round(time.Second), seed, len(k.events), v, k.load.Did())
	fmt.Fprintf(&b, "%-12s%-22s%9s%9s%9s%9s%14s\n", "daemon", "measure", "samples", "first", "last", "most", "slope an hour")
	for _, d := range daemons {
		for _, m := range measures {
			r := k.trend(d, m)
			fmt.Fprintf(&b, "%-12s%-22s%9d%9.0f%9.0f%9.0f%14.1f\n", d, m.name, r.n, r.first, r.last, r.most, r.slope)
		}
	}
	fmt.Fprintf(&b, "\nfaults\n%s\n", strings.Join(k.events, "\n"))
	slices.Sort(v.Copies)
	if len(v.Copies) > 0 {
		fmt.Fprintf(&b, "\nsome of the extra copies\n%s\n", strings.Join(v.Copies, "\n"))
	}
	return b.String()
}
