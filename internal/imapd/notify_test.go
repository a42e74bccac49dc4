package imapd

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// FuzzNotify: nothing makes a panic, and groups are within their limits.
func FuzzNotify(f *testing.F) {
	for _, seed := range []string{" (selected (MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge)) (subtree Lists (MessageNew MessageExpunge))",
		" STATUS (mailboxes (a b \"c d\") (MailboxName)) (personal NONE)", " (SELECTED-DELAYED MessageNew MessageExpunge FlagChange)"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if bytes.ContainsAny([]byte(text), "{~") {
			return
		}
		n := &notifying{}
		p := &parser{s: &session{state: imap.ConnStateAuthenticated, limits: DefaultLimits()}, line: []byte(text)}
		if p.notifySet(n) != nil {
			return
		}
		chosen := 0
		for _, g := range n.groups {
			if g.selects() {
				chosen++
			}
			if err := g.check(); err != nil || len(g.names) > maxNamed {
				t.Fatalf("%q: %+v", text, g)
			}
		}
		if chosen > 1 || len(n.groups) > maxGroups {
			t.Fatalf("%q: %d groups, %d of the selected mailbox", text, len(n.groups), chosen)
		}
	})
}

// What happened between two trees of mailboxes, as NOTIFY would tell it.
func TestRenamed(t *testing.T) {
	tree := func(pairs ...string) map[string]box {
		m := make(map[string]box)
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = box{listed{FolderInfo: mailbox.FolderInfo{Name: pairs[i], Selectable: true}, exists: true}, pairs[i+1]}
		}
		return m
	}
	was := tree("INBOX", "1", "a", "2", "a.b", "3", "a.b.c", "4", "x", "5", "y", "6")
	w := &watches{tree: tree("INBOX", "1", "n", "2", "n.b", "3", "n.b.c", "4", "x", "6", "y", "5")}
	r := w.renamed(was)
	for name, from := range map[string]string{"n": "a", "n.b": "a.b", "x": "y", "y": "x"} {
		if r.from[name] != from {
			t.Errorf("%s was %q, not %q", name, r.from[name], from)
		}
	}
	for name, inner := range map[string]bool{"n": false, "n.b": true, "n.b.c": true, "a": true, "a.b": true, "x": false, "y": false, "INBOX": false} {
		if r.inner[name] != inner {
			t.Errorf("%s is told: %v", name, !inner)
		}
	}
}

// Where the kernel tells of nothing, folders are looked at.
func TestNotifyByPoll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	host := newHostOf(t, mailbox.Options{Poll: 5_000_000})
	a, err := host.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	news := make(chan bool, 100)
	stop := a.OnFolders(func() { news <- true })
	defer stop()
	if err := a.Create("x", ""); err != nil {
		t.Fatal(err)
	}
	<-news
	f, err := a.Folder("x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.OnNews(func() { news <- false })()
	other := newHost(t)
	if errs := other.Deliver([]mailbox.Target{{Root: dir, Folder: "x"}}, hello); errs[0] != nil {
		t.Fatal(errs[0])
	}
	for <-news {
	}
}

// TestOthersDoNotOverflowNotify: what one user changes in his own metadata does
// not end what another one is told.
func TestOthersDoNotOverflowNotify(t *testing.T) {
	ts := startServer(t, map[string]string{"imap-plaintext-login": "127.0.0.0/8", "imap-admins": "alice"})
	alice := sharer(t, ts, "alice secret")
	alice.must("NOTIFY SET (personal (MailboxMetadataChange ServerMetadataChange))")
	bob, err := ts.host.Open(filepath.Join(ts.dir, "bob"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bob.Close)
	var changes []mailbox.MetaEntry
	for i := range 2 * maxMetaNews {
		changes = append(changes, mailbox.MetaEntry{Scope: "owner", Name: fmt.Sprint("/private/", i)})
	}
	bob.ServerMetadata().Tell(changes)
	sharer(t, ts, "alice secret").must(`SETMETADATA "" (/shared/comment "x")`)
	for n := 0; ; n++ {
		lines := strings.Join(alice.must("NOOP"), "\n")
		if strings.Contains(lines, "OVERFLOW") {
			t.Fatal(lines)
		}
		if strings.Contains(lines, `* METADATA "" /shared/comment`) {
			return
		}
		if n == 1000 {
			t.Fatal("alice hears nothing")
		}
	}
}

// TestAnIDThatBecomesKnown: a mailbox that was looked at before its uidlist was
// there is told of once; one in place of another is told of when that is known.
func TestAnIDThatBecomesKnown(t *testing.T) {
	tree := func(id string) map[string]box {
		return map[string]box{"x": {listed{FolderInfo: mailbox.FolderInfo{Name: "x", Selectable: true}, exists: true}, id}}
	}
	s := &session{}
	w := &watches{s: s, groups: []eventGroup{{filter: "PERSONAL", events: mailboxName}}, tree: map[string]box{}}
	for i, step := range []struct {
		id    string
		tells bool
	}{{"", true}, {"1", false}, {"", false}, {"2", true}, {"2", false}} {
		was := w.tree
		w.tree, s.out = tree(step.id), nil
		w.sendTree(was)
		if len(s.out) > 0 != step.tells {
			t.Errorf("step %d: %q", i, s.out)
		}
	}
}
