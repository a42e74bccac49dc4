package mailbox

import (
	"iter"
	"sort"
)

// List is a list of messages, ascending by UID. It never changes. A list that
// differs from another in a few messages shares all pieces with it but those,
// so that a change costs the same in a large folder as in a small one.
type List struct {
	pieces []*piece
	starts []int // index of the first message of each piece
	n      int
}

// A piece is a run of at most pieceSize messages, and of one at least.
type piece struct{ messages []Message }

const pieceSize = 256

// ListOf makes a list of messages, which must ascend by UID; it keeps the slice.
func ListOf(messages []Message) List {
	var l List
	for len(messages) > 0 {
		n := min(pieceSize, len(messages))
		l.push(&piece{messages[:n:n]})
		messages = messages[n:]
	}
	return l
}

func (l *List) push(p *piece) {
	l.pieces, l.starts = append(l.pieces, p), append(l.starts, l.n)
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
	c := sort.Search(len(l.pieces), func(c int) bool {
		m := l.pieces[c].messages
		return m[len(m)-1].UID >= uid
	})
	if c == len(l.pieces) {
		return l.n
	}
	return l.starts[c] + search(l.pieces[c].messages, uid)
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

// Diff compares two lists in the order of UIDs. It calls f with the indexes
// of each message that is, or may be, different in now; -1 stands for a
// message that the list does not have. Pieces that both lists share are
// passed over.
func Diff(was, now List, f func(i, j int)) {
	i, j := 0, 0
	for i < was.n || j < now.n {
		if n := was.shared(i, now, j); n > 0 {
			i, j = i+n, j+n
			continue
		}
		switch {
		case j == now.n || i < was.n && was.At(i).UID < now.At(j).UID:
			f(i, -1)
			i++
		case i == was.n || was.At(i).UID > now.At(j).UID:
			f(-1, j)
			j++
		default:
			if *was.At(i) != *now.At(j) {
				f(i, j)
			}
			i, j = i+1, j+1
		}
	}
}

// shared returns the length of the piece that begins at both indexes, 0 when
// they are not the beginning of one piece.
func (l List) shared(i int, now List, j int) int {
	if i >= l.n || j >= now.n {
		return 0
	}
	a, b := l.pieceOf(i), now.pieceOf(j)
	if l.starts[a] != i || now.starts[b] != j || l.pieces[a] != now.pieces[b] {
		return 0
	}
	return len(l.pieces[a].messages)
}
