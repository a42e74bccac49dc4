package mailbox

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// fill makes a folder of n messages that some other program delivered long
// ago; named tells whether their names hold their sizes.
func fill(t testing.TB, dir string, n int, named bool) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		name := fmt.Sprintf("%d.M%06dP7.old.host", 1500000000+i/3, i)
		if named {
			name += ",S=12,W=14"
		}
		if err := os.WriteFile(filepath.Join(dir, "cur", name+":2,S"), []byte("Subject:\n\nx\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, dir)
}

// settle lets the directories look as if nothing had changed for an hour.
func settle(t testing.TB, dir string) {
	t.Helper()
	old := time.Now().Add(-time.Hour).Add(123456789)
	for _, sub := range []string{"cur", "new"} {
		if err := os.Chtimes(filepath.Join(dir, sub), old, old); err != nil {
			t.Fatal(err)
		}
	}
}

// visit opens INBOX as a process of its own would, refreshes and closes it.
func visit(t testing.TB, root string, look func(h *Host, f *Folder, s *Snapshot)) {
	t.Helper()
	h := newTestHost(t)
	a, err := h.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	f, err := a.Folder(Inbox)
	if err != nil {
		t.Fatal(err)
	}
	look(h, f, refresh(t, f))
	f.Close()
	a.Close()
	h.Close()
}

func TestSecondOpenReadsNothing(t *testing.T) {
	n := 2000
	if os.Getenv("PEYK_BIG") != "" {
		n = 100_000
	}
	for _, named := range []bool{true, false} {
		root := filepath.Join(t.TempDir(), "Maildir")
		fill(t, root, n, named)
		var first *Snapshot
		visit(t, root, func(h *Host, f *Folder, s *Snapshot) {
			first = s
			if len(s.all()) != n || s.all()[0].Size != 15 && !named || s.all()[n-1].UID != uint32(n) {
				t.Fatalf("%d messages, first %+v", len(s.all()), s.all()[0])
			}
			if reads := h.count.fileReads.Load(); named && reads != 0 {
				t.Fatalf("%d messages read although their names tell their sizes", reads)
			}
		})
		visit(t, root, func(h *Host, f *Folder, s *Snapshot) {
			start := time.Now()
			refresh(t, f)
			t.Logf("refresh of an unchanged folder: %v", time.Since(start))
			c := &h.count
			if c.dirReads.Load()+c.fileReads.Load()+c.fileStats.Load()+c.uidReads.Load() != 0 {
				t.Fatalf("listed %d directories, read %d messages, %d uidlists", c.dirReads.Load(), c.fileReads.Load(), c.uidReads.Load())
			}
			if !sameMessages(s.all(), first.all()) || s.UIDValidity != first.UIDValidity || s.UIDNext != first.UIDNext {
				t.Fatal("the second process sees something else")
			}
			if contentOf(t, f, s.all()[n/2].UID) == "" {
				t.Fatal("cannot read")
			}
		})
	}
}

// Whatever is wrong with the cache, the folder is read from what it is.
func TestCacheThatLies(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	cache := filepath.Join(root, cacheName)
	fill(t, root, 100, false)
	var first *Snapshot
	visit(t, root, func(_ *Host, _ *Folder, s *Snapshot) { first = s })
	good, err := os.ReadFile(cache)
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string) {
		t.Helper()
		visit(t, root, func(_ *Host, f *Folder, s *Snapshot) {
			if !sameMessages(s.all(), first.all()) || s.UIDValidity != first.UIDValidity {
				t.Errorf("%s: another folder", what)
			}
		})
	}
	for i := 0; i < len(good); i += 97 {
		bad := slices.Clone(good)
		bad[i] ^= 0x55
		os.WriteFile(cache, bad, 0o600)
		same(fmt.Sprintf("octet %d", i))
	}
	os.WriteFile(cache, good[:len(good)/2], 0o600)
	same("cut")
	os.WriteFile(cache, good, 0o600)
	lines, _ := os.ReadFile(filepath.Join(root, uidlistName))
	os.Remove(filepath.Join(root, uidlistName))
	os.WriteFile(filepath.Join(root, uidlistName), lines, 0o600)
	same("uidlist replaced by an equal one")
	os.Remove(filepath.Join(root, "cur", first.all()[3].Base+":2,S"))
	visit(t, root, func(_ *Host, f *Folder, s *Snapshot) {
		if len(s.all()) != 99 || s.all()[3].UID != 5 {
			t.Fatalf("%d messages", len(s.all()))
		}
	})
}

func someCache() *cached {
	c := &cached{at: stamps{ids: uidState{header: uidHeader{validity: 7, next: 20, guid: "3085f01b7f11094c501100008c4a11c1", rest: "Xy"}, dev: 1, ino: 2, size: 3, lines: 4, read: true},
		idsMtime: 5, new: stamp{1, 2, 3}, cur: stamp{4, 5, 6}, curOK: ownChanges}, logID: 99, logEnd: 70, floor: 3, highest: 77,
		messages: ListOf([]Message{{UID: 3, Base: "a", Flags: Seen, Keywords: 1<<40 | 5, Size: 9, FileSize: 8, ModSeq: 77, date: 1, saved: 2}, {UID: 19, Base: "bb", where: odd, FileSize: -1}}),
		absent:   map[string]uint32{"gone": 4}, vanished: []vanished{{5, 4}, {5, 2}}}
	c.messages.setOdd(map[uint32]string{19: "cur/bb:1,x"})
	return c
}

func sameCache(c, d *cached) bool {
	return c.at == d.at && c.logID == d.logID && c.logEnd == d.logEnd && c.floor == d.floor && c.highest == d.highest &&
		slices.Equal(c.messages.slice(), d.messages.slice()) && maps.Equal(c.messages.odds(), d.messages.odds()) &&
		maps.Equal(c.absent, d.absent) && slices.Equal(c.vanished, d.vanished)
}

func TestCacheCodec(t *testing.T) {
	c := someCache()
	d, err := decodeCache(c.encode())
	if err != nil || !sameCache(c, d) {
		t.Fatalf("%+v, %v", d, err)
	}
	// The same by way of a log that has no cache before it.
	changes, n := decodeChanges(c.changes())
	e := &cached{absent: map[string]uint32{"gone": 4}, floor: 3, logID: 99, logEnd: 70}
	e.fold(changes)
	if n != len(c.changes()) || !sameCache(c, e) {
		t.Fatalf("%+v", e)
	}
}

func FuzzCache(f *testing.F) {
	f.Add(someCache().encode())
	f.Add([]byte(cacheMagic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			return
		}
		fixChecksum(raw)
		d, err := decodeCache(raw)
		if err != nil {
			return
		}
		again, err := decodeCache(d.encode())
		if err != nil || !sameCache(d, again) {
			t.Fatalf("no round trip: %v", err)
		}
	})
}

func FuzzChanges(f *testing.F) {
	c := someCache()
	f.Add(c.changes())
	f.Add((&change{kind: setFlags, m: Message{UID: 3, ModSeq: 80, Flags: Draft}}).append(nil))
	f.Add((&change{kind: setDates, m: Message{UID: 19, date: 7}}).append((&change{kind: sawFolder2, at: c.at}).append(nil)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			return
		}
		for at := 0; at+3 <= len(raw); { // let the fuzzer get behind the checksums
			end := at + 2 + int(binary.LittleEndian.Uint16(raw[at:]))
			if end+4 > len(raw) {
				break
			}
			binary.LittleEndian.PutUint32(raw[end:], crc32.Checksum(raw[at:end], castagnoli()))
			at = end + 4
		}
		changes, n := decodeChanges(raw)
		var again []byte
		for i := range changes {
			again = changes[i].append(again)
		}
		if more, m := decodeChanges(again); len(more) != len(changes) || m != len(again) || n > len(raw) {
			t.Fatalf("no round trip")
		}
		c := someCache()
		c.fold(changes)
		last := uint32(0)
		for _, m := range c.messages.All() {
			if m.UID <= last || m.ModSeq > c.highest {
				t.Fatalf("%+v", m)
			}
			last = m.UID
		}
	})
}

func FuzzLogHeader(f *testing.F) {
	f.Add((&logHeader{id: 3, parent: 2, parentEnd: 100, validity: 7, floor: 9, length: changesHeader, boot: 4}).encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := decodeLogHeader(raw)
		if err == nil && string(h.encode()) != string(raw[:changesHeader]) {
			t.Fatal("no round trip")
		}
	})
}

// fixChecksum lets the fuzzer get behind the checksum.
func fixChecksum(raw []byte) {
	if end := len(raw) - 4; end > 0 {
		binary.LittleEndian.PutUint32(raw[end:], crc32.Checksum(raw[:end], castagnoli()))
	}
}

// sameMessages compares all but the mod-sequences.
func sameMessages(a, b []Message) bool {
	return slices.EqualFunc(a, b, func(a, b Message) bool {
		a.ModSeq, a.date, a.saved = b.ModSeq, b.date, b.saved
		return a == b
	})
}
