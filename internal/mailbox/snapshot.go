package mailbox

import (
	"hash/maphash"
	"math/bits"
)

// Message is one message of a Snapshot.
type Message struct {
	UID      uint32
	Flags    Flags
	Recent   bool   // it was in new/ when it got into this snapshot, and no session has taken it
	where    where  // how the file's name follows from this
	Base     string // file name without directory, and without flags
	Keywords uint64 // bit i = Snapshot.Keywords[i]
	ModSeq   uint64 // of the last change of flags or keywords (RFC 7162)
	Size     int64  // octets with CRLF line ends (RFC822.SIZE)
	FileSize int64  // octets on disk
	date     uint32 // INTERNALDATE in seconds, 0 is unknown
	saved    uint32 // SAVEDATE
}

// where tells how a message's file is called, so that the usual name need not
// be kept in memory.
type where uint8

const (
	inCur where = iota // cur/BASE:2,FLAGS
	inNew              // new/BASE
	bare               // cur/BASE
	odd                // its piece has it
)

// Snapshot is a folder as it was found at one moment. It never changes.
type Snapshot struct {
	Generation  uint64 // grows with each snapshot of this folder in this process
	UIDValidity uint32
	UIDNext     uint32
	Messages    List
	// HighestModSeq is at least that of every message, and of every one that
	// is gone (RFC 7162 §3.1.2.1).
	HighestModSeq uint64
	Keywords      []string // index → name; "" is an index that no message has

	used uint64 // at least the keywords that messages have
}

// Find returns the 1-based sequence number of uid.
func (s *Snapshot) Find(uid uint32) (seq int, ok bool) {
	i, ok := s.Messages.Index(uid)
	return i + 1, ok
}

// usualPath returns where a message's file is, below the folder, if it is not
// odd.
func (m *Message) usualPath() string {
	switch m.where {
	case inNew:
		return "new/" + m.Base
	case bare:
		return "cur/" + m.Base
	}
	return "cur/" + m.Base + string(appendInfo(make([]byte, 0, 40), m.Flags, m.Keywords))
}

// index finds messages by base name. It knows their UIDs, not their
// positions, so that it need not follow every change: it holds at least the
// messages of a list, and perhaps others that are gone. It costs eight to
// sixteen octets a message.
type index struct {
	seed  maphash.Seed
	slots []uint32 // UIDs; 0 is free
	used  int
}

func newIndex(l List) *index { return newIndexFor(l, l.n) }

// newIndexFor leaves room for n messages.
func newIndexFor(l List, n int) *index {
	x := &index{seed: maphash.MakeSeed(), slots: make([]uint32, slotsFor(n))}
	for _, m := range l.All() {
		x.put(m)
	}
	return x
}

func slotsFor(n int) int {
	size := 64
	for size < 2*n {
		size *= 2
	}
	return size
}

// add takes in a message that was added to the list.
func (x *index) add(l List, m *Message) {
	if 2*(x.used+1) > len(x.slots) {
		*x = *newIndexFor(l, l.n+l.n/4+1)
	}
	x.put(m)
}

func (x *index) put(m *Message) {
	mask := len(x.slots) - 1
	at := int(maphash.String(x.seed, m.Base)) & mask
	for x.slots[at] != 0 && x.slots[at] != m.UID {
		at = (at + 1) & mask
	}
	if x.slots[at] == 0 {
		x.slots[at] = m.UID
		x.used++
	}
}

// find returns the index in the list of the message called base, -1 if there
// is none.
func (x *index) find(l List, base []byte) int {
	mask := len(x.slots) - 1
	at := int(maphash.Bytes(x.seed, base)) & mask
	for x.slots[at] != 0 {
		if i, ok := l.Index(x.slots[at]); ok && l.At(i).Base == string(base) {
			return i
		}
		at = (at + 1) & mask
	}
	return -1
}

// bitset is one bit a message.
type bitset []uint64

func newBitset(n int) bitset    { return make(bitset, (n+63)/64) }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// next returns the first index, from i on, that is not set.
func (b bitset) next(i int) int {
	for i/64 < len(b) {
		if free := ^b[i/64] >> (i % 64); free != 0 {
			return i + bits.TrailingZeros64(free)
		}
		i = (i/64 + 1) * 64
	}
	return i
}

func (b bitset) grow(n int) bitset { return append(b, make(bitset, max(0, (n+63)/64-len(b)))...) }
