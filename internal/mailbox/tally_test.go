package mailbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Several processes bring and take messages while others count the account
// anew: when all is done, maildirsize says what is there.
func TestMaildirsizeIsExact(t *testing.T) {
	_, a, _ := newInbox(t)
	root, limits := a.Root(), Quota{Bytes: 1 << 40}
	must(t, a.Create("Kept", ""))
	var busy sync.WaitGroup
	var steps atomic.Int64
	worker := func(work func(h *Host, inbox, kept *Folder, i int) error) {
		h := newTestHost(t)
		own := openAccount(t, h, root)
		own.SetQuota(limits)
		inbox, kept := openFolder(t, own, Inbox), openFolder(t, own, "Kept")
		busy.Go(func() {
			for i := range 60 {
				steps.Add(1)
				if err := work(h, inbox, kept, i); err != nil && !errors.Is(err, ErrGone) {
					t.Error(err)
				}
			}
		})
	}
	worker(func(h *Host, _, _ *Folder, i int) error {
		return h.Deliver([]Target{{Root: root, Quota: limits}}, text(fmt.Sprintf("delivered %d\n", i)))[0]
	})
	worker(func(_ *Host, _, kept *Folder, i int) error {
		_, err := kept.Append(0, nil, time.Time{}, text(fmt.Sprintf("appended %d\n", i)))
		return err
	})
	worker(func(_ *Host, inbox, kept *Folder, i int) error {
		s, err := inbox.Refresh(t.Context())
		if err != nil || s.Messages.Len() == 0 {
			return err
		}
		first := []uint32{s.Messages.At(0).UID}
		if i%3 == 0 {
			_, _, err = inbox.Copy(first, kept)
			return err
		}
		return inbox.Expunge(first)
	})
	worker(func(_ *Host, inbox, _ *Folder, i int) error {
		own, name := inbox.Account(), fmt.Sprint("Passing", i)
		if err := own.Create(name, ""); err != nil {
			return err
		}
		f, err := own.Folder(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := f.Append(0, nil, time.Time{}, text("x\n")); err != nil {
			return err
		}
		return own.Delete(name)
	})
	counter := newTestHost(t)
	busy.Go(func() {
		for steps.Load() < 120 { // the last of the changes come after the last count
			if _, err := counter.recalculate(root, limits); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
		}
	})
	busy.Wait()

	raw, err := os.ReadFile(filepath.Join(root, maildirsizeName))
	must(t, err)
	said, ok := parseMaildirsize(string(raw))
	is, err := counter.recalculate(root, limits)
	must(t, err)
	if !ok || said.bytes != is.bytes || said.messages != is.messages || is.messages == 0 {
		t.Errorf("maildirsize says %d octets in %d messages; there are %d in %d", said.bytes, said.messages, is.bytes, is.messages)
	}
}
