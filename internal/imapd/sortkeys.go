package imapd

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync"
	"weak"

	"peyk/internal/casemap"
	"peyk/internal/mailbox"
	"peyk/internal/mailtext"
	"peyk/internal/mimescan"
)

// maxSortKeys bounds the memory of all sort keys that are remembered, and
// sortKeySize is what one takes beside its text.
const (
	maxSortKeys = 32 << 20
	sortKeySize = 28
)

// A sortKey is what SORT or THREAD makes of one header field of a message. It
// never changes, so that it is made once.
type sortKey struct {
	text string
	n    int64
}

// Kinds of sort keys besides the criteria of SORT.
const kindReferences = "REFERENCES" // text: hashes, see packIDs

// noDate is the text of a DATE that cannot be read.
const noDate = "?"

// keyOf makes a sort key.
func (c *sortKeys) keyOf(kind string, k *keyFields) sortKey {
	switch kind {
	case "DATE":
		d, ok := parseSent(mimescan.Unfold(k.date))
		if !ok {
			return sortKey{text: noDate}
		}
		return sortKey{n: d.unix}
	case "SUBJECT":
		base, reply := baseSubject(mailtext.Field(mimescan.Unfold(k.subject)))
		key := sortKey{text: casemap.Key(base)} // RFC 5051
		if reply {
			key.n = 1
		}
		return key
	case "FROM":
		return sortKey{text: mailboxKey(k.from)}
	case "TO":
		return sortKey{text: mailboxKey(k.to)}
	case "CC":
		return sortKey{text: mailboxKey(k.cc)}
	case "DISPLAYFROM":
		return sortKey{text: displayKey(k.from)}
	case "DISPLAYTO":
		return sortKey{text: displayKey(k.to)}
	}
	return sortKey{text: packIDs(c.seed, k)}
}

// sortKeys remembers sort keys of folders that are open, those used last.
type sortKeys struct {
	seed    maphash.Seed
	mu      sync.Mutex
	columns []*keyColumn // the one used last is the last
	size    int
}

// A keyColumn holds the sort keys of one kind of one folder. It never changes.
type keyColumn struct {
	folder   weak.Pointer[mailbox.Folder]
	validity uint32
	kind     string
	uids     []uint32
	keys     []sortKey
	size     int
}

func newSortKeys() *sortKeys { return &sortKeys{seed: maphash.MakeSeed()} }

// find returns the column of a folder, nil when there is none.
func (c *sortKeys) find(sel *selected, kind string) *keyColumn {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.index(sel, kind)
	if i < 0 {
		return nil
	}
	col := c.columns[i]
	c.columns = append(slices.Delete(c.columns, i, i+1), col)
	return col
}

func (c *sortKeys) index(sel *selected, kind string) int {
	at := weak.Make(sel.folder)
	return slices.IndexFunc(c.columns, func(col *keyColumn) bool {
		return col.folder == at && col.kind == kind && col.validity == sel.snap.UIDValidity
	})
}

// put remembers a column in place of an older one, and forgets others when
// there are too many.
func (c *sortKeys) put(sel *selected, col *keyColumn) {
	col.folder, col.validity = weak.Make(sel.folder), sel.snap.UIDValidity
	col.size = sortKeySize * len(col.keys)
	for _, k := range col.keys {
		col.size += len(k.text)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := c.index(sel, col.kind); i >= 0 {
		c.drop(i)
	}
	c.columns = append(c.columns, col)
	c.size += col.size
	for c.size > maxSortKeys {
		c.drop(0)
	}
}

func (c *sortKeys) drop(i int) {
	c.size -= c.columns[i].size
	c.columns = slices.Delete(c.columns, i, i+1)
}

// keysOf returns the sort keys of the messages that were found, for each kind.
func (s *session) keysOf(found *hits, kinds []string) ([][]sortKey, error) {
	all := make([][]sortKey, len(kinds))
	unknown := &hits{} // among the places of those found
	for i, kind := range kinds {
		all[i] = make([]sortKey, found.n)
		s.known(found, s.srv.sortKeys.find(s.sel, kind), all[i], unknown)
	}
	if unknown.n == 0 {
		return all, nil
	}
	missing, places := &hits{}, make([]int, 0, unknown.n)
	n := 0
	for at := range found.from(0) {
		if unknown.has(n) {
			missing.add(at)
			places = append(places, n)
		}
		n++
	}
	err := s.eachFields(missing, kinds, func(n int, k *keyFields) {
		for i, kind := range kinds {
			all[i][places[n]] = s.srv.sortKeys.keyOf(kind, k)
		}
	})
	if err != nil {
		return nil, err
	}
	for i, kind := range kinds {
		s.remember(found, kind, all[i])
	}
	return all, nil
}

// known fills in the keys that a column has, and notes those that it has not.
func (s *session) known(found *hits, col *keyColumn, keys []sortKey, unknown *hits) {
	n, j := 0, 0
	for at := range found.from(0) {
		uid := s.sel.view.At(at).UID
		for col != nil && j < len(col.uids) && col.uids[j] < uid {
			j++
		}
		if col != nil && j < len(col.uids) && col.uids[j] == uid {
			keys[n] = col.keys[j]
		} else if !unknown.has(n) {
			unknown.add(n)
		}
		n++
	}
}

// remember keeps the keys of what was found, and of other messages that are
// there.
func (s *session) remember(found *hits, kind string, keys []sortKey) {
	view, old := s.sel.view, s.srv.sortKeys.find(s.sel, kind)
	col := &keyColumn{kind: kind, uids: make([]uint32, 0, len(keys)), keys: make([]sortKey, 0, len(keys))}
	n, j := 0, 0
	for at := range found.from(0) {
		uid := view.At(at).UID
		for ; old != nil && j < len(old.uids) && old.uids[j] <= uid; j++ {
			if _, ok := view.Index(old.uids[j]); ok && old.uids[j] < uid {
				col.uids, col.keys = append(col.uids, old.uids[j]), append(col.keys, old.keys[j])
			}
		}
		col.uids, col.keys = append(col.uids, uid), append(col.keys, keys[n])
		n++
	}
	for ; old != nil && j < len(old.uids); j++ {
		if _, ok := view.Index(old.uids[j]); ok {
			col.uids, col.keys = append(col.uids, old.uids[j]), append(col.keys, old.keys[j])
		}
	}
	s.srv.sortKeys.put(s.sel, col)
}

// packIDs is the hash of a message's identifier, 0 if it has no valid one, and
// those of the messages that it refers to (RFC 5256 §3, REFERENCES, step 1).
func packIDs(seed maphash.Seed, k *keyFields) string {
	packed := make([]byte, 8, 64)
	hash := func(id []byte) uint64 { return max(maphash.Bytes(seed, id), 1) }
	eachID(k.id, func(id []byte) bool {
		binary.LittleEndian.PutUint64(packed, hash(id))
		return false
	})
	eachID(lastOctets(k.references), func(id []byte) bool {
		packed = binary.LittleEndian.AppendUint64(packed, hash(id))
		return true
	})
	if len(packed) == 8 {
		eachID(k.inReplyTo, func(id []byte) bool {
			packed = binary.LittleEndian.AppendUint64(packed, hash(id))
			return false
		})
	}
	return string(packed)
}
