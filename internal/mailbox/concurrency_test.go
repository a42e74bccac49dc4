package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"peyk/internal/commit"
)

// Several processes deliver, flag and expunge in one Maildir, and others
// watch. Nobody may see a message disappear that was not expunged, a UID that
// means two messages, or lose a flag that somebody set.
func TestManyProcessesOneMaildir(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	openAccount(t, newTestHost(t), root)
	const deliverers, each, flaggers = 2, 60, 3
	var delivered, expunged sync.Map // body, uid
	var working, delivering sync.WaitGroup
	stop := make(chan struct{})
	ctx := context.Background()

	for d := range deliverers {
		h := newTestHost(t)
		delivering.Go(func() {
			for i := range each {
				body := fmt.Sprintf("message %d.%d\n", d, i)
				if errs := h.Deliver([]Target{{Root: root}}, text(body)); errs[0] != nil {
					t.Error(errs[0])
				}
				delivered.Store(body, true)
			}
		})
	}
	bits := []Flags{Seen, Flagged, Answered}
	for p := range flaggers {
		f := openFolder(t, openAccount(t, newTestHost(t), root), Inbox)
		working.Go(func() {
			for done := false; !done; {
				select {
				case <-stop:
					done = true // once more, over all of it
				default:
				}
				s, err := f.Refresh(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				for _, uid := range uidsOf(s) {
					if err := storeIn(f, []uint32{uid}, Add, bits[p], []string{fmt.Sprintf("kw%d", p)}); err != nil && !errors.Is(err, ErrGone) {
						t.Error(err)
					}
					if p == 0 && uid%7 == 0 {
						expunged.Store(uid, true)
						if err := f.Expunge([]uint32{uid}); err != nil {
							t.Error(err)
						}
					}
				}
			}
		})
	}
	var bodies sync.Map // uid → body
	var seen atomic.Int64
	for range 2 {
		f := openFolder(t, openAccount(t, newTestHost(t), root), Inbox)
		working.Go(func() {
			known := map[uint32]string{}
			for {
				select {
				case <-stop:
					return
				default:
				}
				s, err := f.Refresh(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				now := map[uint32]string{}
				for _, m := range s.all() {
					now[m.UID] = m.Base
				}
				for uid, base := range known {
					if now[uid] == "" {
						if _, ok := expunged.Load(uid); !ok {
							t.Errorf("message %d disappeared", uid)
						}
					} else if now[uid] != base {
						t.Errorf("UID %d was %s and is %s", uid, base, now[uid])
					}
				}
				if last := slices.Max(append(slices.Collect(maps.Keys(known)), 0)); len(known) > 0 {
					for uid := range now {
						if known[uid] == "" && uid < last {
							t.Errorf("message %d came after %d", uid, last)
						}
					}
				}
				known = now
				for uid := range now {
					if _, ok := bodies.Load(uid); ok {
						continue
					}
					file, err := f.Open(uid)
					if errors.Is(err, ErrGone) {
						continue
					}
					if err != nil {
						t.Error(err)
						continue
					}
					raw, _ := io.ReadAll(file)
					file.Close()
					if old, again := bodies.LoadOrStore(uid, string(raw)); again && old != string(raw) {
						t.Errorf("UID %d is two messages", uid)
					}
					seen.Add(1)
				}
			}
		})
	}
	delivering.Wait()
	time.Sleep(50 * time.Millisecond) // more of the mixture; decides nothing
	close(stop)
	working.Wait()

	f := openFolder(t, openAccount(t, newTestHost(t), root), Inbox)
	s := refresh(t, f)
	left := map[string]uint32{}
	for _, m := range s.all() {
		body := contentOf(t, f, m.UID)
		if left[body] != 0 {
			t.Errorf("%q is there twice", body)
		}
		left[body] = m.UID
		if want := Seen | Flagged | Answered; m.UID%7 != 0 && (m.Flags != want || len(s.keywordNames(&m)) != flaggers) {
			t.Errorf("message %d has flags %b and keywords %v", m.UID, m.Flags, s.keywordNames(&m))
		}
	}
	gone := 0
	expunged.Range(func(any, any) bool { gone++; return true })
	if len(s.all())+gone != deliverers*each {
		t.Errorf("%d messages and %d expunged, of %d", len(s.all()), gone, deliverers*each)
	}
	if seen.Load() == 0 {
		t.Error("the readers saw nothing")
	}
	raw, _ := os.ReadFile(filepath.Join(root, uidlistName))
	bases := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n")[1:] {
		_, base, _ := strings.Cut(line, " :")
		if bases[base] {
			t.Errorf("%s has two UIDs", base)
		}
		bases[base] = true
	}
}

// A list that races with renames misses files; none of them may be taken for
// expunged.
func TestRenamesNeverLookLikeExpunges(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	fill(t, root, 300, true)
	f := openFolder(t, openAccount(t, newTestHost(t), root), Inbox)
	all := len(refresh(t, f).all())
	names, _ := filepath.Glob(filepath.Join(root, "cur", "*"))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			n := &names[i*7919%len(names)]
			to := *n + "T"
			if strings.HasSuffix(*n, "T") {
				to = strings.TrimRight(*n, "T")
			}
			os.Rename(*n, to)
			*n = to
		}
	}()
	for range 8 {
		if s := refresh(t, f); len(s.all()) != all {
			t.Errorf("%d messages of %d", len(s.all()), all)
		}
	}
	close(stop)
	<-stopped
	if s := refresh(t, f); len(s.all()) != all {
		t.Errorf("%d messages of %d", len(s.all()), all)
	}
	os.Remove(names[0])
	if s := refresh(t, f); len(s.all()) != all-1 {
		t.Errorf("%d messages after one was removed", len(s.all()))
	}
}

// Another process that looks at a folder at any moment of an APPEND, COPY or
// MOVE must not take the message for one that is gone, and must not number it.
func TestMessagesOnTheirWayAreNotGone(t *testing.T) {
	ops := map[string]func(f, g *Folder) (uids []uint32, err error){
		"append": func(f, g *Folder) ([]uint32, error) {
			return f.AppendAll([]NewMessage{{Write: text("a\n")}, {Write: text("b\n")}})
		},
		"copy": func(f, g *Folder) ([]uint32, error) { _, uids, err := g.Copy([]uint32{1, 2}, f); return uids, err },
		"move": func(f, g *Folder) ([]uint32, error) { _, uids, err := g.Move([]uint32{1, 2}, f); return uids, err },
	}
	for name, op := range ops {
		t.Run(name, func(t *testing.T) {
			var look func()
			h := newTestHost(t, func(o *Options) {
				o.Disk = &commit.Disk{Hook: func(commit.Step, string) error {
					if look != nil {
						look()
					}
					return nil
				}}
			})
			root := filepath.Join(t.TempDir(), "Maildir")
			a := openAccount(t, h, root)
			must(t, a.Create("from", ""))
			f, g := openFolder(t, a, Inbox), openFolder(t, a, "from")
			for range 2 {
				_, err := g.Append(0, nil, time.Time{}, text("x\n"))
				must(t, err)
			}
			other := openFolder(t, openAccount(t, newTestHost(t), root), Inbox)
			refresh(t, other)
			var one sync.Mutex // a step may come while another one is looked at
			var seen []uint32
			look = func() {
				one.Lock()
				defer one.Unlock()
				// With the lock held by the writer it can find out nothing new,
				// and gives up.
				ctx, cancel := context.WithTimeout(t.Context(), 8*lookPause)
				defer cancel()
				if s, err := other.Refresh(ctx); err == nil {
					seen = missingFrom(t, seen, s)
				}
			}
			uids, err := op(f, g)
			must(t, err)
			look = nil
			missingFrom(t, seen, refresh(t, other))
			for _, s := range []*Snapshot{refresh(t, f), other.Snapshot()} {
				if got := uidsOf(s); !slices.Equal(got, uids) {
					t.Errorf("UIDs %v, and %v were told", got, uids)
				}
			}
		})
	}
}

// missingFrom checks that what was there is there, and returns what is.
func missingFrom(t *testing.T, seen []uint32, s *Snapshot) []uint32 {
	t.Helper()
	now := uidsOf(s)
	for _, uid := range seen {
		if !slices.Contains(now, uid) {
			t.Errorf("UID %d is gone from %v", uid, now)
		}
	}
	return now
}
