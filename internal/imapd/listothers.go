package imapd

import (
	"strings"

	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
)

// addOthers adds the mailboxes of other users that the user may see, and the
// names above them, if a pattern can match any.
func (s *session) addOthers(l *listing, t *listTree) error {
	if s.prefix() == "" || !l.reaches(s.prefix()) {
		return nil
	}
	names, err := s.account.SubscribedOthers()
	if err != nil {
		return err
	}
	for _, owner := range s.owners(l, names) {
		if err := s.addOwner(owner, t); err != nil {
			return err
		}
	}
	for _, name := range names {
		if s.isOthers(name) {
			t.subscribe(name)
		}
	}
	return nil
}

// reaches reports whether a pattern can match names that begin with prefix,
// or the name of its first level.
func (l *listing) reaches(prefix string) bool {
	for _, pattern := range l.patterns {
		literal := l.reference + pattern
		if i := strings.IndexAny(literal, "*%"); i >= 0 {
			literal = literal[:i]
		}
		if strings.HasPrefix(literal, prefix) || strings.HasPrefix(prefix, literal) {
			return true
		}
	}
	return false
}

// owners returns the users whose mailboxes may be visible: those on the list
// of shared folders and, should that be out of date, those that a pattern or
// a subscription names.
func (s *session) owners(l *listing, subscribed []string) []string {
	var owners []string
	if s.o.Shared != nil {
		var err error
		if owners, err = s.o.Shared.Owners(s.who(nil)); err != nil {
			s.log.Event(eventlog.Trouble, "reason", "cannot list the folders of other users", "error", err) // one's own are listed all the same
		}
	}
	for _, pattern := range l.patterns {
		subscribed = append(subscribed, l.reference+pattern)
	}
	for _, name := range subscribed {
		rest, ok := strings.CutPrefix(name, s.prefix())
		owner, _, below := strings.Cut(rest, othersSeparator)
		if ok && below && owner != "" && !strings.ContainsAny(owner, "*%") {
			owners = append(owners, owner)
		}
	}
	return owners
}

// addOwner adds what the user may see of an account. RFC 4314 §4: what he may
// not is as if it did not exist.
func (s *session) addOwner(owner string, t *listTree) error {
	canonical, account, err := s.other(owner)
	if err != nil {
		if !isGone(err) {
			s.log.Event(eventlog.Trouble, "reason", "cannot list the folders of another user", "error", err)
		}
		return nil // the rest is listed all the same
	}
	folders, err := account.Folders()
	if err != nil {
		return err
	}
	first := len(t.all)
	for _, f := range folders {
		if !f.Selectable {
			continue
		}
		rights, err := s.rightsAt(account, f.Name)
		if err != nil || !rights.Has(mailbox.RightLookup) {
			continue
		}
		pl := place{name: s.nameOf(canonical, f.Name), owner: canonical, account: account, folder: f.Name}
		t.add(listed{FolderInfo: mailbox.FolderInfo{Name: pl.name, Selectable: true}, exists: true, place: pl, rights: rights})
	}
	for i, last := first, len(t.all); i < last; i++ {
		t.addOthersParents(t.all[i].place)
	}
	return nil
}

// addOthersParents adds the names above another user's mailbox: they are no
// mailboxes, unless they are there already.
func (t *listTree) addOthersParents(pl place) {
	for name := parentBy(pl.name, othersSeparator); name != ""; name = parentBy(name, othersSeparator) {
		t.add(listed{FolderInfo: mailbox.FolderInfo{Name: name}, exists: true, place: place{owner: pl.owner}})
		t.all[t.at[name]].HasChildren = true
	}
}
