package imapd

import (
	"encoding/binary"
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

// freshKeys: keys are written to the folder when more than one in so many of
// them is new. Fewer are made again by the next process.
const freshKeys = 16

// A sortKey is what SORT or THREAD makes of one header field of a message. It
// never changes, so that it is made once.
type sortKey = mailbox.SortKey

// Kinds of sort keys besides the criteria of SORT.
const kindReferences = "REFERENCES" // text: hashes, see packIDs

// noDate is the text of a DATE that cannot be read.
const noDate = "?"

// keyOf makes a sort key.
func keyOf(kind string, k *keyFields) sortKey {
	switch kind {
	case "DATE":
		d, ok := parseSent(mimescan.Unfold(k.date))
		if !ok {
			return sortKey{Text: noDate}
		}
		return sortKey{N: d.unix}
	case "SUBJECT":
		base, reply := baseSubject(mailtext.Field(mimescan.Unfold(k.subject)))
		key := sortKey{Text: casemap.Key(base)} // RFC 5051
		if reply {
			key.N = 1
		}
		return key
	case "FROM":
		return sortKey{Text: mailboxKey(k.from)}
	case "TO":
		return sortKey{Text: mailboxKey(k.to)}
	case "CC":
		return sortKey{Text: mailboxKey(k.cc)}
	case "DISPLAYFROM":
		return sortKey{Text: displayKey(k.from)}
	case "DISPLAYTO":
		return sortKey{Text: displayKey(k.to)}
	}
	return sortKey{Text: packIDs(k)}
}

// sortKeys remembers sort keys of folders that are open, those used last.
type sortKeys struct {
	mu      sync.Mutex
	columns []*keyColumn // the one used last is the last
	size    int
}

// A keyColumn holds the sort keys of one kind of one folder. It never changes.
type keyColumn struct {
	folder   weak.Pointer[mailbox.Folder]
	validity uint32
	kind     string
	size     int
	mailbox.SortKeys
}

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
	col.size = sortKeySize * len(col.Keys)
	for _, k := range col.Keys {
		col.size += len(k.Text)
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
		s.known(found, s.column(kind), all[i], unknown)
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
	fresh := missing.n
	err := s.eachFields(missing, kinds, func(n int, k *keyFields) {
		if k.gone {
			fresh = 0 // what is not known is not to be kept
		}
		for i, kind := range kinds {
			all[i][places[n]] = keyOf(kind, k)
		}
	})
	if err != nil {
		return nil, err
	}
	for i, kind := range kinds {
		s.remember(found, kind, all[i], fresh)
	}
	return all, nil
}

// column returns the keys of a kind that are remembered by this process, or
// else in the folder; nil when there are none.
func (s *session) column(kind string) *keyColumn {
	if col := s.srv.sortKeys.find(s.sel, kind); col != nil {
		return col
	}
	kept := s.sel.folder.ReadSortKeys(kind)
	if len(kept.UIDs) == 0 {
		return nil
	}
	col := &keyColumn{kind: kind, SortKeys: kept}
	s.srv.sortKeys.put(s.sel, col)
	return col
}

// known fills in the keys that a column has, and notes those that it has not.
func (s *session) known(found *hits, col *keyColumn, keys []sortKey, unknown *hits) {
	n, j := 0, 0
	for at := range found.from(0) {
		uid := s.sel.view.At(at).UID
		for col != nil && j < len(col.UIDs) && col.UIDs[j] < uid {
			j++
		}
		if col != nil && j < len(col.UIDs) && col.UIDs[j] == uid {
			keys[n] = col.Keys[j]
		} else if !unknown.has(n) {
			unknown.add(n)
		}
		n++
	}
}

// remember keeps the keys of what was found, and of other messages that are
// there. Of so many they are fresh.
func (s *session) remember(found *hits, kind string, keys []sortKey, fresh int) {
	view, old := s.sel.view, s.srv.sortKeys.find(s.sel, kind)
	col := &keyColumn{kind: kind, SortKeys: mailbox.SortKeys{UIDs: make([]uint32, 0, len(keys)), Keys: make([]sortKey, 0, len(keys))}}
	n, j := 0, 0
	for at := range found.from(0) {
		uid := view.At(at).UID
		for ; old != nil && j < len(old.UIDs) && old.UIDs[j] <= uid; j++ {
			if _, ok := view.Index(old.UIDs[j]); ok && old.UIDs[j] < uid {
				col.UIDs, col.Keys = append(col.UIDs, old.UIDs[j]), append(col.Keys, old.Keys[j])
			}
		}
		col.UIDs, col.Keys = append(col.UIDs, uid), append(col.Keys, keys[n])
		n++
	}
	for ; old != nil && j < len(old.UIDs); j++ {
		if _, ok := view.Index(old.UIDs[j]); ok {
			col.UIDs, col.Keys = append(col.UIDs, old.UIDs[j]), append(col.Keys, old.Keys[j])
		}
	}
	s.srv.sortKeys.put(s.sel, col)
	if fresh > len(col.UIDs)/freshKeys {
		s.sel.folder.WriteSortKeys(kind, col.SortKeys)
	}
}

// packIDs is the hash of a message's identifier, 0 if it has no valid one, and
// those of the messages that it refers to (RFC 5256 §3, REFERENCES, step 1).
func packIDs(k *keyFields) string {
	packed := make([]byte, 8, 64)
	eachID(k.id, func(id []byte) bool {
		binary.LittleEndian.PutUint64(packed, hashID(id))
		return false
	})
	eachID(lastOctets(k.references), func(id []byte) bool {
		packed = binary.LittleEndian.AppendUint64(packed, hashID(id))
		return true
	})
	if len(packed) == 8 {
		eachID(k.inReplyTo, func(id []byte) bool {
			packed = binary.LittleEndian.AppendUint64(packed, hashID(id))
			return false
		})
	}
	return string(packed)
}

// hashID is FNV-1a, and never 0. Who makes two identifiers collide could as
// well have named the one where he names the other.
func hashID(id []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range id {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return max(h, 1)
}
