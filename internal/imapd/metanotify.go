package imapd

import (
	"maps"
	"slices"
	"strings"

	"peyk/internal/mailbox"
)

// maxMetaNews is how many changed entries may wait to be told.
const maxMetaNews = 1000

// metaNews is what NOTIFY has to tell of metadata (RFC 5465 §5.6, §5.7).
// watches.mu guards it.
type metaNews struct {
	changed map[metaChange]bool
	lost    bool                        // there were more than maxMetaNews
	heard   map[*mailbox.Account]func() // what ends that an account is heard of; nil: nobody asked
	stop    func()                      // the same of the server
}

// A metaChange is an entry that was changed.
type metaChange struct{ path, scope, name string }

// listenToMetadata begins to hear of changes, if a group asks for them.
func (w *watches) listenToMetadata() {
	var all events
	for _, g := range w.groups {
		all |= g.events
	}
	if all&(mailboxMetadata|serverMetadata) == 0 {
		return
	}
	w.metaNews.changed = make(map[metaChange]bool)
	w.metaNews.heard = make(map[*mailbox.Account]func())
	w.hearAccount(w.s.account)
	if w.s.o.Metadata != nil {
		w.metaNews.stop = w.s.o.Metadata.OnChange(w.hear)
	}
}

// hear takes note of entries that were changed.
func (w *watches) hear(path string, changes []mailbox.MetaEntry) {
	w.mu.Lock()
	for _, c := range changes {
		if len(w.metaNews.changed) == maxMetaNews {
			w.metaNews.lost = true
			break
		}
		w.metaNews.changed[metaChange{path, c.Scope, c.Name}] = true
	}
	w.mu.Unlock()
	w.wake()
}

func (w *watches) hearAccount(a *mailbox.Account) {
	if a != nil && w.metaNews.heard != nil && w.metaNews.heard[a] == nil {
		w.metaNews.heard[a] = a.OnMetadata(w.hear)
	}
}

// hearMetadata begins to hear of the accounts whose mailboxes the tree has.
func (w *watches) hearMetadata() {
	for _, b := range w.tree {
		if b.exists && w.eventsOf(&b)&mailboxMetadata != 0 {
			w.hearAccount(b.place.account)
		}
	}
}

// end stops to hear of changes.
func (n *metaNews) end() {
	for _, stop := range n.heard {
		stop()
	}
	if n.stop != nil {
		n.stop()
	}
}

// tellMetadata sends the names of entries that were changed, without values
// (RFC 5464 §4.4.2).
func (w *watches) tellMetadata() error {
	w.mu.Lock()
	changed := maps.Clone(w.metaNews.changed)
	clear(w.metaNews.changed)
	lost := w.metaNews.lost
	w.mu.Unlock()
	if lost {
		return w.overflow()
	}
	if len(changed) == 0 {
		return nil
	}
	w.tellServerMetadata(changed)
	for _, name := range slices.SortedFunc(maps.Keys(w.tree), compareNames) {
		b := w.tree[name]
		if !b.exists || w.eventsOf(&b)&mailboxMetadata == 0 {
			continue
		}
		t, err := w.s.metaFor(name)
		if isRefusal(err) || isGone(err) {
			continue // also what the user must not see any more
		}
		if err != nil {
			return err
		}
		w.sendChanged(t, changed)
	}
	return w.s.relieve()
}

func (w *watches) tellServerMetadata(changed map[metaChange]bool) {
	if slices.ContainsFunc(w.groups, func(g eventGroup) bool { return g.events&serverMetadata != 0 }) {
		w.sendChanged(&metaTarget{own: true, shared: w.s.o.Metadata, mine: w.s.account.ServerMetadata()}, changed)
	}
}

// sendChanged sends what was changed of one target, as far as it is this
// user's business.
func (w *watches) sendChanged(t *metaTarget, changed map[metaChange]bool) {
	mine := w.s.mineIn(t)
	var names []string
	for c := range changed {
		if c.scope == mine && c.path == t.mine.Path() || c.scope == mailbox.MetaShared && t.shared != nil && c.path == t.shared.Path() {
			names = append(names, string(appendAstring(nil, c.name)))
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	w.s.text("* METADATA ")
	w.s.out = w.s.appendMailbox(w.s.out, t.wire)
	w.s.text(" ", strings.Join(names, " "), "\r\n")
}
