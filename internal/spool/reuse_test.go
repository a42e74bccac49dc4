package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"peyk/internal/commit"
)

// again puts a message through a drop that reuses its files.
func again(t *testing.T, d *Drop, message string) string {
	t.Helper()
	id := newID(t)
	w, err := d.Create(letter(id))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, message)
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return id
}

// work takes a message, reads it and removes it.
func work(t *testing.T, q *Queue, id, want string) {
	t.Helper()
	if err := q.Take(id); err != nil {
		t.Fatal(err)
	}
	m, err := q.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got, err := io.ReadAll(m.Reader()); err != nil || string(got) != want {
		t.Fatalf("read %.40q (%d octets), %v; want %d octets", got, len(got), err, len(want))
	}
	if err := q.Finish(id, false); err != nil {
		t.Fatal(err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestReuse(t *testing.T) {
	q := newQueue(t)
	d := q.Drop()
	stop := d.Reuse()
	var first uint64
	for i, size := range []int{100, 9000, 10, 0, 5000, 30000} { // longer, shorter, empty
		message := strings.Repeat(fmt.Sprint(i), size)
		id := again(t, d, message)
		ino := inode(t, q.path(InDrop, id))
		if first == 0 {
			first = ino
		}
		if ino != first {
			t.Errorf("message %d: another file", i)
		}
		work(t, q, id, message)
	}
	if n := len(ls(t, q, inTmp)); n != 1 {
		t.Errorf("%d files for one message at a time", n)
	}
	big := strings.Repeat("x", 2*maxBuffered)
	work(t, q, again(t, d, big), big)
	stop()
	if left := ls(t, q, inTmp); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	work(t, q, again(t, d, text), text) // still works
	if left := ls(t, q, inTmp); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A file whose message has a name anywhere is never written again.
func TestReuseOnlyOfWhatIsDone(t *testing.T) {
	q := newQueue(t)
	d := q.Drop()
	defer d.Reuse()()
	kept := map[string]Place{}
	for _, p := range []Place{InDrop, InQueue, InHold, InCorrupt} {
		id := again(t, d, "kept in "+string(p))
		if err := os.Rename(q.path(InDrop, id), q.path(p, id)); err != nil {
			t.Fatal(err)
		}
		kept[id] = p
	}
	copied := again(t, d, text)
	os.Link(q.path(InDrop, copied), q.path("", "backup")) // somebody else holds on to it
	work(t, q, copied, text)
	for range 10 {
		work(t, q, again(t, d, "another message"), "another message")
	}
	for id, p := range kept {
		m, err := q.peek(p, id)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(m.Reader()); string(got) != "kept in "+string(p) {
			t.Errorf("%s holds %q", p, got)
		}
		m.Close()
	}
	if b, _ := os.ReadFile(q.path("", "backup")); !strings.HasSuffix(string(b), text) {
		t.Errorf("the copy holds %q", b)
	}
}

// Queue-run removes a message before it lets go of its lock; the next one must
// not be found locked.
func TestReuseWaitsForTheLock(t *testing.T) {
	q := newQueue(t)
	d := q.Drop()
	defer d.Reuse()()
	id := again(t, d, text)
	q.Take(id)
	m, err := q.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	q.Finish(id, false)
	work(t, q, again(t, d, text), text)
	m.Close()
	work(t, q, again(t, d, text), text)
}

// After a power cut the name of a message that was done with may be back, on
// a file that holds the next one, or parts of both: it is corrupt, and the
// next message is not touched.
func TestReuseAfterAPowerCut(t *testing.T) {
	q := newQueue(t)
	d := q.Drop()
	defer d.Reuse()()
	for cut := range 4 {
		done := again(t, d, strings.Repeat("done ", 100))
		work(t, q, done, strings.Repeat("done ", 100))
		next := again(t, d, strings.Repeat("next ", 50*cut+1))
		os.Link(q.path(InDrop, next), q.path(InQueue, done))
		if _, err := q.Open(done); !errors.Is(err, ErrCorrupt) {
			t.Errorf("the old name: %v", err)
		}
		os.Remove(q.path(InQueue, done))
		work(t, q, next, strings.Repeat("next ", 50*cut+1))
	}
}

// Whatever step fails, the caller gets a temporary status and nothing is left;
// only a file system without hard links goes on as without reuse.
func TestReuseFails(t *testing.T) {
	for _, warm := range []bool{false, true} {
		for _, bad := range []commit.Step{commit.StepCreate, commit.StepLink, commit.StepSync} {
			q := newQueue(t)
			d := q.Drop()
			d.Reuse()
			if warm {
				work(t, q, again(t, d, text), text)
			}
			q.disk.Hook = func(s commit.Step, _ string) error {
				if s == bad {
					return errors.New("injected")
				}
				return nil
			}
			w, _ := d.Create(letter(newID(t)))
			io.WriteString(w, text)
			err := w.Commit()
			if fine := warm && bad == commit.StepCreate; (err == nil) != fine {
				t.Errorf("%s: %v", bad, err)
			}
			if n := len(ls(t, q, inTmp)) + len(ls(t, q, InDrop)); err != nil && n > 0 {
				t.Errorf("%s: %d files are left", bad, n)
			}
		}
	}
}

func TestReuseWithoutHardLinks(t *testing.T) {
	q := newQueue(t)
	d := q.Drop()
	defer d.Reuse()()
	q.disk.Hook = func(s commit.Step, path string) error {
		if s == commit.StepLink {
			return &os.LinkError{Op: "link", New: path, Err: syscall.EPERM}
		}
		return nil
	}
	for range 3 {
		work(t, q, again(t, d, text), text)
	}
	if left := ls(t, q, inTmp); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// What is not used for a while goes, so that old mail does not stay.
func TestReuseForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t)
		d := q.Drop()
		d.Reuse()
		for range 3 {
			again(t, d, text)
		}
		if n := len(ls(t, q, inTmp)); n != 3 {
			t.Fatalf("%d files, want 3", n)
		}
		<-time.After(3 * spareFor)
		if n := len(ls(t, q, inTmp)); n != 0 {
			t.Errorf("%d files are still there", n)
		}
		if n := len(ls(t, q, InDrop)); n != 3 {
			t.Errorf("%d messages, want 3", n)
		}
	})
}

func TestReuseByMany(t *testing.T) {
	q := newQueue(t)
	d := q.Drop()
	stop := d.Reuse()
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for i := range 40 {
				message := strings.Repeat(fmt.Sprintf("%d-%d ", n, i), (n+1)*(i%7))
				work(t, q, again(t, d, message), message)
			}
		})
	}
	wg.Wait()
	stop()
	if left := append(ls(t, q, inTmp), ls(t, q, InQueue)...); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
