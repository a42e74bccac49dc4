package mailbox

import (
	"iter"
	"maps"
	"sort"
)

// List is a list of messages, ascending by UID. It never changes. A list that
// differs from another in a few messages shares all pieces with it but those,
// so that a change costs the same in a large folder as in a small one.
type List struct {
	pieces []*piece
	starts []int    // index of the first message of each piece
	lasts  []uint32 // UID of the last message of each piece
	n      int
}

// A piece is a run of at most pieceSize messages, and of one at least.
type piece struct {
	messages []Message
	odd      map[uint32]string // paths below the folder, of messages with where == odd
}

func (p *piece) last() uint32 { return p.messages[len(p.messages)-1].UID }

const pieceSize = 256

// ListOf makes a list of messages, which must ascend by UID; it keeps the slice.
func ListOf(messages []Message) List {
	var l List
	for len(messages) > 0 {
		n := min(pieceSize, len(messages))
		l.push(&piece{messages: messages[:n:n]})
		messages = messages[n:]
	}
	return l
}

func (l *List) push(p *piece) {
	l.pieces, l.starts, l.lasts = append(l.pieces, p), append(l.starts, l.n), append(l.lasts, p.last())
	l.n += len(p.messages)
}

// Len returns how many messages there are.
func (l List) Len() int { return l.n }

// At returns the message at an index, 0 being the first. It must not be
// written to.
func (l List) At(i int) *Message {
	c := l.pieceOf(i)
	return &l.pieces[c].messages[i-l.starts[c]]
}

// pieceOf returns which piece holds the message at index i.
func (l List) pieceOf(i int) int {
	c := min(i/pieceSize, len(l.pieces)-1)
	if l.starts[c] <= i && i-l.starts[c] < len(l.pieces[c].messages) {
		return c // no piece before it is short
	}
	return sort.SearchInts(l.starts, i+1) - 1
}

// Search returns the index of the first message with at least this UID, Len
// when there is none.
func (l List) Search(uid uint32) int {
	c := searchUID(len(l.lasts), uid, func(c int) uint32 { return l.lasts[c] })
	if c == len(l.pieces) {
		return l.n
	}
	m := l.pieces[c].messages
	return l.starts[c] + searchUID(len(m), uid, func(i int) uint32 { return m[i].UID })
}

// searchUID finds the first of n ascending UIDs that is at least uid. UIDs
// mostly have few gaps, so it first looks where it would be without any.
func searchUID(n int, uid uint32, at func(int) uint32) int {
	if n == 0 || uid <= at(0) {
		return 0
	}
	low, high := at(0), at(n-1)
	if uid > high {
		return n
	}
	i := int(uint64(uid-low) * uint64(n-1) / uint64(high-low))
	for range 2 {
		switch u := at(i); {
		case u < uid && at(i+1) >= uid:
			return i + 1
		case u < uid:
			i++
		case at(i-1) < uid:
			return i
		default:
			i--
		}
	}
	return sort.Search(n, func(i int) bool { return at(i) >= uid })
}

// Index returns the index of the message with this UID.
func (l List) Index(uid uint32) (i int, ok bool) {
	i = l.Search(uid)
	return i, i < l.n && l.At(i).UID == uid
}

// All returns the messages with their indexes. They must not be written to.
func (l List) All() iter.Seq2[int, *Message] { return l.From(0) }

// From is All beginning at an index.
func (l List) From(i int) iter.Seq2[int, *Message] {
	return func(yield func(int, *Message) bool) {
		if i >= l.n {
			return
		}
		for c := l.pieceOf(i); c < len(l.pieces); c++ {
			messages := l.pieces[c].messages
			for k := i - l.starts[c]; k < len(messages); k++ {
				if !yield(i, &messages[k]) {
					return
				}
				i++
			}
		}
	}
}

// path returns where the file of the message at an index is, below the folder.
func (l List) path(i int) string {
	c := l.pieceOf(i)
	m := &l.pieces[c].messages[i-l.starts[c]]
	if m.where == odd {
		return l.pieces[c].odd[m.UID]
	}
	return m.usualPath()
}

// Diff compares two lists in the order of UIDs. It calls f with the indexes
// of each message that is, or may be, different in now; -1 stands for a
// message that the list does not have. Pieces that both lists share are
// passed over.
func Diff(was, now List, f func(i, j int)) {
	a, b := cursor{list: was}, cursor{list: now}
	for !a.end() || !b.end() {
		switch m, n := a.message(), b.message(); {
		case a.off == 0 && b.off == 0 && m != nil && n != nil && was.pieces[a.piece] == now.pieces[b.piece]:
			a.skip()
			b.skip()
		case n == nil || m != nil && m.UID < n.UID:
			f(a.i, -1)
			a.step()
		case m == nil || m.UID > n.UID:
			f(-1, b.i)
			b.step()
		default:
			if *m != *n {
				f(a.i, b.i)
			}
			a.step()
			b.step()
		}
	}
}

// cursor walks over a list.
type cursor struct {
	list       List
	i          int
	piece, off int
}

func (c *cursor) end() bool { return c.piece == len(c.list.pieces) }

// message is nil at the end.
func (c *cursor) message() *Message {
	if c.end() {
		return nil
	}
	return &c.list.pieces[c.piece].messages[c.off]
}

func (c *cursor) step() {
	c.i, c.off = c.i+1, c.off+1
	if c.off == len(c.list.pieces[c.piece].messages) {
		c.piece, c.off = c.piece+1, 0
	}
}

// skip passes over the rest of a piece.
func (c *cursor) skip() {
	c.i += len(c.list.pieces[c.piece].messages) - c.off
	c.piece, c.off = c.piece+1, 0
}

// setOdd tells a fresh list the paths of its odd messages.
func (l List) setOdd(paths map[uint32]string) {
	for uid, path := range paths {
		i, ok := l.Index(uid)
		if !ok {
			continue
		}
		p := l.pieces[l.pieceOf(i)]
		if p.odd == nil {
			p.odd = make(map[uint32]string)
		}
		p.odd[uid] = path
	}
}

func (l List) odds() map[uint32]string {
	all := make(map[uint32]string)
	for _, p := range l.pieces {
		maps.Copy(all, p.odd)
	}
	return all
}

func (l List) slice() []Message {
	all := make([]Message, 0, l.n)
	for _, p := range l.pieces {
		all = append(all, p.messages...)
	}
	return all
}
