package mailbox

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestModSeq(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	fill(t, root, 5, true)
	f := openFolder(t, openAccount(t, newTestHost(t), root), Inbox)
	first := refresh(t, f)
	if first.HighestModSeq == 0 || first.Messages.At(0).ModSeq == 0 {
		t.Fatalf("%+v", first)
	}
	must(t, storeIn(f, []uint32{2}, Add, Flagged, nil))
	s := refresh(t, f)
	if m := s.Messages.At(1); m.ModSeq <= first.HighestModSeq || s.HighestModSeq != m.ModSeq {
		t.Fatalf("%d after %d, highest %d", m.ModSeq, first.HighestModSeq, s.HighestModSeq)
	}
	// RFC 7162 §3.1.3: a message that has changed since is left alone.
	modified, err := f.Store([]uint32{1, 2, 3}, Change{Op: Add, Flags: Draft, UnchangedSince: &first.HighestModSeq})
	if err != nil || !slices.Equal(modified, []uint32{2}) {
		t.Fatal(modified, err)
	}
	again := refresh(t, f)
	if again.Messages.At(1).Flags&Draft != 0 || again.Messages.At(0).Flags&Draft == 0 || again.Messages.At(2).ModSeq <= s.HighestModSeq {
		t.Fatalf("%+v", again.Messages.At(2))
	}
	must(t, f.Expunge([]uint32{4}))
	if gone, _ := f.Vanished(again.HighestModSeq); !slices.Equal(gone, []uint32{4}) || refresh(t, f).HighestModSeq <= again.HighestModSeq {
		t.Fatal(gone)
	}
	if at, err := f.SaveDate(1); err != nil || time.Since(at) > time.Hour || f.ID() == "" {
		t.Fatal(at, err)
	}
}
