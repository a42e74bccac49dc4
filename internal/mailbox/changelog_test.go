package mailbox

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What a client knows of a folder that it last looked at some time ago.
type known struct {
	highest uint64
	flags   map[uint32]string
}

func knowledge(s *Snapshot) known {
	k := known{highest: s.HighestModSeq, flags: make(map[uint32]string)}
	for _, m := range s.Messages.All() {
		k.flags[m.UID] = fmt.Sprint(m.Flags, s.keywordNames(m))
	}
	return k
}

// catchesUp lets a client of RFC 7162 bring its knowledge up to date, and
// compares it with what is there.
func (k known) catchesUp(t *testing.T, what string, f *Folder, s *Snapshot) {
	t.Helper()
	if s.HighestModSeq < k.highest {
		t.Errorf("%s: HIGHESTMODSEQ went back from %d to %d", what, k.highest, s.HighestModSeq)
	}
	now, got := knowledge(s), maps.Clone(k.flags)
	for _, m := range s.Messages.All() {
		if m.ModSeq > s.HighestModSeq || m.ModSeq == 0 {
			t.Errorf("%s: message %d has %d, the highest is %d", what, m.UID, m.ModSeq, s.HighestModSeq)
		}
		if m.ModSeq > k.highest {
			got[m.UID] = now.flags[m.UID]
		}
	}
	gone, complete := f.Vanished(k.highest)
	for _, uid := range gone {
		if _, there := now.flags[uid]; there {
			t.Errorf("%s: %d is there and vanished", what, uid)
		}
		delete(got, uid)
	}
	if !complete {
		maps.DeleteFunc(got, func(uid uint32, _ string) bool { _, ok := now.flags[uid]; return !ok })
	}
	if !maps.Equal(got, now.flags) {
		t.Errorf("%s: the client has %v, the folder %v", what, got, now.flags)
	}
}

// Whatever happens to the cache and the log, no client misses a change, and
// HIGHESTMODSEQ never goes back.
func TestDamagedChanges(t *testing.T) {
	for _, n := range []int{4, 40} {
		root := filepath.Join(t.TempDir(), "Maildir")
		fill(t, root, n, true)
		var ks []known
		learn := func(f *Folder) { ks = append(ks, knowledge(refresh(t, f))) }
		log, base := filepath.Join(root, changesName), filepath.Join(root, cacheName)
		visit(t, root, func(_ *Host, f *Folder, _ *Snapshot) { learn(f) })
		older, _ := os.ReadFile(base)
		visit(t, root, func(_ *Host, f *Folder, s *Snapshot) {
			learn(f)
			must(t, storeIn(f, []uint32{1, 3}, Add, Flagged, []string{"some"}))
			learn(f)
			must(t, storeIn(f, []uint32{1}, Remove, Flagged, nil)) // as it was
			must(t, f.Expunge([]uint32{2}))
			learn(f)
		})
		visit(t, root, func(_ *Host, f *Folder, s *Snapshot) {
			for i, k := range ks {
				k.catchesUp(t, fmt.Sprint("no damage, client ", i), f, s)
			}
			if s.HighestModSeq != ks[len(ks)-1].highest {
				t.Error("the mod-sequences are new")
			}
		})
		goodLog, _ := os.ReadFile(log)
		goodBase, _ := os.ReadFile(base)
		if (len(goodBase) > 0) != (n >= minCached) || len(goodLog) == 0 {
			t.Fatalf("log of %d octets, cache of %d", len(goodLog), len(goodBase))
		}
		try := func(what string, log2, base2 []byte) {
			t.Helper()
			os.Remove(log)
			os.Remove(base)
			if log2 != nil {
				os.WriteFile(log, log2, 0o600)
			}
			if base2 != nil {
				os.WriteFile(base, base2, 0o600)
			}
			visit(t, root, func(_ *Host, f *Folder, s *Snapshot) {
				for i, k := range ks {
					k.catchesUp(t, fmt.Sprint(what, ", client ", i), f, s)
				}
			})
		}
		step := 5
		if n > 4 {
			step = 37
		}
		if os.Getenv("PEYK_LARGE") != "" {
			step = 1
		}
		for i := 0; i < len(goodLog); i += step {
			try(fmt.Sprint("log cut at ", i), goodLog[:i], goodBase)
			bad := slices.Clone(goodLog)
			bad[i] ^= 1 << (i % 8)
			try(fmt.Sprint("log flipped at ", i), bad, goodBase)
		}
		for i := 0; i < len(goodBase); i += 7 * step {
			bad := slices.Clone(goodBase)
			bad[i] ^= 1 << (i % 8)
			try(fmt.Sprint("cache flipped at ", i), goodLog, bad)
			try(fmt.Sprint("cache cut at ", i), goodLog, goodBase[:i])
		}
		try("no log", nil, goodBase)
		try("no cache", goodLog, nil)
		try("neither", nil, nil)
		try("older cache", goodLog, older)
		try("log with something behind it", append(slices.Clone(goodLog), "torn"...), goodBase)
	}
}

// After a power cut, a log that ends early is not believed unless cur/ is as
// it says.
func TestAnotherBoot(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	fill(t, root, 3, true)
	log := filepath.Join(root, changesName)
	var first, last known
	visit(t, root, func(_ *Host, f *Folder, s *Snapshot) { first = knowledge(s) })
	early, _ := os.ReadFile(log)
	otherBoot := func(raw []byte) []byte {
		h, err := decodeLogHeader(raw)
		must(t, err)
		h.boot++
		return append(h.encode(), raw[changesHeader:]...)
	}
	os.WriteFile(log, otherBoot(early), 0o600)
	visit(t, root, func(_ *Host, f *Folder, s *Snapshot) {
		if s.HighestModSeq != first.highest {
			t.Error("all is as it was, but the mod-sequences are new")
		}
		time.Sleep(2 * granule) // cur/ gets another time stamp
		must(t, storeIn(f, []uint32{1}, Add, Flagged, nil))
		last = knowledge(refresh(t, f))
		time.Sleep(2 * granule)
		must(t, storeIn(f, []uint32{1}, Remove, Flagged, nil))
	})
	os.WriteFile(log, otherBoot(early), 0o600) // the cut has eaten the rest
	visit(t, root, func(_ *Host, f *Folder, s *Snapshot) {
		first.catchesUp(t, "early client", f, s)
		last.catchesUp(t, "late client", f, s)
	})
}

// model is one Maildir, what two processes and a foreign program do to it, and
// what some clients know.
type model struct {
	t       *testing.T
	r       *rand.Rand
	root    string
	folders [2]*Folder
	close   [2]func()
	bases   map[uint32]string
	highest uint64
	clients []known
	next    int
}

func (m *model) open(p int) {
	h := newTestHost(m.t)
	a, err := h.Open(m.root)
	must(m.t, err)
	f, err := a.Folder(Inbox)
	must(m.t, err)
	m.folders[p] = f
	m.close[p] = func() { f.Close(); a.Close(); h.Close() }
}

// Two processes and a foreign program change one folder at random. Both
// processes come to the same messages, mod-sequences and expunges.
func TestModSeqModel(t *testing.T) {
	seeds := 3
	if os.Getenv("PEYK_LARGE") != "" {
		seeds = 100
	}
	for seed := range seeds {
		m := &model{t: t, r: rand.New(rand.NewPCG(uint64(seed), 7)), root: filepath.Join(t.TempDir(), "Maildir"), bases: make(map[uint32]string)}
		m.open(0)
		m.open(1)
		for range 60 {
			for range 1 + m.r.IntN(4) {
				m.step()
			}
			m.check()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		m.close[0]()
		m.close[1]()
	}
}

func (m *model) files() []string {
	in, _ := filepath.Glob(m.root + "/cur/*")
	more, _ := filepath.Glob(m.root + "/new/*")
	return append(in, more...)
}

// some returns messages that the process has seen.
func (m *model) some(f *Folder) (uids []uint32) {
	s := f.Snapshot()
	if s == nil || s.Messages.Len() == 0 {
		return nil
	}
	for range 1 + m.r.IntN(3) {
		uids = append(uids, s.Messages.At(m.r.IntN(s.Messages.Len())).UID)
	}
	slices.Sort(uids)
	return slices.Compact(uids)
}

func (m *model) step() {
	p := m.r.IntN(2)
	f := m.folders[p]
	files := m.files()
	switch n := m.r.IntN(14); {
	case n < 2:
		_, err := f.Append(Flags(m.r.IntN(64)), nil, time.Time{}, text("x"))
		must(m.t, err)
	case n < 6:
		c := Change{Op: Op(m.r.IntN(3)), Flags: Flags(m.r.IntN(64)), Keywords: []string{"a", "b"}[:m.r.IntN(3)]}
		if s := f.Snapshot(); s != nil && m.r.IntN(3) == 0 {
			c.UnchangedSince = &s.HighestModSeq
		}
		f.Store(m.some(f), c)
	case n == 6:
		must(m.t, f.Expunge(m.some(f)))
	case n == 7:
		m.next++
		os.WriteFile(fmt.Sprintf("%s/new/%d.M%dP1.foreign", m.root, 1600000000+m.next, m.next), []byte("y\n"), 0o600)
	case n < 10 && len(files) > 0:
		from := files[m.r.IntN(len(files))]
		base, _, _ := strings.Cut(filepath.Base(from), ":")
		os.Rename(from, m.root+"/cur/"+base+string(appendInfo(nil, Flags(m.r.IntN(64)), uint64(m.r.IntN(4)))))
	case n == 10 && len(files) > 0:
		os.Remove(files[m.r.IntN(len(files))])
	case n == 11:
		m.close[p]()
		m.open(p)
	default:
		f.dirty.Store(true)
		refresh(m.t, f)
	}
}

func (m *model) check() {
	t := m.t
	var s [2]*Snapshot
	for _, p := range []int{0, 1, 0, 1} {
		m.folders[p].dirty.Store(true) // as an event would
		s[p] = refresh(t, m.folders[p])
	}
	if a, b := s[0].Messages.slice(), s[1].Messages.slice(); !sameModSeqs(a, b) || s[0].HighestModSeq != s[1].HighestModSeq {
		t.Errorf("the processes differ:\n%+v\n%+v", a, b)
	}
	if s[0].HighestModSeq < m.highest {
		t.Errorf("HIGHESTMODSEQ went back")
	}
	m.highest = s[0].HighestModSeq
	there := map[string]bool{}
	for _, path := range m.files() {
		there[strings.TrimPrefix(path, m.root+"/")] = true
	}
	for i, msg := range s[0].Messages.All() {
		if base, ok := m.bases[msg.UID]; ok && base != msg.Base {
			t.Errorf("UID %d was %s, and is %s", msg.UID, base, msg.Base)
		}
		m.bases[msg.UID] = msg.Base
		if path := s[0].Messages.path(i); !there[path] {
			t.Errorf("there is no %s", path)
		}
	}
	if len(there) != s[0].Messages.Len() {
		t.Errorf("%d files, %d messages", len(there), s[0].Messages.Len())
	}
	for p, f := range m.folders {
		for _, k := range m.clients {
			k.catchesUp(t, fmt.Sprint("process ", p), f, s[p])
		}
	}
	m.clients = append(m.clients, knowledge(s[0]))
	if len(m.clients) > 20 {
		i := m.r.IntN(20)
		m.clients = slices.Delete(m.clients, i, i+1)
	}
}

func sameModSeqs(a, b []Message) bool {
	return slices.EqualFunc(a, b, func(a, b Message) bool {
		return a.UID == b.UID && a.Base == b.Base && a.Flags == b.Flags && a.Keywords == b.Keywords && a.ModSeq == b.ModSeq
	})
}

// Of several processes that change a message on the condition that it is as
// they know it, one does (RFC 7162 §3.1.3).
func TestConditionalStoreOfManyProcesses(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	fill(t, root, 2, true)
	folders := make([]*Folder, 4)
	for i := range folders {
		folders[i] = openFolder(t, openAccount(t, newTestHost(t), root), Inbox)
		refresh(t, folders[i])
	}
	for round := range 10 {
		for _, f := range folders {
			f.dirty.Store(true)
		}
		known := refresh(t, folders[0]).HighestModSeq
		var won atomic.Int64
		var wg sync.WaitGroup
		for i, f := range folders {
			wg.Go(func() {
				c := Change{Op: Replace, Flags: Seen | Flags(round%2), Keywords: []string{fmt.Sprint("k", i)}, UnchangedSince: &known}
				modified, err := f.Store([]uint32{2}, c)
				if err != nil {
					t.Error(err)
				}
				if len(modified) == 0 {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("round %d: %d processes changed the message", round, won.Load())
		}
	}
}

// A process that comes after one that changed a flag and left reads neither
// directories nor messages, and knows the dates that were asked for.
func TestOpenAfterAChange(t *testing.T) {
	for _, n := range []int{5, 100} {
		root := filepath.Join(t.TempDir(), "Maildir")
		fill(t, root, n, true)
		visit(t, root, func(*Host, *Folder, *Snapshot) {})
		var date, saved time.Time
		var last *Snapshot
		visit(t, root, func(_ *Host, f *Folder, _ *Snapshot) {
			must(t, storeIn(f, []uint32{2, 4}, Add, Flagged, nil))
			must(t, f.Expunge([]uint32{3}))
			var err error
			date, err = f.Date(2)
			must(t, err)
			saved, err = f.SaveDate(2)
			must(t, err)
			last = refresh(t, f)
		})
		visit(t, root, func(h *Host, f *Folder, s *Snapshot) {
			if !slices.Equal(s.slice()[2:], last.slice()[2:]) || s.HighestModSeq != last.HighestModSeq || s.UIDNext != last.UIDNext {
				t.Errorf("%d messages: %+v, %+v", n, s.slice(), last.slice())
			}
			c := &h.count
			if reads := c.dirReads.Load() + c.fileReads.Load() + c.uidReads.Load(); reads != 0 {
				t.Errorf("%d messages: %d reads", n, reads)
			}
			os.Rename(root+"/"+s.Messages.path(1), root+"/elsewhere") // it is not asked again
			if d, err := f.Date(2); err != nil || !d.Equal(date) {
				t.Errorf("%v, %v, was %v", d, err, date)
			}
			if d, err := f.SaveDate(2); err != nil || !d.Equal(saved) || time.Since(d) > time.Hour {
				t.Errorf("%v, %v, was %v", d, err, saved)
			}
			if gone, complete := f.Vanished(last.HighestModSeq - 1); !complete || len(gone) > 1 {
				t.Error(gone, complete)
			}
		})
	}
}

// The log does not grow for ever, and forgets expunges that are long past.
func TestLogIsFoldedIntoTheCache(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	fill(t, root, 40, true)
	var early uint64
	visit(t, root, func(_ *Host, f *Folder, s *Snapshot) {
		early = s.HighestModSeq
		other := openFolder(t, openAccount(t, newTestHost(t), root), Inbox)
		refresh(t, other)
		f.mods.vanished = make([]vanished, 2*maxVanished) // long ago
		for i := range f.mods.vanished {
			f.mods.vanished[i] = vanished{early, uint32(100 + i)}
		}
		for i := range 1800 {
			must(t, storeIn(f, []uint32{1}, Op(i%2), Flagged, nil))
			if i%100 == 0 {
				other.dirty.Store(true)
				if refresh(t, other).HighestModSeq != refresh(t, f).HighestModSeq {
					t.Fatal("the other process did not follow")
				}
			}
		}
		if _, complete := f.Vanished(early - 1); complete || len(f.mods.vanished) != maxVanished {
			t.Errorf("%d expunges, complete %v", len(f.mods.vanished), complete)
		}
	})
	if info, err := os.Stat(filepath.Join(root, changesName)); err != nil || info.Size() > minLog+1000 {
		t.Errorf("%+v, %v", info, err)
	}
	visit(t, root, func(_ *Host, f *Folder, s *Snapshot) {
		if s.Messages.Len() != 40 || s.Messages.At(1).ModSeq != early {
			t.Errorf("%+v", s.Messages.At(1))
		}
	})
}
