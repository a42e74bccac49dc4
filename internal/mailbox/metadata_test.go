package mailbox

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// Who may only read a folder can annotate it for himself: that leaves room
// for the owner, whatever he writes.
func TestGuestsLeaveRoomForMetadataOfTheOwner(t *testing.T) {
	h := newTestHost(t)
	a := openAccount(t, h, filepath.Join(t.TempDir(), "Maildir"))
	store, err := a.Metadata(Inbox)
	if err != nil {
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte{0xff}, MaxMetaValue) // takes three octets for each
	entries := func(scope string, n int) (all []MetaEntry) {
		for i := range n {
			all = append(all, MetaEntry{Scope: scope, Name: fmt.Sprint("/private/x", i), Value: value})
		}
		return all
	}
	if err := store.Change(entries("user=0", 3)); !errors.Is(err, ErrMetaMany) {
		t.Errorf("what is too much for one guest: %v", err)
	}
	full := 0
	for g := range 12 {
		if err := store.Change(entries(fmt.Sprint("user=", g), 2)); errors.Is(err, ErrMetaMany) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if full != 2 {
		t.Errorf("%d guests of 12 were refused", full)
	}
	if err := store.Change(append(entries("owner", 30), entries(MetaShared, 20)...)); err != nil {
		t.Error(err)
	}
	if err := store.Change([]MetaEntry{{Scope: "user=0", Name: "/private/x0"}, {Scope: "user=0", Name: "/private/y", Value: value}}); err != nil {
		t.Error(err)
	}
}
