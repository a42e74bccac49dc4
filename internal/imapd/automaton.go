package imapd

import (
	"bytes"
	"cmp"
	"slices"
)

// automaton finds many needles in one pass (Aho and Corasick, 1975), in time
// linear in the text, however the needles are made. States are numbered by
// depth, and the children of one lie side by side; the first ones, where a
// search mostly is, have a whole row of transitions. It takes 13 octets for
// each octet of the needles, and 1 KB for each of the first states.
type automaton struct {
	first  []int32 // of the children of a state; they end where those of the next begin
	labels []byte  // by which octet a state is reached
	fail   []int32 // the longest proper suffix that is a state, too
	out    []int32 // the state itself, or its longest suffix, that ends a needle; 0 is none
	needle map[int32]int32
	rows   [][256]int32
	at     int32
}

// denseStates is how many states have a row.
const denseStates = 128

// newAutomaton makes one for needles that are not empty and not twice there.
func newAutomaton(needles [][]byte) *automaton {
	order := make([]int32, len(needles))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Or(bytes.Compare(needles[a], needles[b]), cmp.Compare(a, b)) })
	a := &automaton{needle: make(map[int32]int32, len(needles)), labels: []byte{0}, fail: []int32{0}, out: []int32{0}}
	type span struct{ from, to, depth int32 } // of order: the needles that begin with a state
	level := []span{{0, int32(len(order)), 0}}
	for s := int32(0); len(level) > 0; {
		var next []span
		for _, at := range level {
			a.first = append(a.first, int32(len(a.labels)))
			for from := at.from; from < at.to; {
				if int(at.depth) == len(needles[order[from]]) {
					a.needle[s], a.out[s] = order[from], s
					from++
					continue
				}
				b := needles[order[from]][at.depth]
				to := from + 1
				for to < at.to && needles[order[to]][at.depth] == b {
					to++
				}
				next = append(next, span{from, to, at.depth + 1})
				a.addState(s, b)
				from = to
			}
			if a.out[s] == 0 {
				a.out[s] = a.out[a.fail[s]]
			}
			s++
		}
		level = next
	}
	a.first = append(a.first, int32(len(a.labels)))
	a.makeRows()
	return a
}

// addState adds the child of s that is reached by b.
func (a *automaton) addState(s int32, b byte) {
	a.labels = append(a.labels, b)
	a.out = append(a.out, 0)
	fail := int32(0)
	for f := s; f != 0; {
		f = a.fail[f]
		if child := a.child(f, b); child != 0 {
			fail = child
			break
		}
	}
	a.fail = append(a.fail, fail)
}

// child returns the state below s that is reached by b, 0 if there is none.
// The children of s are complete, and those of the next state have begun.
func (a *automaton) child(s int32, b byte) int32 {
	from := a.first[s]
	if i := bytes.IndexByte(a.labels[from:a.first[s+1]], b); i >= 0 {
		return from + int32(i)
	}
	return 0
}

func (a *automaton) makeRows() {
	a.rows = make([][256]int32, min(denseStates, len(a.labels)))
	for s := range a.rows {
		if s > 0 {
			a.rows[s] = a.rows[a.fail[s]]
		}
		for c := a.first[s]; c < a.first[s+1]; c++ {
			a.rows[s][a.labels[c]] = c
		}
	}
}

// reset forgets the text before.
func (a *automaton) reset() { a.at = 0 }

// scan goes on with a text. It calls hit for each needle that ends in it,
// until hit returns false, which tells that the needle was hit before: then
// those that are its suffixes were, too.
func (a *automaton) scan(text []byte, hit func(needle int32) bool) {
	s, rows := a.at, a.rows
	for _, b := range text {
		if int(s) < len(rows) {
			s = rows[s][b]
		} else {
			s = a.step(s, b)
		}
		for o := a.out[s]; o != 0 && hit(a.needle[o]); {
			o = a.out[a.fail[o]]
		}
	}
	a.at = s
}

func (a *automaton) step(s int32, b byte) int32 {
	for int(s) >= len(a.rows) {
		if child := a.child(s, b); child != 0 {
			return child
		}
		s = a.fail[s]
	}
	return a.rows[s][b]
}
