package imapd

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"

	"peyk/internal/mailbox"
)

// watches is what NOTIFY has started.
type watches struct {
	s        *session
	groups   []eventGroup
	selected eventGroup // about the selected mailbox; without it nothing is told
	boxes    map[string]*watch
	tree     map[string]box // the mailboxes as the client knows them
	stop     func()

	kick  chan struct{} // holds one when there is news
	mu    sync.Mutex
	news  map[*watch]bool
	moved bool // the tree may have changed

	metaNews metaNews
}

// A watch is one mailbox whose messages are watched.
type watch struct {
	name   string
	folder *mailbox.Folder
	events events
	known  *mailbox.Snapshot // what the client has been told of
	stop   func()
	own    []uint32 // UIDs that this session put there
}

// box is a mailbox in the tree.
type box struct {
	listed
	id string
}

// watch begins to watch what a client asks for.
func (s *session) watch(n *notifying) (*watches, error) {
	w := &watches{s: s, groups: n.groups, boxes: make(map[string]*watch), kick: make(chan struct{}, 1), news: make(map[*watch]bool)}
	others := false
	for _, g := range n.groups {
		if g.selects() {
			w.selected = g
		}
		others = others || !g.selects() && g.events != 0
	}
	if !others {
		return w, nil
	}
	w.stop = s.account.OnFolders(func() {
		w.mu.Lock()
		w.moved = true
		w.mu.Unlock()
		w.wake()
	})
	w.listenToMetadata()
	tree, err := w.look()
	if err == nil {
		w.tree = tree
		err = w.adjust()
	}
	if err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

func (w *watches) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// end gives everything back.
func (w *watches) end() {
	if w.stop != nil {
		w.stop()
	}
	w.metaNews.end()
	for _, one := range w.boxes {
		one.end()
	}
}

func (one *watch) end() {
	one.stop()
	one.folder.Close()
}

// stopWatches ends what NOTIFY has started.
func (s *session) stopWatches() {
	if s.watches != nil {
		s.watches.end()
	}
	s.watches = nil
}

// eventsOf returns what the client wants to hear of a mailbox that is not
// selected.
func (w *watches) eventsOf(b *box) events {
	var e events
	for i := range w.groups {
		if w.groups[i].covers(&b.listed) {
			e |= w.groups[i].events
		}
	}
	return e
}

// adjust watches the mailboxes of the tree that are asked for, and no others.
func (w *watches) adjust() error {
	w.hearMetadata()
	for name, one := range w.boxes {
		if b, ok := w.tree[name]; !ok || w.eventsOf(&b)&messageEvents == 0 {
			w.drop(one)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.tree)) {
		b := w.tree[name]
		e := w.eventsOf(&b) & messageEvents
		if e == 0 || !b.Selectable {
			continue
		}
		if one := w.boxes[name]; one != nil {
			one.events = e
			continue
		}
		if len(w.boxes) == maxWatches {
			return no(codeOverflow, "cannot watch more than %d mailboxes", maxWatches)
		}
		if err := w.add(&b, e); isRefusal(err) && !isGone(err) {
			w.noAccess(&b)
		} else if err != nil && !isGone(err) {
			return err
		}
	}
	return nil
}

func (w *watches) drop(one *watch) {
	one.end()
	delete(w.boxes, one.name)
	w.mu.Lock()
	delete(w.news, one)
	w.mu.Unlock()
}

// add watches one mailbox; what is in it now is known.
func (w *watches) add(b *box, e events) error {
	f, err := w.s.folderAt(b.place, mailbox.RightLookup|mailbox.RightRead)
	if err != nil {
		return err
	}
	f.Watch()
	one := &watch{name: b.Name, folder: f, events: e}
	one.stop = f.OnNews(func() {
		w.mu.Lock()
		w.news[one] = true
		w.mu.Unlock()
		w.wake()
	})
	if one.known, err = f.RefreshReadOnly(w.s.ctx); err != nil {
		one.end()
		return stored(err)
	}
	w.boxes[b.Name] = one
	return nil
}

// noAccess tells that a mailbox that the user may see must not be watched
// (RFC 5465 §3.1).
func (w *watches) noAccess(b *box) {
	w.s.text(`* LIST (\NoAccess) "`, b.sep(), `" `)
	w.s.out = append(w.s.on.appendName(w.s.out, b.Name), "\r\n"...)
}

// take returns what there is news of.
func (w *watches) take() (boxes []*watch, moved bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	boxes = slices.SortedFunc(maps.Keys(w.news), func(a, b *watch) int { return compareNames(a.name, b.name) })
	clear(w.news)
	moved, w.moved = w.moved, false
	return boxes, moved
}

// tell sends what is new in mailboxes other than the selected one.
func (w *watches) tell() error {
	boxes, moved := w.take()
	if moved {
		if err := w.tellTree(); err != nil {
			return err
		}
	}
	if err := w.tellMetadata(); err != nil || w.s.watches != w {
		return err
	}
	for _, one := range boxes {
		if w.boxes[one.name] != one || w.s.sel != nil && w.s.sel.folder == one.folder {
			continue
		}
		if err := w.tellOne(one); err != nil {
			return err
		}
	}
	return nil
}

// tellOne sends STATUS if there is something in a mailbox that the client
// wants to know of.
func (w *watches) tellOne(one *watch) error {
	now, err := one.folder.RefreshReadOnly(w.s.ctx)
	if errors.Is(err, mailbox.ErrNoFolder) {
		w.drop(one) // if it comes back, so does the watch
		return nil
	}
	if err != nil {
		return stored(err)
	}
	if rights, err := w.s.rightsIn(one.folder); err != nil || !rights.Has(mailbox.RightLookup|mailbox.RightRead) {
		w.drop(one) // RFC 5465 §5.9
		return err
	}
	was, own := one.known, one.own
	one.known, one.own = now, nil
	e := happened(was, now, own) & one.events
	if was.UIDValidity != now.UIDValidity {
		e = one.events
	}
	if e == 0 {
		return nil
	}
	return w.send(one, e, w.s.statusValue(was, "UNSEEN") != w.s.statusValue(now, "UNSEEN"))
}

// happened compares two states of a mailbox. New messages that the session
// put there itself are no news (RFC 5465 §5).
func happened(was, now *mailbox.Snapshot, own []uint32) events {
	var e events
	mailbox.Diff(was.Messages, now.Messages, func(i, j int) {
		switch {
		case j < 0:
			e |= messageExpunge
		case i < 0:
			if !slices.Contains(own, now.Messages.At(j).UID) {
				e |= messageNew
			}
		default:
			a, b := was.Messages.At(i), now.Messages.At(j)
			if a.Flags != b.Flags || a.Keywords != b.Keywords {
				e |= flagChange
			}
		}
	})
	return e
}

// send sends the STATUS that events ask for (RFC 5465 §5.1 to §5.3).
func (w *watches) send(one *watch, e events, seen bool) error {
	items := []string{"UIDVALIDITY"}
	if e&(messageNew|messageExpunge) != 0 {
		items = []string{"UIDVALIDITY", "UIDNEXT", "MESSAGES"}
	}
	if w.s.on.has(condstore) {
		items = append(items, "HIGHESTMODSEQ")
	}
	if e&flagChange != 0 && seen {
		items = append(items, "UNSEEN")
	}
	if len(items) == 1 {
		return nil // RFC 5465 §5.1: nothing that could be said
	}
	w.s.sendStatus(one.name, one.known, items)
	return w.s.relieve()
}

// sendStatus sends a STATUS made of a snapshot.
func (s *session) sendStatus(name string, snap *mailbox.Snapshot, items []string) {
	s.out = append(s.out, "* STATUS "...)
	s.out = append(s.on.appendName(s.out, name), ' ')
	for i, item := range items {
		if i == 0 {
			s.out = append(s.out, '(')
		} else {
			s.out = append(s.out, ' ')
		}
		s.out = append(append(s.out, item...), ' ')
		s.out = strconv.AppendInt(s.out, s.statusValue(snap, item), 10)
	}
	s.out = append(s.out, ")\r\n"...)
}

// sendAll sends the STATUS of all that are watched, as NOTIFY SET STATUS
// wants it.
func (w *watches) sendAll() error {
	for _, name := range slices.Sorted(maps.Keys(w.boxes)) {
		one := w.boxes[name]
		if w.s.sel != nil && w.s.sel.folder == one.folder {
			continue
		}
		w.s.sendStatus(name, one.known, w.statusItems(one.events))
		if err := w.s.relieve(); err != nil {
			return err
		}
	}
	return nil
}

// statusItems: RFC 5465 §3.1. Clients that ask for flags may know
// mod-sequences.
func (w *watches) statusItems(e events) []string {
	items := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY"}
	if e&flagChange != 0 || w.s.on.has(condstore) {
		items = append(items, "HIGHESTMODSEQ")
	}
	return items
}

// leave notes, when a mailbox is not selected any more, what the client knows
// of it.
func (w *watches) leave(sel *selected) {
	if one := w.boxes[sel.name]; one != nil && one.folder == sel.folder && !sel.behind {
		one.known = sel.snap
		w.mu.Lock()
		w.news[one] = true
		w.mu.Unlock()
		w.wake()
	}
}

// look returns all mailboxes as LIST would show them: one's own, and those of
// other users that a group may be about.
func (w *watches) look() (map[string]box, error) {
	s, l := w.s, &listing{}
	for _, g := range w.groups {
		if g.filter == "SUBSCRIBED" {
			l.patterns = append(l.patterns, "*")
		}
		for _, name := range g.names {
			l.patterns = append(l.patterns, name)
			if g.filter == "SUBTREE" {
				l.patterns = append(l.patterns, name+"*")
			}
		}
	}
	all, err := s.mailboxes(l)
	if err != nil {
		return nil, stored(err)
	}
	ids, err := s.account.FolderIDs()
	if err != nil {
		return nil, stored(err)
	}
	tree := make(map[string]box, len(all))
	for _, m := range all {
		tree[m.Name] = box{m, ids[m.Name]}
	}
	return tree, nil
}

// tellTree compares the mailboxes with what the client knows.
func (w *watches) tellTree() error {
	now, err := w.look()
	if err != nil {
		return err
	}
	was := w.tree
	w.tree = now
	w.sendTree(was)
	if err := w.adjust(); err != nil {
		return w.overflow()
	}
	return w.s.relieve()
}

// overflow ends all notifications: RFC 5465 §5.8.
func (w *watches) overflow() error {
	w.s.untagged("OK [", string(codeOverflow), "] too many mailboxes: there will be no more notifications")
	w.s.stopWatches()
	none, err := w.s.watch(&notifying{})
	w.s.watches = none
	return err
}

// sendTree sends LIST for each mailbox that was affected.
func (w *watches) sendTree(was map[string]box) {
	for name, b := range w.tree {
		if b.id == "" && was[name].exists { // its uidlist is being made
			b.id = was[name].id
			w.tree[name] = b
		}
	}
	renamed := w.renamed(was)
	affected := make(map[string]events)
	for _, name := range slices.Concat(slices.Collect(maps.Keys(was)), slices.Collect(maps.Keys(w.tree))) {
		before, after := was[name], w.tree[name]
		if before.exists != after.exists || before.exists && before.id != "" && before.id != after.id {
			if renamed.inner[name] {
				continue
			}
			affected[name] |= mailboxName
			if up := parentOf(name, before, after); up != "" {
				affected[up] |= mailboxName
			}
		}
		if before.subscribed != after.subscribed {
			affected[name] |= subscriptionChange
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(affected), compareNames) {
		b, ok := w.tree[name]
		if !ok {
			b = box{listed: listed{FolderInfo: mailbox.FolderInfo{Name: name}}}
		}
		old := was[name]
		if (w.eventsOf(&b)|w.eventsOf(&box{listed: listed{FolderInfo: mailbox.FolderInfo{Name: name}, subscribed: old.subscribed}}))&affected[name] == 0 {
			continue
		}
		b.oldName = renamed.from[name]
		l := &listing{extended: true}
		l.ReturnSubscribed = true
		w.s.sendListed("LIST", l, &b.listed)
	}
}

// parentOf returns the name above that of a mailbox.
func parentOf(name string, before, after box) string {
	if before.place.owner != "" || after.place.owner != "" {
		return parentBy(name, othersSeparator)
	}
	return parent(name)
}

// renames says what became of mailboxes that were renamed.
type renames struct {
	from  map[string]string // by new name
	inner map[string]bool   // names, old and new, that need not be told of
}

// renamed finds mailboxes that have another name now. What moved with its
// parent is not told of, nor is the old name (RFC 5465 §5.4).
func (w *watches) renamed(was map[string]box) renames {
	r := renames{from: make(map[string]string), inner: make(map[string]bool)}
	old := make(map[string]string, len(was)) // by id
	for name, b := range was {
		if _, here := w.tree[name]; b.id != "" && (!here || w.tree[name].id != b.id) {
			old[b.id] = name
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.tree)) {
		from, ok := old[w.tree[name].id]
		if w.tree[name].id == "" || !ok || from == mailbox.Inbox {
			continue
		}
		r.from[name] = from
		if !w.tree[from].exists {
			r.inner[from] = true
		}
		up := parent(name)
		if up != "" && parent(from) != "" && r.from[up] == parent(from) && name[len(up):] == from[len(parent(from)):] {
			r.inner[name] = true
		}
	}
	return r
}
