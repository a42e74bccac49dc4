package mailbox

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fillLarge is fill by hard links, which take no room on the disk.
func fillLarge(t testing.TB, dir string, n int) {
	t.Helper()
	fill(t, dir, 0, true)
	const links = 50_000 // of one file; ext4 allows 65,000
	source := ""
	for i := range n {
		name := fmt.Sprintf("%s/cur/%d.M%06dP4711.mail.example.org,S=12,W=14:2,S", dir, 1500000000+i, i%1000000)
		if i%links == 0 {
			source = name
			must(t, os.WriteFile(name, []byte("Subject:\n\nx\n"), 0o600))
			continue
		}
		must(t, os.Link(source, name))
	}
	settle(t, dir)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// stopwatch tells the time that passed, and the processor's: the machine may be
// busy with other things.
type stopwatch struct {
	start time.Time
	used  time.Duration
}

func cpuTime() time.Duration {
	var u unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func startWatch() stopwatch { return stopwatch{time.Now(), cpuTime()} }

func (w stopwatch) String() string {
	return fmt.Sprintf("%v, %v of the processor", time.Since(w.start).Round(10*time.Microsecond), (cpuTime() - w.used).Round(10*time.Microsecond))
}

// What a folder of a million messages costs. It runs only if PEYK_LARGE is
// set, and prints more than it decides: only room is compared with a limit.
func TestLargeFolder(t *testing.T) {
	if os.Getenv("PEYK_LARGE") == "" {
		t.Skip("PEYK_LARGE is not set")
	}
	const n = 1_000_000
	root := filepath.Join(t.TempDir(), "Maildir")
	fillLarge(t, root, n)
	before := heap()
	start := startWatch()
	visit(t, root, func(_ *Host, f *Folder, s *Snapshot) {
		t.Logf("cold: %v", start)
		perMessage(t, "memory, cold", int64(heap()-before), n)
	})
	start = startWatch()
	visit(t, root, func(h *Host, f *Folder, s *Snapshot) {
		t.Logf("warm: %v, %d directories listed", start, h.count.dirReads.Load())
		perMessage(t, "memory, warm", int64(heap()-before), n)
		start = startWatch()
		must(t, storeIn(f, []uint32{n / 2}, Add, Flagged, nil))
		t.Logf("STORE: %v", start)
		start = startWatch()
		must(t, f.Expunge([]uint32{n / 3}))
		t.Logf("EXPUNGE: %v", start)
		f.curOK, f.verifyAt = false, time.Time{}
		start = startWatch()
		refresh(t, f)
		t.Logf("listed again: %v", start)
		start = startWatch()
		f.curOK, f.verifyAt = false, time.Time{}
		refresh(t, f)
		t.Logf("and again: %v", start)
		perMessage(t, "memory, after a scan", int64(heap()-before), n)
		runtime.KeepAlive(s)
	})
	info, err := os.Stat(filepath.Join(root, cacheName))
	must(t, err)
	perMessage(t, "cache", info.Size(), n)
}

func perMessage(t *testing.T, what string, octets int64, n int) {
	t.Helper()
	t.Logf("%s: %d octets a message", what, octets/int64(n))
	if octets/int64(n) > 200 {
		t.Errorf("%s: %d octets a message, 200 are allowed", what, octets/int64(n))
	}
}

// BenchmarkWarmOpen is SELECT of a folder that nothing has happened to.
func BenchmarkWarmOpen(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			root := filepath.Join(b.TempDir(), "Maildir")
			fillLarge(b, root, n)
			visit(b, root, func(*Host, *Folder, *Snapshot) {})
			for b.Loop() {
				visit(b, root, func(h *Host, _ *Folder, _ *Snapshot) {
					if h.count.dirReads.Load() != 0 {
						b.Fatal("a directory was listed")
					}
				})
			}
		})
	}
}

// BenchmarkChange is STORE and EXPUNGE of one message each.
func BenchmarkChange(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		for name, change := range map[string]func(f *Folder, i int) error{
			"store": func(f *Folder, i int) error {
				return storeIn(f, []uint32{uint32(i*7919%n) + 1}, Op(i/n%2), Flagged, nil)
			},
			"expunge": func(f *Folder, i int) error {
				return f.Expunge([]uint32{f.Snapshot().Messages.At(i * 7919 % f.Snapshot().Messages.Len()).UID})
			},
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				root := filepath.Join(b.TempDir(), "Maildir")
				fillLarge(b, root, n)
				f := openFolder(b, openAccount(b, newTestHost(b), root), Inbox)
				refresh(b, f)
				for i := 0; b.Loop(); i++ {
					if f.Snapshot().Messages.Len() == 0 {
						b.Skip("all are gone")
					}
					must(b, change(f, i))
				}
			})
		}
	}
}

// BenchmarkRelist is a scan of a folder in which one message has changed.
func BenchmarkRelist(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			root := filepath.Join(b.TempDir(), "Maildir")
			fillLarge(b, root, n)
			f := openFolder(b, openAccount(b, newTestHost(b), root), Inbox)
			names := []string{root + "/" + refresh(b, f).Messages.path(n/2), ""}
			names[1] = names[0] + "T"
			b.ReportAllocs()
			for b.Loop() {
				must(b, os.Rename(names[0], names[1]))
				slices.Reverse(names)
				f.dirty.Store(true)
				refresh(b, f)
			}
		})
	}
}
