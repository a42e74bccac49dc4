package mailbox

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// sortName, with the kind behind it, is a file that remembers the sort keys of
// a folder's messages, so that a session need not make them of the facts of
// each. It is replaced by rename, not synced, has a checksum, and may be
// removed at any time.
const sortName = "peyk-sort-"

// SortKinds are the kinds of sort keys that can be kept: the criteria of SORT
// that come from the header (RFC 5256 §3, RFC 5957), and what THREAD needs.
func SortKinds() []string {
	return []string{"DATE", "SUBJECT", "FROM", "TO", "CC", "DISPLAYFROM", "DISPLAYTO", "REFERENCES"}
}

// SortKeys are the sort keys of one kind, ascending by UID. They never change.
type SortKeys struct {
	UIDs []uint32
	Keys []SortKey
}

// A SortKey is what SORT or THREAD makes of a header field of a message; what
// text and number mean is up to its kind.
type SortKey struct {
	Text string
	N    int64
}

// The file: magic, a hash of the version of Unicode, UIDVALIDITY, how many
// keys there are; then for each its UID, the identity of its message, number
// and length of its text; the texts; checksum. The magic changes when keys are
// made in another way.
const (
	sortMagic   = "peyk-sk1"
	sortHead    = 8 + 8 + 4 + 4
	sortRecord  = 4 + 8 + 8 + 4
	maxSortFile = 32 << 20
)

// minSortKeys is how many keys are worth a file.
const minSortKeys = 64

func (f *Folder) sortPath(kind string) string {
	kind = strings.ToLower(kind)
	return f.cacheFile(sortName+kind, ".sort-"+kind)
}

// ReadSortKeys returns the keys of one kind that are kept of messages in the
// current snapshot, perhaps of some only, or none.
func (f *Folder) ReadSortKeys(kind string) SortKeys {
	s := f.snap.Load()
	raw, _, err := readSmall(f.sortPath(kind), maxSortFile)
	if err != nil || s == nil {
		return SortKeys{}
	}
	return decodeSortKeys(raw, s)
}

// WriteSortKeys keeps keys in place of those that were kept before.
func (f *Folder) WriteSortKeys(kind string, keys SortKeys) {
	s := f.snap.Load()
	if s == nil || len(keys.UIDs) < minSortKeys || f.gone.Load() {
		return
	}
	raw := encodeSortKeys(keys, s)
	if len(raw) > maxSortFile {
		return
	}
	err := f.host.writeCache(f.sortPath(kind), raw)
	if err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EROFS) {
		f.host.trouble("cannot keep sort keys", f.sortPath(kind), err)
	}
}

// encodeSortKeys writes the file. Messages that are gone are left out.
func encodeSortKeys(keys SortKeys, s *Snapshot) []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, sortHead+len(keys.UIDs)*(sortRecord+16)), sortMagic...)
	b = le.AppendUint64(b, identity(unicode.Version))
	b = le.AppendUint32(le.AppendUint32(b, s.UIDValidity), 0)
	count := uint32(0)
	var texts []byte
	for n, uid := range keys.UIDs {
		i, ok := s.Messages.Index(uid)
		if !ok {
			continue
		}
		k := &keys.Keys[n]
		b = le.AppendUint64(le.AppendUint32(b, uid), identity(s.Messages.At(i).Base))
		b = le.AppendUint32(le.AppendUint64(b, uint64(k.N)), uint32(len(k.Text)))
		texts = append(texts, k.Text...)
		count++
	}
	le.PutUint32(b[sortHead-4:], count)
	b = append(b, texts...)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

// decodeSortKeys reads the file; there are no keys in one that is broken.
func decodeSortKeys(raw []byte, s *Snapshot) (keys SortKeys) {
	le := binary.LittleEndian
	end := len(raw) - 4
	if end < sortHead || le.Uint32(raw[end:]) != crc32.Checksum(raw[:end], castagnoli()) {
		return keys
	}
	count := int(le.Uint32(raw[sortHead-4:]))
	if string(raw[:8]) != sortMagic || le.Uint64(raw[8:]) != identity(unicode.Version) || le.Uint32(raw[16:]) != s.UIDValidity || count > (end-sortHead)/sortRecord {
		return keys
	}
	texts := string(raw[sortHead+count*sortRecord : end])
	all := SortKeys{make([]uint32, 0, count), make([]SortKey, 0, count)}
	last := uint32(0)
	for b := raw[sortHead:]; count > 0; count, b = count-1, b[sortRecord:] {
		uid, n := le.Uint32(b), int(le.Uint32(b[20:]))
		if uid <= last || n > len(texts) {
			return keys
		}
		last = uid
		if i, ok := s.Messages.Index(uid); ok && identity(s.Messages.At(i).Base) == le.Uint64(b[4:]) {
			all.UIDs = append(all.UIDs, uid)
			all.Keys = append(all.Keys, SortKey{texts[:n], int64(le.Uint64(b[12:]))})
		}
		texts = texts[n:]
	}
	return all
}

// sortPaths returns where the sort keys of a folder are.
func (f *Folder) sortPaths() []string {
	paths := SortKinds()
	for i, kind := range paths {
		paths[i] = f.sortPath(kind)
	}
	return paths
}
