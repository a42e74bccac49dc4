package mailbox

import (
	"context"
	stdflag "flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A history is one Maildir and what several processes did to it: deliver,
// imapd twice, pop3d, and a mail reader that works on the files.
type history struct {
	*rapid.T
	root     string
	hosts    []*Host
	folders  []*Folder         // INBOX of each
	flagged  map[string]bool   // by text: what is there, and whether it has \Flagged
	textOf   map[uint32]string // by UID: for ever
	gone     map[uint32]bool
	next     uint32
	validity uint32
	n        int
}

// Whatever they do one after the other, each of them sees what was done, under
// the UID that it always had (RFC 3501 §2.3.1.1): UIDs rise, are not given
// twice and survive renames; nothing is gone that nobody removed, and no flag
// is lost.
//
//	PEYK_CRASH=1 or -rapid.checks=N   more of them
func TestHistories(t *testing.T) {
	if checks := stdflag.Lookup("rapid.checks"); os.Getenv("PEYK_CRASH") == "" && checks.Value.String() == checks.DefValue {
		checks.Value.Set("12")
		defer checks.Value.Set(checks.DefValue)
	}
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp("", "peyk-history-")
		if err != nil {
			r.Fatal(err)
		}
		defer os.RemoveAll(dir)
		y := &history{T: r, root: filepath.Join(dir, "Maildir"), flagged: map[string]bool{}, textOf: map[uint32]string{}, gone: map[uint32]bool{}}
		for range 3 {
			y.hosts, y.folders = append(y.hosts, newTestHost(t)), append(y.folders, nil)
			y.reopen(len(y.hosts) - 1)
		}
		r.Repeat(map[string]func(*rapid.T){
			"deliver":        func(*rapid.T) { y.deliver() },
			"append":         func(*rapid.T) { y.append() },
			"store":          func(*rapid.T) { y.store() },
			"expunge":        func(*rapid.T) { y.expunge() },
			"foreign flag":   func(*rapid.T) { y.foreignFlag() },
			"foreign remove": func(*rapid.T) { y.foreignRemove() },
			"to cur":         func(*rapid.T) { y.toCur() },
			"restart":        func(*rapid.T) { y.reopen(y.who()) },
			"":               func(*rapid.T) { y.look(y.who()) },
		})
		for i := range y.hosts {
			y.look(i)
		}
	})
}

func (y *history) who() int { return rapid.IntRange(0, len(y.hosts)-1).Draw(y.T, "who") }

func (y *history) must(err error) {
	y.Helper()
	if err != nil {
		y.Fatal(err)
	}
}

// reopen is a process that begins anew.
func (y *history) reopen(i int) {
	y.hosts[i].Close()
	h, err := NewHost(y.hosts[i].o)
	y.must(err)
	y.hosts[i] = h
	a, err := h.Open(y.root)
	y.must(err)
	y.folders[i], err = a.Folder(Inbox)
	y.must(err)
}

func (y *history) text() string {
	y.n++
	return fmt.Sprintf("Subject: %d\n\nbody\n", y.n)
}

func (y *history) deliver() {
	s := y.text()
	y.must(y.hosts[y.who()].Deliver([]Target{{Root: y.root, Ident: s}}, text(s))[0])
	y.flagged[s] = false
}

func (y *history) append() {
	s := y.text()
	flags := Flags(0)
	if y.flagged[s] = rapid.Bool().Draw(y.T, "flagged"); y.flagged[s] {
		flags = Flagged
	}
	uid, err := y.folders[y.who()].Append(flags, nil, time.Time{}, text(s))
	y.must(err)
	if uid < y.next {
		y.Fatalf("APPEND gave UID %d after UIDNEXT %d", uid, y.next)
	}
}

// some draws a few of the messages that a process sees.
func (y *history) some(i int) (uids []uint32) {
	y.look(i)
	for uid := range maps.Keys(y.seen(i)) {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	if len(uids) == 0 {
		return nil
	}
	return uids[rapid.IntRange(0, len(uids)-1).Draw(y.T, "from"):]
}

func (y *history) store() {
	i := y.who()
	uids, set := y.some(i), rapid.Bool().Draw(y.T, "set")
	op := Remove
	if set {
		op = Add
	}
	y.must(storeIn(y.folders[i], uids, op, Flagged, nil))
	for _, uid := range uids {
		y.flagged[y.textOf[uid]] = set
	}
}

func (y *history) expunge() {
	i := y.who()
	uids := y.some(i)
	uids = uids[:min(len(uids), 2)]
	y.must(y.folders[i].Expunge(uids))
	for _, uid := range uids {
		delete(y.flagged, y.textOf[uid])
		y.gone[uid] = true
	}
}

// file draws a file of a directory.
func (y *history) file(sub string) (path, s string, ok bool) {
	all, _ := filepath.Glob(filepath.Join(y.root, sub, "*"))
	if len(all) == 0 {
		return "", "", false
	}
	path = rapid.SampledFrom(all).Draw(y.T, "file")
	b, err := os.ReadFile(path)
	y.must(err)
	return path, string(b), true
}

func (y *history) foreignFlag() {
	path, s, ok := y.file("cur")
	if !ok {
		return
	}
	base, flags, _ := strings.Cut(path, ":2,")
	if flags = strings.Replace(flags, "F", "", 1); !y.flagged[s] {
		flags = "F" + flags // ASCII order: only S and T are in use beside it
	}
	y.must(os.Rename(path, base+":2,"+flags))
	y.flagged[s] = !y.flagged[s]
}

func (y *history) foreignRemove() {
	path, s, ok := y.file(rapid.SampledFrom([]string{"new", "cur"}).Draw(y.T, "where"))
	if !ok {
		return
	}
	y.must(os.Remove(path))
	delete(y.flagged, s)
}

func (y *history) toCur() {
	if path, _, ok := y.file("new"); ok {
		y.must(os.Rename(path, filepath.Join(y.root, "cur", filepath.Base(path)+":2,")))
	}
}

// seen is what a process shows, by UID.
func (y *history) seen(i int) map[uint32]*Message {
	s, err := y.folders[i].Refresh(context.Background())
	y.must(err)
	if y.validity == 0 {
		y.validity = s.UIDValidity
	}
	if s.UIDValidity != y.validity || s.UIDNext < y.next {
		y.Fatalf("UIDVALIDITY %d after %d, UIDNEXT %d after %d", s.UIDValidity, y.validity, s.UIDNext, y.next)
	}
	y.next = s.UIDNext
	all := map[uint32]*Message{}
	for _, m := range s.Messages.All() {
		if m.UID >= s.UIDNext {
			y.Fatalf("UID %d with UIDNEXT %d", m.UID, s.UIDNext)
		}
		all[m.UID] = m
	}
	return all
}

// look compares what a process shows with what is there.
func (y *history) look(i int) {
	y.Helper()
	shown := map[string]bool{}
	for uid, m := range y.seen(i) {
		paths, _ := filepath.Glob(filepath.Join(y.root, "*", m.Base+"*"))
		if len(paths) != 1 {
			y.Fatalf("process %d: UID %d has the files %q", i, uid, paths)
		}
		b, err := os.ReadFile(paths[0])
		y.must(err)
		s := string(b)
		if old, known := y.textOf[uid]; known && old != s || y.gone[uid] {
			y.Fatalf("process %d: UID %d was %q (gone: %v) and is %q", i, uid, old, y.gone[uid], s)
		}
		y.textOf[uid] = s
		if _, there := y.flagged[s]; !there || shown[s] {
			y.Fatalf("process %d: %q is shown, and was removed or is twice there", i, s)
		}
		shown[s] = true
		if has := m.Flags&Flagged != 0; has != y.flagged[s] {
			y.Fatalf("process %d: %q has \\Flagged: %v, want %v", i, s, has, y.flagged[s])
		}
	}
	if len(shown) != len(y.flagged) {
		y.Fatalf("process %d shows %d messages of %d", i, len(shown), len(y.flagged))
	}
}
