package mailbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"peyk/internal/commit"
)

var errInjected = errors.New("injected")

// failingHost fails its nth step from now on, once; a negative count never.
func failingHost(t testing.TB) (*Host, *atomic.Int64) {
	var left atomic.Int64
	left.Store(-1)
	h := newTestHost(t, func(o *Options) {
		o.Disk = &commit.Disk{Hook: func(s commit.Step, path string) error {
			if left.Load() >= 0 && left.Add(-1) == -1 {
				return fmt.Errorf("%w: %s %s", errInjected, s, filepath.Base(path))
			}
			return nil
		}}
	})
	return h, &left
}

// Each operation fails at each of its steps in turn. Afterwards another
// process finds the state before or the state after, no UID twice, nothing
// half done, and the operation succeeds when it is tried again.
func TestEveryStepFails(t *testing.T) {
	ops := map[string]func(a *Account, f, g *Folder) error{
		"append": func(a *Account, f, g *Folder) error {
			_, err := f.Append(Seen, []string{"kw"}, time.Time{}, text("appended\n"))
			return err
		},
		"several": func(a *Account, f, g *Folder) error {
			_, err := f.AppendAll([]NewMessage{{Write: text("a\n")}, {Write: text("b\n")}})
			return err
		},
		"store": func(a *Account, f, g *Folder) error {
			return storeIn(f, []uint32{1, 2}, Add, Flagged, []string{"fresh"})
		},
		"expunge": func(a *Account, f, g *Folder) error { return f.Expunge([]uint32{1, 2}) },
		"copy":    func(a *Account, f, g *Folder) error { _, _, err := f.Copy([]uint32{1, 2, 3}, g); return err },
		"move":    func(a *Account, f, g *Folder) error { _, _, err := f.Move([]uint32{1, 2, 3}, g); return err },
		"create":  func(a *Account, f, g *Folder) error { return a.Create("fresh", `\Sent`) },
		"delete":  func(a *Account, f, g *Folder) error { return a.Delete("other") },
		"rename":  func(a *Account, f, g *Folder) error { return a.Rename("other", "renamed") },
		"deliver": func(a *Account, f, g *Folder) error {
			return errors.Join(a.host.Deliver([]Target{{Root: a.root}, {Root: a.root, Folder: "other"}}, text("delivered\n"))...)
		},
		"subscribe": func(a *Account, f, g *Folder) error { return a.Subscribe("x") },
	}
	for name, op := range ops {
		for step := int64(0); ; step++ {
			if done := failAt(t, name, step, op); done {
				if step == 0 && name != "expunge" {
					t.Errorf("%s has no step", name)
				}
				break
			}
		}
	}
}

func failAt(t *testing.T, name string, step int64, op func(a *Account, f, g *Folder) error) (done bool) {
	t.Helper()
	h, left := failingHost(t)
	root := filepath.Join(t.TempDir(), "Maildir")
	a := openAccount(t, h, root)
	a.Create("other", "")
	f, g := openFolder(t, a, Inbox), openFolder(t, a, "other")
	for i := range 3 {
		f.Append(0, nil, time.Time{}, text(fmt.Sprintf("message %d\n", i)))
	}
	before := refresh(t, f)
	refresh(t, g)
	left.Store(step)
	err := op(a, f, g)
	done = left.Load() >= 0
	left.Store(-1)
	if done {
		if err != nil {
			t.Fatalf("%s without a fault: %v", name, err)
		}
		return true
	}
	where := fmt.Sprintf("%s, step %d (%v)", name, step, err)
	// A fault may be none of the caller's business, as that of a rename in new/.
	if err != nil && !errors.Is(err, errInjected) {
		t.Errorf("%s: another error", where)
	}
	consistent(t, where, root, before)
	if err == nil || name == "create" || name == "delete" || name == "rename" {
		return false // what was renamed before the fault stays renamed
	}
	if name == "move" || name == "copy" || name == "append" || name == "several" {
		if s := refresh(t, f); !slices.Equal(uidsOf(s), []uint32{1, 2, 3}) {
			t.Errorf("%s: the folder has %v", where, uidsOf(s))
		}
		if s := refresh(t, g); len(s.all()) != 0 {
			t.Errorf("%s: the other has %v", where, uidsOf(s))
		}
	}
	if err := op(a, f, g); err != nil && !errors.Is(err, ErrGone) {
		t.Errorf("%s: tried again: %v", where, err)
	}
	consistent(t, where+", again", root, before)
	return false
}

// consistent looks at an account as another process does.
func consistent(t *testing.T, where, root string, before *Snapshot) {
	t.Helper()
	h := newTestHost(t)
	a, err := h.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	infos, err := a.Folders()
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string]int{}
	for _, info := range infos {
		f, err := a.Folder(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		s := refresh(t, f)
		for i := range s.all() {
			m := &s.all()[i]
			body := contentOf(t, f, m.UID)
			bodies[body]++
			if int64(len(body)) != m.FileSize {
				t.Errorf("%s: message of %d octets called %q", where, len(body), m.Base)
			}
			if info.Name == Inbox && m.UID <= 3 && m.Base != before.all()[m.UID-1].Base {
				t.Errorf("%s: UID %d is another message", where, m.UID)
			}
		}
		f.Close()
	}
	if left, _ := filepath.Glob(root + "/*.lock"); len(left) != 0 {
		t.Errorf("%s: locks are left: %v", where, left)
	}
	if left, _ := os.ReadDir(root + "/tmp"); len(left) != 0 {
		t.Errorf("%s: tmp has %v", where, left)
	}
}
