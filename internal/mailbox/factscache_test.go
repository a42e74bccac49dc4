package mailbox

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// lettersIn makes a Maildir of n messages, each with its number in the subject.
func lettersIn(t testing.TB, root string, from, n int) {
	t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := from; i < from+n; i++ {
		text := fmt.Sprintf("Subject: %d\n\nx\n", i)
		name := fmt.Sprintf("%d.M1P7.h,S=%d,W=%d:2,S", 1500000000+i, len(text), len(text)+3)
		if err := os.WriteFile(filepath.Join(root, "cur", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, root)
}

// askAll checks the envelope and structure of all messages, and returns how
// many were read for it.
func askAll(t testing.TB, h *Host, f *Folder, s *Snapshot) int64 {
	t.Helper()
	before := h.count.fileReads.Load()
	uids := func(yield func(uint32) bool) {
		for _, m := range s.Messages.All() {
			if !yield(m.UID) {
				return
			}
		}
	}
	i := 0
	err := f.EachFacts(uids, NeedEnvelope|NeedStructure, func(uid uint32, a *Facts, err error) error {
		if err != nil {
			return err
		}
		if m := s.Messages.At(i); m.UID != uid {
			t.Fatalf("message %d comes as number %d", uid, i+1)
		} else if want := fmt.Sprintf(`(NIL "%s" `, subjectOf(m)); !strings.HasPrefix(string(a.Envelope), want) {
			t.Fatalf("message %d has envelope %q, want %q", uid, a.Envelope, want)
		}
		if !bytes.HasPrefix(a.Structure, []byte(`("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 1`)) {
			t.Fatalf("message %d has structure %q", uid, a.Structure)
		}
		i++
		return nil
	})
	if err != nil || i != s.Messages.Len() {
		t.Fatalf("%d of %d messages, %v", i, s.Messages.Len(), err)
	}
	f.facts.settled()
	return h.count.fileReads.Load() - before
}

func subjectOf(m *Message) string {
	var n int
	fmt.Sscanf(m.Base, "%d.", &n)
	return fmt.Sprint(n - 1500000000)
}

// asked visits the folder and returns how many messages were read.
func asked(t testing.TB, root string) (reads int64) {
	visit(t, root, func(h *Host, f *Folder, s *Snapshot) { reads = askAll(t, h, f, s) })
	return reads
}

func TestFactsAreReadOnce(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	lettersIn(t, root, 0, 3000)
	for visits, want := range []int64{3000, 0, 0} {
		if got := asked(t, root); got != want {
			t.Fatalf("visit %d read %d messages, want %d", visits+1, got, want)
		}
	}
	lettersIn(t, root, 3000, 10)
	for visits, want := range []int64{10, 0} {
		if got := asked(t, root); got != want {
			t.Fatalf("visit %d after new mail read %d messages, want %d", visits+1, got, want)
		}
	}
}

// TestFactsIndex sees that a large cache is not walked through to be opened.
func TestFactsIndex(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	lettersIn(t, root, 0, 6000)
	asked(t, root)
	visit(t, root, func(h *Host, f *Folder, s *Snapshot) {
		f.facts.catchUp(s.UIDValidity)
		x := &f.facts
		if x.index == 0 || x.end-x.indexed > 2*minUnindexed {
			t.Errorf("index at %d knows all before %d of %d", x.index, x.indexed, x.end)
		}
		if len(x.entries) != 6000 || x.records != 6000 || x.torn {
			t.Errorf("%d entries, %d records, torn %v", len(x.entries), x.records, x.torn)
		}
	})
}

func TestFactsOfSmallFoldersAreNotKept(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	lettersIn(t, root, 0, minFacts-1)
	asked(t, root)
	if _, err := os.Stat(filepath.Join(root, factsName)); !os.IsNotExist(err) {
		t.Errorf("there is a cache: %v", err)
	}
}

// damaged writes each version of a cache and asks for everything.
func damaged(t *testing.T, versions func(good []byte, try func([]byte))) {
	root := filepath.Join(t.TempDir(), "Maildir")
	lettersIn(t, root, 0, minFacts)
	asked(t, root)
	path := filepath.Join(root, factsName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := newTestHost(t)
	a := openAccount(t, h, root)
	versions(good, func(bad []byte) {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := a.Folder(Inbox)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s := refresh(t, f)
		askAll(t, h, f, s)
		if reads := askAll(t, h, f, s); reads != 0 {
			t.Fatalf("%d messages are read again after the cache was repaired", reads)
		}
	})
}

func TestFactsCutAnywhere(t *testing.T) {
	damaged(t, func(good []byte, try func([]byte)) {
		for n := range good {
			try(good[:n])
		}
	})
}

func TestFactsWithABitFlippedAnywhere(t *testing.T) {
	damaged(t, func(good []byte, try func([]byte)) {
		for i := range good {
			bad := slices.Clone(good)
			bad[i] ^= 1 << (i % 8)
			try(bad)
		}
	})
}

// TestFactsElsewhere: records in the wrong order, twice, or of another file.
func TestFactsElsewhere(t *testing.T) {
	damaged(t, func(good []byte, try func([]byte)) {
		n := recordLength(good[factsHeader:])
		body := good[factsHeader:]
		swapped := slices.Concat(good[:factsHeader], body[n:2*n], body[:n], body[2*n:])
		try(swapped)
		try(slices.Concat(good, body))
		other := slices.Clone(good)
		copy(other, factsFileHead{validity: 1, salt: 1}.encode())
		try(other)
		try(bytes.Repeat([]byte{0xff}, 4096))
		try(nil)
	})
}

func TestFactsOfTwoProcesses(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	const n = 2000
	lettersIn(t, root, 0, n)
	asked(t, root) // both know the same UIDs from here on
	if err := os.Remove(filepath.Join(root, factsName)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for p := range 2 {
		wg.Go(func() {
			visit(t, root, func(h *Host, f *Folder, s *Snapshot) {
				for from := p * 100; from < n; from += 200 {
					uids := func(yield func(uint32) bool) {
						for _, m := range s.Messages.From(from) {
							if m.UID > uint32(from+100) || !yield(m.UID) {
								return
							}
						}
					}
					if err := f.EachFacts(uids, NeedEnvelope|NeedStructure, func(_ uint32, _ *Facts, err error) error { return err }); err != nil {
						t.Error(err)
					}
					f.facts.settled()
				}
			})
		})
	}
	wg.Wait()
	if reads := asked(t, root); reads > n/2 {
		t.Errorf("%d of %d messages are read again", reads, n)
	}
	if reads := asked(t, root); reads != 0 {
		t.Errorf("at last, %d messages are read", reads)
	}
}

func TestFactsAfterAnotherUIDValidity(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	lettersIn(t, root, 0, 20)
	asked(t, root)
	os.RemoveAll(filepath.Join(root, "cur"))
	os.Remove(filepath.Join(root, uidlistName))
	os.Remove(filepath.Join(root, cacheName))
	lettersIn(t, root, 100, 20) // the same UIDs
	if reads := asked(t, root); reads != 20 {
		t.Errorf("%d messages were read, want 20", reads)
	}
	if reads := asked(t, root); reads != 0 {
		t.Errorf("%d messages were read, want none", reads)
	}
}

// TestFactsOfAnotherMessageWithTheUID: an old uidlist came back from a backup.
func TestFactsOfAnotherMessageWithTheUID(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	lettersIn(t, root, 0, 20)
	asked(t, root)
	list, err := os.ReadFile(filepath.Join(root, uidlistName))
	if err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(filepath.Join(root, "cur"))
	os.Remove(filepath.Join(root, cacheName))
	lettersIn(t, root, 100, 20)
	list = bytes.ReplaceAll(list, []byte(":15000000"), []byte(":15000001"))
	if err := os.WriteFile(filepath.Join(root, uidlistName), list, 0o600); err != nil {
		t.Fatal(err)
	}
	if reads := asked(t, root); reads != 20 {
		t.Errorf("%d messages were read, want 20", reads)
	}
}

func TestFactsAreCompacted(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	lettersIn(t, root, 0, 400)
	asked(t, root)
	path := filepath.Join(root, factsName)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	visit(t, root, func(h *Host, f *Folder, s *Snapshot) {
		if err := f.Expunge(uidsOf(s)[:350]); err != nil {
			t.Fatal(err)
		}
		refresh(t, f)
	})
	lettersIn(t, root, 400, 1)
	asked(t, root)
	after, err := os.Stat(path)
	if err != nil || after.Size() > before.Size()/4 {
		t.Errorf("%d octets, then %d; %v", before.Size(), after.Size(), err)
	}
	if reads := asked(t, root); reads != 0 {
		t.Errorf("%d messages are read after compaction", reads)
	}
	left, _ := filepath.Glob(path + ".*")
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestFactsLearnMore(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	lettersIn(t, root, 0, 20)
	needs := []Need{NeedEnvelope, NeedStructure, NeedBody, NeedID, NeedEnvelope | NeedFields | NeedStructure | NeedBody | NeedID}
	for i, need := range needs {
		visit(t, root, func(h *Host, f *Folder, s *Snapshot) {
			before := h.count.fileReads.Load()
			a, err := f.Facts(3, need)
			if err != nil || a.Have&need != need {
				t.Fatalf("need %b, have %+v, %v", need, a, err)
			}
			if reads := h.count.fileReads.Load() - before; (reads == 0) != (i == len(needs)-1) {
				t.Errorf("need %b took %d reads", need, reads)
			}
		})
	}
}

func TestFactsStopEarly(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	lettersIn(t, root, 0, 500)
	visit(t, root, func(h *Host, f *Folder, s *Snapshot) {
		n := 0
		err := f.EachFacts(slices.Values(uidsOf(s)), NeedEnvelope, func(uint32, *Facts, error) error {
			if n++; n == 3 {
				return os.ErrClosed
			}
			return nil
		})
		if err != os.ErrClosed || n != 3 {
			t.Errorf("%v after %d", err, n)
		}
		if reads := h.count.fileReads.Load(); reads > 3+walkAhead {
			t.Errorf("%d messages were read for 3", reads)
		}
	})
}

func FuzzFacts(f *testing.F) {
	a := &Facts{Have: NeedEnvelope | NeedFields, Envelope: []byte("(NIL)"), Fields: []byte("a: b\r\n"), FieldsWhole: true, ThreadID: "T" + strings.Repeat("ab", 16)}
	f.Add(appendFacts(nil, 7, 9, a), uint32(7), uint64(9), uint16(0xff))
	f.Add(appendIndex(nil, []factsEntry{{1, 4, 1}, {2, 5, 3}}, 3), uint32(2), uint64(0), uint16(1))
	f.Add(appendFooter(nil, 99), uint32(0), uint64(0), uint16(1))
	f.Fuzz(func(t *testing.T, raw []byte, uid uint32, who uint64, need uint16) {
		if n := recordLength(raw); n > 0 && n <= len(raw) {
			var got Facts
			if decodeFacts(raw[:n], uid, who, Need(need), &got) && got.size() > n {
				t.Fatalf("%d octets out of %d", got.size(), n)
			}
			decodeIndex(raw[:n], 1<<30)
		}
		decodeFactsHead(raw)
		head := factsFileHead{1, who}
		file := append(head.encode(), raw...)
		path := filepath.Join(t.TempDir(), factsName)
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		x := &factsFile{path: path}
		if err := x.open(1); err != nil {
			t.Fatal(err)
		}
		for _, e := range x.entries {
			p, _ := x.find(e.uid)
			(&factsReader{}).record(p, 1<<40)
		}
		x.forget()
		want := Facts{Have: Need(need) & needsCache, Envelope: raw, Preview: "", FieldsWhole: who&1 == 0}
		record := appendFacts(nil, uid, who, &want)
		head.sign(record, 4096)
		b := head.record(record, 4096)
		var got Facts
		if !decodeFacts(b, uid, who, 0, &got) || !bytes.Equal(got.Envelope, raw) || got.Have != want.Have || got.FieldsWhole != want.FieldsWhole {
			t.Fatalf("%+v became %+v", want, got)
		}
		if decodeFacts(b, uid+1, who, 0, &got) || decodeFacts(b, uid, who+1, 0, &got) || head.record(record, 4104) != nil {
			t.Fatal("the record of another message is believed")
		}
	})
}

// A panic while a message is read ahead, in a goroutine of the walk, reaches
// the session that wants the message, and not the whole process.
func TestAPanicAheadReachesTheOneWhoWalks(t *testing.T) {
	f := openFolder(t, openAccount(t, newTestHost(t), filepath.Join(t.TempDir(), "Maildir")), Inbox)
	if _, err := f.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := f.newWalk(NeedEnvelope)
	w.startReaders()
	w.ring[0], w.n = step{uid: 1, i: 7, need: NeedEnvelope}, 1 // a message that is not there
	w.hand(&w.ring[0])
	defer func() {
		if p := recover(); !strings.Contains(fmt.Sprint(p), "learn") {
			t.Errorf("recovered %v", p)
		}
		w.close()
	}()
	w.drain(func(uint32, *Facts, error) error { return nil })
	t.Error("there was no panic")
}
