package imapd

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// maxSources bounds the mailboxes that one ESEARCH names.
const maxSources = 1000

// A source tells where ESEARCH looks: filter-mailboxes of RFC 7377 §2.2 and
// RFC 5465 §6.
type source struct {
	filter string
	names  []string
}

// multiSearch is ESEARCH (RFC 7377).
func (s *session) multiSearch(p *parser) (reply, error) {
	q := &query{}
	sources, err := p.multiSearchArguments(q)
	if err != nil {
		return reply{}, s.searchFailed(q, err)
	}
	q.all, q.given = q.all || !q.given, true
	selectedOnly := !slices.ContainsFunc(sources, func(from source) bool { return from.filter != "SELECTED" })
	switch {
	case selectedOnly && s.sel == nil:
		return reply{}, bad("please select a mailbox first")
	case selectedOnly:
		return s.searchSelected(p, q)
	case q.save || q.update:
		return reply{}, bad("SAVE and UPDATE are for the selected mailbox alone") // RFC 7377 §2.2
	case q.keys.any(func(k *key) bool { return k.op == keyNumber }):
		return reply{}, bad("message numbers are those of the selected mailbox alone") // RFC 7377 §2.1
	}
	names, err := s.sourceNames(sources)
	if err != nil {
		return reply{}, err
	}
	deadline := s.o.Now().Add(s.limits.SearchTime)
	for _, name := range names {
		if s.o.Now().After(deadline) {
			return reply{}, no(imap.ResponseCodeLimit, "the search takes too long: look in fewer mailboxes")
		}
		if err := s.searchIn(p, q, name); err != nil {
			return reply{}, err
		}
	}
	return reply{}, nil
}

func (p *parser) multiSearchArguments(q *query) ([]source, error) {
	sources := []source{{filter: "SELECTED"}}
	if err := p.sp(); err != nil {
		return nil, err
	}
	if p.eatWord("IN ") {
		sources = nil
		n := 0
		err := p.list(func() error {
			from, err := p.source()
			sources = append(sources, from)
			if n += 1 + len(from.names); n > maxSources && err == nil {
				err = p.fail("more than %d sources", maxSources)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if len(sources) == 0 {
			return nil, p.fail("expected where to search")
		}
		if err := p.sp(); err != nil {
			return nil, err
		}
	}
	return sources, p.program(q)
}

// source takes one filter-mailboxes.
func (p *parser) source() (source, error) {
	w, err := p.word()
	from := source{filter: w}
	if err != nil {
		return from, err
	}
	switch w {
	case "SELECTED", "INBOXES", "PERSONAL", "SUBSCRIBED":
		return from, nil
	case "SUBTREE", "SUBTREE-ONE", "MAILBOXES":
	default:
		return from, p.fail("unknown source")
	}
	if err := p.sp(); err != nil {
		return from, err
	}
	take := func() error {
		raw, err := p.astring()
		if err != nil {
			return err
		}
		name, err := p.s.on.decodeName(raw)
		if err == nil {
			from.names = append(from.names, name)
		}
		return err
	}
	if p.peek() != '(' {
		return from, take()
	}
	if err := p.list(take); err != nil {
		return from, err
	}
	if len(from.names) == 0 {
		return from, p.fail("expected a mailbox")
	}
	return from, nil
}

// sourceNames returns the mailboxes of all sources, each once.
func (s *session) sourceNames(sources []source) ([]string, error) {
	all, err := s.mailboxes(&listing{patterns: []string{"*"}})
	if err != nil {
		return nil, stored(err)
	}
	var names []string
	for i := range all {
		m := &all[i]
		if m.exists && m.Selectable && slices.ContainsFunc(sources, func(from source) bool { return s.isIn(from, m) }) {
			names = append(names, m.Name)
		}
	}
	return names, nil
}

// isIn reports whether a mailbox belongs to a source.
func (s *session) isIn(from source, m *listed) bool {
	switch from.filter {
	case "SELECTED":
		return s.sel != nil && m.Name == s.sel.name
	case "INBOXES":
		return m.Name == mailbox.Inbox
	case "PERSONAL":
		return m.place.owner == ""
	case "SUBSCRIBED":
		return m.subscribed
	case "MAILBOXES":
		return slices.Contains(from.names, m.Name)
	}
	return slices.ContainsFunc(from.names, func(name string) bool {
		below, ok := strings.CutPrefix(m.Name, name+m.sep())
		return m.Name == name || ok && (from.filter == "SUBTREE" || !strings.Contains(below, m.sep()))
	})
}

// searchIn searches a mailbox that need not be the selected one. One that
// cannot be read just has no answer, as has one where nothing is found
// (RFC 7377 §2.1).
func (s *session) searchIn(p *parser, q *query, name string) error {
	f, err := s.folder(name, mailbox.RightLookup|mailbox.RightRead)
	if err != nil {
		return nil
	}
	defer f.Close()
	sel := &selected{folder: f, name: name, readOnly: true}
	if s.sel != nil && s.sel.name == name {
		sel.recent = s.sel.recent
	}
	if sel.snap, err = sel.refresh(s); err != nil {
		if errors.Is(err, mailbox.ErrNoFolder) {
			return nil
		}
		return stored(err)
	}
	sel.view, sel.keywords = sel.snap.Messages, sel.snap.Keywords
	found, err := s.lookFor(sel, q)
	if err != nil || found.count() == 0 {
		return err
	}
	return s.sendFrom(p, q, sel, found)
}

// sendFrom: RFC 7377 §2.1.
func (s *session) sendFrom(p *parser, q *query, sel *selected, found outcome) error {
	about := string(s.on.appendName([]byte(" MAILBOX "), sel.name)) + " UIDVALIDITY " + strconv.FormatUint(uint64(sel.snap.UIDValidity), 10)
	return (&answer{s: s, sel: sel, q: q, about: about, uid: true, found: found}).send(p.tag)
}

// searchSelected is ESEARCH in the selected mailbox: UID SEARCH, with another
// correlator.
func (s *session) searchSelected(p *parser, q *query) (reply, error) {
	p.uid = true
	if q.update && s.sel.context(p.tag) != nil {
		return reply{}, bad("this tag stands for another search") // RFC 5267 §4.3
	}
	found, err := s.lookFor(s.sel, q)
	if err != nil {
		return reply{}, s.searchFailed(q, err)
	}
	s.update(p, q, found)
	if q.save {
		if err := s.sel.save(&q.returns, found); err != nil {
			return reply{}, err
		}
	}
	if found.count() == 0 || (q.returns == returns{given: true, save: true}) {
		return reply{}, nil
	}
	return reply{}, s.sendFrom(p, q, s.sel, found)
}
