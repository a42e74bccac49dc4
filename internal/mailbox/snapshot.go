package mailbox

import (
	"hash/maphash"
	"sort"
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
}

// where tells how a message's file is called, so that the usual name need not
// be kept in memory.
type where uint8

const (
	inCur where = iota // cur/BASE:2,FLAGS
	inNew              // new/BASE
	bare               // cur/BASE
	odd                // Snapshot.odd has it
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

	all  []Message         // Messages, as a slice
	used uint64            // at least the keywords that messages have
	odd  map[uint32]string // paths below the folder, of messages with where == odd
}

// Find returns the 1-based sequence number of uid.
func (s *Snapshot) Find(uid uint32) (seq int, ok bool) {
	i := search(s.all, uid)
	return i + 1, i < len(s.all) && s.all[i].UID == uid
}

// search returns the index of the first message with at least this UID.
func search(messages []Message, uid uint32) int {
	n := len(messages)
	if n > 0 && messages[n-1].UID < uid {
		return n
	}
	return sort.Search(n, func(i int) bool { return messages[i].UID >= uid })
}

// path returns where a message's file was, below the folder.
func (s *Snapshot) path(m *Message) string { return pathOf(m, s.odd) }

func pathOf(m *Message, odds map[uint32]string) string {
	switch m.where {
	case inNew:
		return "new/" + m.Base
	case bare:
		return "cur/" + m.Base
	case odd:
		return odds[m.UID]
	}
	return "cur/" + m.Base + string(appendInfo(make([]byte, 0, 40), m.Flags, m.Keywords))
}

// index finds messages by base name. It costs eight octets a message.
type index struct {
	seed  maphash.Seed
	slots []uint32 // 1 + position in the messages; 0 is free
	used  int
}

func newIndex(messages []Message) *index {
	x := &index{seed: maphash.MakeSeed(), slots: make([]uint32, slotsFor(len(messages)))}
	for i := range messages {
		x.put(messages, i)
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

// add takes in message i, which was appended to the messages.
func (x *index) add(messages []Message, i int) {
	if 2*(x.used+1) > len(x.slots) {
		*x = *newIndex(messages[:i])
	}
	x.put(messages, i)
}

func (x *index) put(messages []Message, i int) {
	mask := len(x.slots) - 1
	at := int(maphash.String(x.seed, messages[i].Base)) & mask
	for x.slots[at] != 0 {
		at = (at + 1) & mask
	}
	x.slots[at] = uint32(i) + 1
	x.used++
}

// find returns the position of the message called base, -1 if there is none.
func (x *index) find(messages []Message, base []byte) int {
	mask := len(x.slots) - 1
	at := int(maphash.Bytes(x.seed, base)) & mask
	for x.slots[at] != 0 {
		i := int(x.slots[at]) - 1
		if messages[i].Base == string(base) {
			return i
		}
		at = (at + 1) & mask
	}
	return -1
}

// bitset is one bit a message.
type bitset []uint64

func newBitset(n int) bitset       { return make(bitset, (n+63)/64) }
func (b bitset) set(i int)         { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool    { return b[i/64]&(1<<(i%64)) != 0 }
func (b bitset) grow(n int) bitset { return append(b, make(bitset, max(0, (n+63)/64-len(b)))...) }
