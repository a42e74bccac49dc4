package mailbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func BenchmarkDeliver(b *testing.B) {
	h := newTestHost(b)
	root := filepath.Join(b.TempDir(), "Maildir")
	msg := text(strings.Repeat("0123456789012345678901234567890123456789012345678901234567890\r\n", 64))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := h.Deliver([]Target{{Root: root}}, msg)[0]; err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStoreInLargeFolder(b *testing.B) {
	root := filepath.Join(b.TempDir(), "Maildir")
	fill(b, root, 100_000, true)
	h := newTestHost(b)
	f := openFolder(b, openAccount(b, h, root), Inbox)
	start := time.Now()
	refresh(b, f)
	b.Logf("first open: %v", time.Since(start))
	settle(b, root)
	start = time.Now()
	refresh(b, f)
	b.Logf("full scan: %v", time.Since(start))
	for i := 0; b.Loop(); i++ {
		storeIn(f, []uint32{uint32(i%100_000) + 1}, Op(i%2), Flagged, nil)
		refresh(b, f)
	}
	b.StopTimer()
	start = time.Now()
	f.mu.Lock()
	l, err := f.lockChanges()
	if err == nil {
		err = f.rotate(l, f.Snapshot().Messages, false)
		l.unlock()
	}
	if err != nil {
		b.Fatal(err)
	}
	f.mu.Unlock()
	b.Logf("cache written: %v", time.Since(start))
	start = time.Now()
	visit(b, root, func(h *Host, g *Folder, s *Snapshot) {
		b.Logf("opened with cache: %v, directories listed: %d", time.Since(start), h.count.dirReads.Load())
	})
}

func BenchmarkFirstOpen(b *testing.B) {
	root := filepath.Join(b.TempDir(), "Maildir")
	fill(b, root, 20_000, true)
	for b.Loop() {
		visit(b, root, func(*Host, *Folder, *Snapshot) {})
		b.StopTimer()
		os.Remove(root + "/" + uidlistName)
		os.Remove(root + "/" + cacheName)
		b.StartTimer()
	}
}

// BenchmarkFacts takes the envelopes of 10,000 messages of 4 KB, from the
// messages and from the cache.
func BenchmarkFacts(b *testing.B) {
	root := filepath.Join(b.TempDir(), "Maildir")
	lettersIn(b, root, 0, 10_000)
	body := strings.Repeat("0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\n", 60)
	names, err := os.ReadDir(filepath.Join(root, "cur"))
	if err != nil {
		b.Fatal(err)
	}
	for i, name := range names {
		text := fmt.Sprintf("Received: from mx.example (mx.example [192.0.2.1])\n\tby bench.example with ESMTPS id 1234567890;\n\tSun, 22 Nov 2026 10:00:01 +0000\nFrom: Sender %d <s%d@bench.example>\nTo: reader@bench.example\nSubject: message number %d\nDate: Sun, 22 Nov 2026 10:00:00 +0000\nMessage-ID: <%d@bench.example>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nX-Mailer: bench\n\n%s", i, i, i, i, body)
		if err := os.WriteFile(filepath.Join(root, "cur", name.Name()), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for _, need := range []Need{NeedEnvelope, NeedStructure} {
		for _, cold := range []bool{true, false} {
			b.Run(fmt.Sprintf("need=%d/cold=%v", need, cold), func(b *testing.B) {
				visit(b, root, func(h *Host, f *Folder, s *Snapshot) {
					uids := uidsOf(s)
					for b.Loop() {
						if cold {
							f.facts.settled()
							os.Remove(f.factsPath())
							f.facts.forget()
						}
						err := f.EachFacts(slices.Values(uids), need, func(_ uint32, _ *Facts, err error) error { return err })
						if err != nil {
							b.Fatal(err)
						}
					}
				})
			})
		}
	}
}

// BenchmarkAppend is one connection that appends messages of 4 KB.
func BenchmarkAppend(b *testing.B) {
	h := newTestHost(b)
	f := openFolder(b, openAccount(b, h, filepath.Join(b.TempDir(), "Maildir")), Inbox)
	msg := text(strings.Repeat("0123456789012345678901234567890123456789012345678901234567890\r\n", 64))
	for b.Loop() {
		if _, err := f.Append(0, nil, time.Time{}, msg); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNews is the time from a delivery until a session has the message,
// beyond what the delivery takes.
func BenchmarkNews(b *testing.B) {
	h := newTestHost(b, func(o *Options) { o.Watch = true })
	root := filepath.Join(b.TempDir(), "Maildir")
	f := openFolder(b, openAccount(b, h, root), Inbox)
	refresh(b, f)
	other := newTestHost(b)
	var took []time.Duration
	for b.Loop() {
		changed, n := f.Changed(), f.Snapshot().Messages.Len()
		must(b, other.Deliver([]Target{{Root: root}}, text("x\n"))[0])
		start := time.Now()
		for {
			<-changed
			changed = f.Changed()
			if refresh(b, f).Messages.Len() > n {
				break
			}
		}
		took = append(took, time.Since(start))
		time.Sleep(2 * debounce) // each is the first for a while
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
}
