package mailbox

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"reflect"
	"slices"
	"testing"
)

// sortSnapshot has messages of every third UID.
func sortSnapshot(n int) *Snapshot {
	var messages []Message
	for i := range n {
		messages = append(messages, Message{UID: uint32(3*i + 1), Base: fmt.Sprint("m", i)})
	}
	return &Snapshot{UIDValidity: 7, Messages: ListOf(messages)}
}

func sortKeysOf(s *Snapshot) (keys SortKeys) {
	for i, m := range s.Messages.All() {
		keys.UIDs = append(keys.UIDs, m.UID)
		keys.Keys = append(keys.Keys, SortKey{Text: fmt.Sprint("text ", i%5)[:i%7], N: int64(-i)})
	}
	return keys
}

// Another process gets what was kept, but no key of a message that is gone,
// or has another file, or another UIDVALIDITY.
func TestSortKeysAreKept(t *testing.T) {
	_, a, f := newInbox(t)
	lettersIn(t, a.Root(), 0, 2*minSortKeys)
	s := refresh(t, f)
	keys := sortKeysOf(s)
	f.WriteSortKeys("DATE", keys)
	if got := f.ReadSortKeys("SUBJECT"); len(got.UIDs) != 0 {
		t.Errorf("%d keys of another kind", len(got.UIDs))
	}
	must(t, f.Expunge([]uint32{2, 3}))
	refresh(t, f)
	other := openFolder(t, openAccount(t, newTestHost(t), a.Root()), Inbox)
	refresh(t, other)
	keys.UIDs, keys.Keys = slices.Delete(keys.UIDs, 1, 3), slices.Delete(keys.Keys, 1, 3)
	if got := other.ReadSortKeys("DATE"); !reflect.DeepEqual(got, keys) {
		t.Errorf("%v, want %v", got, keys)
	}
	must(t, a.DropCaches())
	if got := f.ReadSortKeys("DATE"); len(got.UIDs) != 0 {
		t.Errorf("%d keys after the caches were dropped", len(got.UIDs))
	}
	raw := encodeSortKeys(keys, s)
	moved := sortSnapshot(3)
	if got := decodeSortKeys(raw, moved); len(got.UIDs) != 0 {
		t.Errorf("keys of other messages: %v", got)
	}
}

// A folder of few messages, or one that cannot be written to, goes without.
func TestSortKeysNotWorthAFile(t *testing.T) {
	_, a, f := newInbox(t)
	lettersIn(t, a.Root(), 0, minSortKeys-1)
	f.WriteSortKeys("DATE", sortKeysOf(refresh(t, f)))
	if _, err := os.Stat(f.sortPath("DATE")); !os.IsNotExist(err) {
		t.Error("there is a file: ", err)
	}
	if got := f.ReadSortKeys("DATE"); len(got.UIDs) != 0 {
		t.Error(got)
	}
}

// Whatever stands in the file, keys are of messages that are there, ascend,
// and a flipped bit loses them all.
func FuzzSortKeys(f *testing.F) {
	s := sortSnapshot(20)
	whole := encodeSortKeys(sortKeysOf(s), s)
	f.Add(whole[:len(whole)-4])
	f.Add(whole[:sortHead])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = binary.LittleEndian.AppendUint32(raw, crc32.Checksum(raw, castagnoli()))
		keys := decodeSortKeys(raw, s)
		if len(keys.UIDs) != len(keys.Keys) || !slices.IsSorted(keys.UIDs) {
			t.Fatal(keys)
		}
		for _, uid := range keys.UIDs {
			if _, ok := s.Messages.Index(uid); !ok {
				t.Fatalf("UID %d is no message's", uid)
			}
		}
		if again := decodeSortKeys(encodeSortKeys(keys, s), s); len(keys.UIDs) > 0 && !reflect.DeepEqual(again, keys) {
			t.Fatalf("%v, then %v", keys, again)
		}
		raw[len(raw)/2] ^= 4
		if keys = decodeSortKeys(raw, s); len(keys.UIDs) != 0 {
			t.Fatal("a broken file has keys")
		}
	})
}
