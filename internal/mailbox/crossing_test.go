package mailbox

import (
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Sessions that copy and move in opposite directions, between two folders of
// one account and between two accounts, in one process and in two, while
// others rename folders, set quotas and look, do not wait for each other for
// ever; and no message is lost or there twice.
func TestOppositeTransfersDoNotDeadlock(t *testing.T) {
	dir := t.TempDir()
	roots := [2]string{filepath.Join(dir, "ann", "Maildir"), filepath.Join(dir, "bob", "Maildir")}
	places := []struct {
		root int
		name string
	}{{0, Inbox}, {0, "work"}, {1, Inbox}, {1, "work"}}
	const each = 6
	hosts := [2]*Host{newTestHost(t), newTestHost(t)}
	open := func(h *Host, i int) *Folder {
		return openFolder(t, openAccount(t, h, roots[places[i].root]), places[i].name)
	}
	for _, root := range roots {
		must(t, openAccount(t, hosts[0], root).Create("work", ""))
	}
	for i := range places {
		for range each {
			_, err := open(hosts[0], i).Append(0, nil, time.Time{}, text("x\n"))
			must(t, err)
		}
	}
	var copies atomic.Int64
	var all sync.WaitGroup
	stop := make(chan struct{})
	for _, pair := range [][2]int{{0, 1}, {1, 0}, {0, 2}, {2, 0}, {1, 3}, {3, 1}} {
		for _, h := range hosts {
			from, to := open(h, pair[0]), open(h, pair[1])
			all.Go(func() { crossing(t, from, to, &copies) })
		}
	}
	var busy sync.WaitGroup
	for _, h := range hosts {
		a := openAccount(t, h, roots[0])
		busy.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				a.SetQuota(Quota{Bytes: int64(1<<30 + n)})
				a.Create("other", "")
				a.Rename("other", "another")
				a.Delete("another")
				a.Folders()
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(stop); busy.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(4 * time.Minute):
		t.Fatal("they wait for each other")
	}
	total := 0
	for i := range places {
		s := refresh(t, open(hosts[1], i))
		total += s.Messages.Len()
		if uids := uidsOf(s); !slices.IsSorted(uids) || len(slices.Compact(slices.Clone(uids))) != len(uids) {
			t.Errorf("%v: UIDs %v", places[i], uids)
		}
	}
	if want := each*len(places) + int(copies.Load()); total != want {
		t.Errorf("%d messages are there, of %d", total, want)
	}
}

// crossing moves and copies the first message of a folder to another one,
// again and again.
func crossing(t *testing.T, from, to *Folder, copies *atomic.Int64) {
	for n := range 12 {
		s, err := from.Refresh(t.Context())
		if err != nil || s.Messages.Len() == 0 {
			continue
		}
		uid := s.Messages.At(n % s.Messages.Len()).UID
		if n%3 > 0 {
			_, _, err = from.Move([]uint32{uid}, to)
		} else if _, _, err = from.Copy([]uint32{uid}, to); err == nil {
			copies.Add(1)
		}
		if err != nil && !errors.Is(err, ErrGone) {
			t.Error(err)
		}
	}
}
