package imapd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// viewOf makes a view of messages with these UIDs.
func viewOf(uids ...uint32) mailbox.List {
	all := make([]mailbox.Message, len(uids))
	for i, uid := range uids {
		all[i].UID = uid
	}
	return mailbox.ListOf(all)
}

// parse makes a set of its text.
func parseSet(t testing.TB, text string) imap.SeqSet {
	t.Helper()
	set, err := (&parser{line: []byte(text)}).set()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// The example of RFC 7162 §3.2.5.2, in small: only UIDs divisible by three
// are there, and the client knows so up to 24.
func TestSequenceMatchData(t *testing.T) {
	view := viewOf(3, 6, 9, 12, 15, 18, 21, 24, 30)
	for _, c := range []struct {
		seqs, uids string
		want       uint32
	}{
		{"1", "3", 3}, {"4", "12", 12}, {"2,4,6:8", "6,12,18,21,24", 24}, {"2,9", "6,27", 6}, {"1", "2", 0}, {"8:20", "24,30:40", 30},
		{"4294967295", "3", 0}, {"1:4294967295", "3,6,9", 9}, {"4,2", "12,6", 12}, {"2,2,4", "6,6,12", 6},
	} {
		r := &resync{seqs: parseSet(t, c.seqs), uids: parseSet(t, c.uids)}
		if got := r.agreed(view); got != c.want {
			t.Errorf("(%s %s): %d, want %d", c.seqs, c.uids, got, c.want)
		}
	}
}

func TestMissing(t *testing.T) {
	for range 2000 {
		var uids []uint32
		for uid := uint32(1); uid < 20; uid++ {
			if rand.IntN(2) == 0 {
				uids = append(uids, uid)
			}
		}
		first, last := 1+rand.Uint32N(25), rand.Uint32N(25)
		var want, got []uint32
		for uid := first; uid <= last; uid++ {
			if !slices.Contains(uids, uid) {
				want = append(want, uid)
			}
		}
		missing(viewOf(uids...), first, last, func(from, to uint32) {
			for uid := from; uid <= to; uid++ {
				got = append(got, uid)
			}
		})
		if !slices.Equal(got, want) {
			t.Fatalf("%v from %d to %d: %v, want %v", uids, first, last, got, want)
		}
	}
	n := 0
	missing(viewOf(5, math.MaxUint32), 1, math.MaxUint32, func(from, to uint32) { n += int(to - from + 1) })
	if n != math.MaxUint32-2 {
		t.Errorf("%d are missing", n)
	}
}

// FuzzSelectParameters: nothing that follows SELECT makes a panic, and what is
// taken is as the grammar has it.
func FuzzSelectParameters(f *testing.F) {
	for _, seed := range []string{"INBOX (CONDSTORE)", "INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))",
		"INBOX (QRESYNC (67890007 90060115194045000 1:29997 (5000,7500,9000,9990:9999 15000,22500)))", "x (QRESYNC (1 1 (1 1)))"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := &session{on: qresync, state: imap.ConnStateAuthenticated, limits: DefaultLimits()}
		p := &parser{s: s, line: []byte(" " + text)}
		var o selecting
		if slices.Contains([]byte(text), '{') || p.selectArguments(&o) != nil || o.sync == nil {
			return
		}
		r := o.sync
		if r.validity == 0 || r.modSeq > math.MaxInt64 || (r.seqs == nil) != (r.uids == nil) {
			t.Fatalf("%q: %+v", text, r)
		}
		for _, set := range []imap.SeqSet{r.known, r.seqs, r.uids} {
			for _, one := range set {
				if one.Start == 0 || one.Stop == 0 {
					t.Fatalf("%q: %v", text, set)
				}
			}
		}
		r.agreed(viewOf(1, 2, 3))
	})
}

// FuzzModifiers: those of FETCH and STORE.
func FuzzModifiers(f *testing.F) {
	f.Add("1:* (FLAGS) (CHANGEDSINCE 12345 VANISHED)", "7,5,9 (UNCHANGEDSINCE 320162338) +FLAGS.SILENT (\\Deleted)")
	f.Fuzz(func(t *testing.T, fetch, store string) {
		s := &session{on: qresync, state: imap.ConnStateSelected, limits: DefaultLimits()}
		if slices.Contains([]byte(fetch+store), '{') {
			return
		}
		if _, r, err := (&parser{s: s, uid: true, line: []byte(" " + fetch)}).fetchArguments(); err == nil && r.vanished && !r.since {
			t.Fatalf("%q: VANISHED alone", fetch)
		}
		if _, c, err := (&parser{s: s, line: []byte(" " + store)}).storeArguments(); err == nil && c.conditional && c.UnchangedSince > math.MaxInt64 {
			t.Fatal(fmt.Sprint(store, c))
		}
	})
}
