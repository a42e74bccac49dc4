package mailbox

import (
	"os"
	"path/filepath"
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
	f.curOK = true
	f.saved = savedCache{}
	f.saveCache()
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
