package mailbox

import (
	"context"
	"io"
	"path/filepath"
	"testing"
	"time"
)

// The clock jumps forward and backward, by an hour, a year, and to where it
// was when other messages came. Names stay unique, UIDs rise, UIDVALIDITY
// stays, and a folder that is made anew has a greater one all the same.
func TestClockJumps(t *testing.T) {
	start := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	now := start
	root := filepath.Join(t.TempDir(), "Maildir")
	var validity, last uint32
	recreated := uint32(0)
	for round, jump := range []time.Duration{0, time.Hour, -time.Hour, 0, 24 * time.Hour, 366 * 24 * time.Hour, -366 * 24 * time.Hour, -50 * 366 * 24 * time.Hour, 0} {
		now = start.Add(jump)
		h := newTestHost(t, func(o *Options) { o.Now = func() time.Time { return now } })
		for range 20 {
			if err := h.Deliver([]Target{{Root: root}}, func(w io.Writer) error {
				_, err := io.WriteString(w, "Subject: x\n\nb\n")
				return err
			})[0]; err != nil {
				t.Fatal(err)
			}
		}
		account := openAccount(t, h, root)
		s, err := openFolder(t, account, Inbox).Refresh(context.Background())
		must(t, err)
		if n := s.Messages.Len(); n != 20*(round+1) {
			t.Errorf("%v: %d messages, want %d", jump, n, 20*(round+1))
		}
		if validity != 0 && s.UIDValidity != validity || s.UIDNext <= last {
			t.Errorf("%v: UIDVALIDITY %d after %d, UIDNEXT %d after %d", jump, s.UIDValidity, validity, s.UIDNext, last)
		}
		validity, last = s.UIDValidity, s.UIDNext
		must(t, account.Create("again", ""))
		again, err := openFolder(t, account, "again").Refresh(context.Background())
		must(t, err)
		if again.UIDValidity <= recreated {
			t.Errorf("%v: a folder made anew has UIDVALIDITY %d after %d", jump, again.UIDValidity, recreated)
		}
		recreated = again.UIDValidity
		must(t, account.Delete("again"))
	}
}
