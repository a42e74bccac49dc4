package mailbox

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestDiff compares Diff, Search and At with what maps and slices say.
func TestDiff(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		size := r.IntN(4 * pieceSize)
		was := make([]Message, 0, size)
		for uid := range uint32(size) {
			if r.IntN(4) > 0 {
				was = append(was, Message{UID: 1 + uid})
			}
		}
		a := ListOf(was)
		b, now := changed(r, a, was)
		got := make(map[[2]int]bool)
		Diff(a, b, func(i, j int) { got[[2]int{i, j}] = true })
		for i, m := range was {
			j, ok := b.Index(m.UID)
			k := slices.IndexFunc(now, func(n Message) bool { return n.UID == m.UID })
			if ok != (k >= 0) || ok && j != k {
				t.Fatalf("index of UID %d is %d, %v, want %d", m.UID, j, ok, k)
			}
			if k < 0 != got[[2]int{i, -1}] || k >= 0 && (now[k] != m) != got[[2]int{i, k}] {
				t.Fatalf("UID %d: was at %d, is at %d, and the difference is %v", m.UID, i, k, got)
			}
		}
		for j := range now {
			if _, ok := a.Index(now[j].UID); ok == got[[2]int{-1, j}] {
				t.Fatalf("message %d is new: %v", j, !ok)
			}
			if b.At(j).UID != now[j].UID {
				t.Fatalf("message %d has UID %d, want %d", j, b.At(j).UID, now[j].UID)
			}
		}
	}
}

// changed returns a list that shares pieces with a, and its messages.
func changed(r *rand.Rand, a List, was []Message) (List, []Message) {
	var b List
	var now []Message
	for _, p := range a.pieces {
		switch r.IntN(4) {
		case 0: // gone
			continue
		case 1:
			p = &piece{messages: slices.Clone(p.messages)}
			p.messages[r.IntN(len(p.messages))].Flags = Seen
		}
		b.push(p)
		now = append(now, p.messages...)
	}
	for range r.IntN(3) {
		m := Message{UID: uint32(len(was)*2 + len(now) + 10)}
		b.push(&piece{messages: []Message{m}})
		now = append(now, m)
	}
	return b, now
}

func (s *Snapshot) all() []Message { return s.Messages.slice() }

// A draft does to a list what one would do to a slice, and leaves the list
// that it was made of alone.
func TestDraft(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var l List
	var want []Message
	next := uint32(1)
	for range 300 {
		was, copied := l, slices.Clone(want)
		d := draftOf(l)
		for range r.IntN(5) {
			switch {
			case r.IntN(3) > 0 || len(want) == 0:
				for range r.IntN(400) {
					next += uint32(1 + r.IntN(3))
					m := Message{UID: next}
					d.push(m)
					want = append(want, m)
				}
			case r.IntN(2) == 0:
				i := r.IntN(len(want))
				want[i].Flags ^= Seen
				d.edit(i).Flags ^= Seen
				want[i].where = where(r.IntN(4))
				d.edit(i).where = want[i].where
				d.setPath(i, "cur/odd")
			default:
				var gone []uint32
				for range r.IntN(len(want)) {
					i := r.IntN(len(want))
					gone = append(gone, want[i].UID)
					want = slices.Delete(want, i, i+1)
					if len(want) == 0 {
						break
					}
				}
				d.drop(gone)
			}
		}
		l = d.List
		if !slices.Equal(l.slice(), want) || !slices.Equal(was.slice(), copied) {
			t.Fatal("the draft differs from the slice")
		}
		if len(l.pieces) > 4*l.n/pieceSize+2 {
			t.Fatalf("%d pieces for %d messages", len(l.pieces), l.n)
		}
		for i := range want {
			if j, ok := l.Index(want[i].UID); !ok || i != j || *l.At(i) != want[i] || (l.path(i) == "cur/odd") != (want[i].where == odd) {
				t.Fatalf("message %d", i)
			}
		}
		if i := l.Search(next + 1); i != l.n {
			t.Fatal(i)
		}
	}
}
