package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/commit"
	"peyk/internal/status"
)

func roots(t *testing.T, n int) []Target {
	dir := t.TempDir()
	var targets []Target
	for i := range n {
		targets = append(targets, Target{Root: filepath.Join(dir, fmt.Sprint("home", i), "Maildir")})
	}
	return targets
}

func delivered(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(dir + "/new/*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// The message is written and synced once, and has a name in each mailbox.
func TestDeliverToMany(t *testing.T) {
	var mu sync.Mutex
	var steps []commit.Step
	h := newTestHost(t, func(o *Options) {
		o.Disk = &commit.Disk{Hook: func(s commit.Step, _ string) error {
			mu.Lock()
			defer mu.Unlock()
			steps = append(steps, s)
			return nil
		}}
	})
	targets := roots(t, 3)
	for _, g := range targets {
		openAccount(t, h, g.Root)
	}
	a := openAccount(t, h, targets[1].Root)
	must(t, a.Create("lists.peyk", ""))
	targets[1].Folder = "lists.peyk"
	targets[2].Folder = "does not exist"
	targets = append(targets, Target{Root: targets[0].Root, Folder: "../../x"})
	steps = nil
	msg := "Subject: x\r\n\r\n" + strings.Repeat("line\r\n", 40000)
	for i, err := range h.Deliver(targets, text(msg)) {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	count := func(want commit.Step) (n int) {
		for _, s := range steps {
			if s == want {
				n++
			}
		}
		return n
	}
	if count(commit.StepCreate) != 1 || count(commit.StepSync) != 1 || count(commit.StepLink) != 3 || count(commit.StepRename) != 1 {
		t.Fatalf("%v", steps)
	}
	var first os.FileInfo
	for i, dir := range []string{targets[0].Root, targets[1].Root + "/.lists.peyk", targets[2].Root} {
		names := delivered(t, dir)
		if len(names) != 1 && (i > 0 || len(names) != 2) {
			t.Fatalf("%s: %q", dir, names)
		}
		info, _ := os.Stat(names[0])
		if first == nil {
			first = info
		}
		raw, _ := os.ReadFile(names[0])
		if !os.SameFile(first, info) || string(raw) != strings.ReplaceAll(msg, "\r\n", "\n") {
			t.Errorf("%s is another file", names[0])
		}
		if !strings.HasSuffix(names[0], fmt.Sprintf(",S=%d,W=%d", len(raw), len(msg))) || info.Mode().Perm() != 0o600 {
			t.Errorf("%s %v", names[0], info.Mode())
		}
	}
}

func TestDeliverOneIsFiveSteps(t *testing.T) {
	var mu sync.Mutex
	var steps []string
	h := newTestHost(t, func(o *Options) {
		o.Disk = &commit.Disk{Hook: func(s commit.Step, p string) error {
			mu.Lock()
			defer mu.Unlock()
			steps = append(steps, string(s)+" "+filepath.Base(filepath.Dir(p)))
			return nil
		}}
	})
	g := roots(t, 1)
	openAccount(t, h, g[0].Root)
	steps = nil
	must(t, h.Deliver(g, text("x\r\n"))[0])
	if want := []string{"create tmp", "fsync tmp", "rename new", "fsync-dir Maildir"}; !slices.Equal(steps, want) {
		t.Fatalf("%q, want %q", steps, want)
	}
}

// One bad mailbox does not keep the message from the others, whether it would
// have carried the first copy or not.
func TestDeliverWithBadTargets(t *testing.T) {
	h := newTestHost(t)
	for bad := range 3 {
		targets := roots(t, 3)
		os.MkdirAll(filepath.Dir(targets[bad].Root), 0o700)
		os.WriteFile(targets[bad].Root, nil, 0o600)
		for i, err := range h.Deliver(targets, text("x\n")) {
			if i != bad {
				must(t, err)
				if len(delivered(t, targets[i].Root)) != 1 {
					t.Errorf("target %d has nothing", i)
				}
				continue
			}
			var e *status.Error
			if !errors.As(err, &e) || e.Code != 451 {
				t.Errorf("%v, want 451", err)
			}
		}
	}
	broken := status.New(554, "5.6.0", "cannot take this")
	targets := roots(t, 2)
	for _, err := range h.Deliver(targets, func(w io.Writer) error { io.WriteString(w, "half"); return broken }) {
		if !errors.Is(err, broken) {
			t.Error(err)
		}
	}
	for _, g := range targets {
		if left, _ := filepath.Glob(g.Root + "/[tn]*/*"); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func TestDeliverFaults(t *testing.T) {
	for step := int64(0); ; step++ {
		h, left := failingHost(t)
		targets := roots(t, 3)
		for _, g := range targets {
			openAccount(t, h, g.Root)
		}
		left.Store(step)
		errs := h.Deliver(targets, text("x\n"))
		done := left.Load() >= 0
		for i, err := range errs {
			names := delivered(t, targets[i].Root)
			if (err == nil) != (len(names) == 1) {
				t.Errorf("step %d: target %d has %v and says %v", step, i, names, err)
			}
			if tmp, _ := filepath.Glob(targets[i].Root + "/tmp/*"); len(tmp) != 0 {
				t.Errorf("step %d: left %v", step, tmp)
			}
		}
		if done {
			return
		}
	}
}

func TestLinksThatFailBecomeCopies(t *testing.T) {
	h := newTestHost(t, func(o *Options) {
		o.Disk = &commit.Disk{Hook: func(s commit.Step, _ string) error {
			if s == commit.StepLink {
				return unix.EXDEV
			}
			return nil
		}}
	})
	targets := roots(t, 2)
	for _, err := range h.Deliver(targets, text("x\n")) {
		must(t, err)
	}
	for _, g := range targets {
		if n := delivered(t, g.Root); len(n) != 1 {
			t.Fatal(n)
		} else if raw, _ := os.ReadFile(n[0]); string(raw) != "x\n" {
			t.Fatalf("%q", raw)
		}
	}
	a := openAccount(t, h, targets[0].Root)
	f := openFolder(t, a, Inbox)
	must(t, a.Create("x", ""))
	refresh(t, f)
	if _, dst, err := f.Copy([]uint32{1}, openFolder(t, a, "x")); err != nil || len(dst) != 1 {
		t.Fatal(dst, err)
	}
}

func TestQuota(t *testing.T) {
	h := newTestHost(t)
	g := roots(t, 1)[0]
	g.Quota = Quota{Bytes: 100, Messages: 4}
	give := func(n int, code int, enhanced string) {
		t.Helper()
		err := h.Deliver([]Target{g}, func(w io.Writer) error { _, err := w.Write(bytes.Repeat([]byte("x"), n)); return err })[0]
		var e *status.Error
		if code == 0 && err != nil || code != 0 && (!errors.As(err, &e) || e.Code != code || e.Enhanced != enhanced || !errors.Is(err, ErrQuota)) {
			t.Fatalf("%d octets: %v, want %d %s", n, err, code, enhanced)
		}
	}
	size := func(want string) {
		t.Helper()
		if raw, _ := os.ReadFile(g.Root + "/maildirsize"); string(raw) != want {
			t.Fatalf("maildirsize %q, want %q", raw, want)
		}
	}
	give(101, 552, "5.2.2")
	give(40, 0, "")
	size("100S,4C\n0 0\n40 1\n")
	give(60, 0, "")
	give(1, 452, "4.2.2")
	size("100S,4C\n100 2\n") // counted anew before it refused
	a := openAccount(t, h, g.Root)
	a.SetQuota(g.Quota)
	f := openFolder(t, a, Inbox)
	refresh(t, f)
	if _, err := f.Append(0, nil, time.Time{}, text("x")); !errors.Is(err, ErrQuota) {
		t.Fatal(err)
	}
	if _, _, err := f.Copy([]uint32{1}, f); !errors.Is(err, ErrQuota) {
		t.Fatal(err)
	}
	must(t, f.Expunge([]uint32{1}))
	if b, n, err := a.Usage(); err != nil || b != 60 || n != 1 {
		t.Fatal(b, n, err)
	}
	must(t, a.Create("x", ""))
	if _, _, err := f.Move(uidsOf(refresh(t, f)), openFolder(t, a, "x")); err != nil {
		t.Fatal(err)
	}
	give(1, 0, "")
	give(1, 0, "")
	give(1, 0, "")
	give(1, 452, "4.2.2")
	must(t, a.Delete("x"))
	if b, n, err := a.Usage(); err != nil || b != 3 || n != 3 {
		t.Fatal(b, n, err)
	}
	os.WriteFile(g.Root+"/maildirsize", []byte("9S\nnonsense\n"), 0o600)
	if b, n, err := a.Usage(); err != nil || b != 3 || n != 3 {
		t.Fatal(b, n, err)
	}
	b := openAccount(t, h, roots(t, 1)[0].Root)
	deliver(t, h, b.Root(), "12345")
	if b, n, err := b.Usage(); err != nil || b != 5 || n != 1 {
		t.Fatal(b, n, err)
	}
	if _, err := os.Stat(b.Root() + "/maildirsize"); err == nil {
		t.Error("maildirsize without a quota")
	}
}

func TestDotlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	l := &locker{host: "me", pid: os.Getpid(), now: time.Now, started: time.Now(), timeout: 50 * time.Millisecond}
	ctx := context.Background()
	take := func(content string, age time.Duration) error {
		t.Helper()
		os.WriteFile(path+".lock", []byte(content), 0o600)
		at := time.Now().Add(-age)
		os.Chtimes(path+".lock", at, at)
		d, err := l.lock(ctx, path+".lock", path)
		if err == nil {
			if raw, _ := os.ReadFile(path + ".lock"); string(raw) != fmt.Sprintf("%d:me", os.Getpid()) {
				t.Errorf("lock says %q", raw)
			}
			d.release()
		}
		os.Remove(path + ".lock")
		return err
	}
	free := func(what string, err error) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	held := func(what string, err error) {
		if !errors.Is(err, ErrLocked) {
			t.Errorf("%s: %v", what, err)
		}
	}
	dead := deadPid(t)
	free("a process that has died", take(fmt.Sprintf("%d:me", dead), 10*time.Second))
	held("a process that has just died", take(fmt.Sprintf("%d:me", dead), 0))
	held("a living process", take("1:me", 10*time.Minute))
	held("another host", take(fmt.Sprintf("%d:other", dead), time.Minute))
	free("another host, long ago", take(fmt.Sprintf("%d:other", dead), 3*time.Minute))
	free("our pid in a former life", take(fmt.Sprintf("%d:me", os.Getpid()), time.Minute))
	held("an empty lock that was just made", take("", 0))
	free("an empty lock, as a power cut leaves it", take("", 3*time.Second))
	held("nobody", take("?", time.Minute))
	free("nobody, long ago", take("?", 3*time.Minute))
	os.WriteFile(path, nil, 0o600)
	held("long ago, but the file changes", take("?", 3*time.Minute))
	l.booted = time.Now().Add(-time.Minute)
	held("a living process since the start of the host", take("1:me", 50*time.Second))
	free("a process from before the start of the host, whose number is another's", take("1:me", 70*time.Second))
	held("another host, which does not start with ours", take("1:other", 70*time.Second))

	d, err := l.lock(ctx, path+".lock", path)
	must(t, err)
	os.Remove(path + ".lock")
	os.WriteFile(path+".lock", []byte("1:other"), 0o600)
	if d.held() {
		t.Error("a lock that was taken over is ours")
	}
	d.release()
	if _, err := os.Stat(path + ".lock"); err != nil {
		t.Error("somebody else's lock was removed")
	}
}

// deadPid returns the pid of a process that is gone.
func deadPid(t *testing.T) int {
	t.Helper()
	p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	must(t, err)
	p.Wait()
	return p.Pid
}

func TestDovecotSeesEachVersionOfKeywords(t *testing.T) {
	_, a, f := newInbox(t)
	f.Append(0, nil, time.Time{}, text("x"))
	refresh(t, f)
	last := int64(0)
	for i := range 3 {
		must(t, storeIn(f, []uint32{1}, Add, 0, []string{fmt.Sprint("k", i)}))
		info, err := os.Stat(a.Root() + "/" + keywordsName)
		must(t, err)
		if info.ModTime().Unix() <= last {
			t.Fatal("the time stamp did not move by a second")
		}
		last = info.ModTime().Unix()
	}
}

func TestUmask(t *testing.T) {
	h := newTestHost(t)
	if h.chmod {
		t.Skip("the umask of the test takes the owner's permissions")
	}
	h.chmod = true // as with umask 0777, but without changing that of all tests
	g := roots(t, 1)
	must(t, h.Deliver(g, text("x"))[0])
	if info, _ := os.Stat(delivered(t, g[0].Root)[0]); info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode())
	}
}
