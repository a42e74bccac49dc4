package imapd

import (
	"math"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// Mod-sequences: RFC 7162 §3.1.

// aware notes that the client understands mod-sequences: from now on each
// FETCH that it did not ask for has one (RFC 7162 §3.1).
func (s *session) aware() {
	if s.on.has(condstore) {
		return
	}
	s.on |= condstore
	if s.sel != nil {
		s.sendHighest()
	}
}

// sendHighest says up to which mod-sequence the client has been told
// everything.
func (s *session) sendHighest() {
	s.untagged("OK [", s.highest(), "] the highest mod-sequence")
}

func (s *session) highest() string {
	return "HIGHESTMODSEQ " + strconv.FormatUint(s.sel.synced, 10)
}

// appendModSeq appends the item MODSEQ of a message. A client would take it
// for the highest one it has to know of, which it is not as long as messages
// that are gone are held back (RFC 7162 §3.2).
func (s *session) appendModSeq(m *mailbox.Message) {
	s.out = append(s.out, "MODSEQ ("...)
	s.out = strconv.AppendUint(s.out, m.ModSeq, 10)
	s.out = append(s.out, ')')
	if s.sel.behind {
		s.owes = true
	}
}

// settle puts the highest mod-sequence that the client may believe in into
// the tagged answer, or before it, when it must be told.
func (s *session) settle(r *reply) {
	if !s.owes || s.sel == nil {
		return
	}
	s.owes = false
	if r == nil || r.code != "" {
		s.sendHighest()
		return
	}
	r.code = s.highest()
}

// modSeq takes a mod-sequence: 63 bits (RFC 7162 §7).
func (p *parser) modSeq() (uint64, error) {
	n, err := strconv.ParseUint(string(p.run(isDigit)), 10, 64)
	if err != nil || n > math.MaxInt64 {
		return 0, p.fail("expected a mod-sequence below 2^63")
	}
	return n, nil
}

// fetchModifiers takes " (CHANGEDSINCE n [VANISHED])" if it is there.
func (p *parser) fetchModifiers(r *request) error {
	if !p.eat(' ') {
		return nil
	}
	n := 0
	err := p.list(func() error {
		n++
		return p.fetchModifier(r)
	})
	if err == nil && n == 0 {
		return p.fail("expected a modifier of FETCH")
	}
	if err == nil && r.vanished && !r.since {
		return bad("VANISHED needs CHANGEDSINCE beside it") // RFC 7162 §3.2.6
	}
	return err
}

func (p *parser) fetchModifier(r *request) error {
	w, err := p.word()
	if err != nil {
		return err
	}
	switch {
	case w == "VANISHED" && !r.vanished:
		r.vanished = true
		return p.mayVanish()
	case w == "PARTIAL" && r.page == nil:
		return p.fetchPage(r)
	case w != "CHANGEDSINCE" || r.since:
		return p.fail("unknown modifier of FETCH, or one given twice")
	}
	if err := p.sp(); err != nil {
		return err
	}
	r.since, r.ModSeq = true, true // RFC 7162 §3.1.4.1
	r.ChangedSince, err = p.modSeq()
	return err
}

// mayVanish: RFC 7162 §3.2.6.
func (p *parser) mayVanish() error {
	switch {
	case !p.uid:
		return bad("VANISHED is for UID FETCH only")
	case !p.s.on.has(qresync):
		return bad("please say ENABLE QRESYNC first")
	}
	return nil
}

// storeModifiers takes "(UNCHANGEDSINCE n) " if it is there.
func (p *parser) storeModifiers(change *storing) error {
	if p.peek() != '(' {
		return nil
	}
	err := p.list(func() error {
		w, err := p.word()
		if err != nil {
			return err
		}
		if w != "UNCHANGEDSINCE" || change.conditional {
			return p.fail("unknown modifier of STORE, or one given twice")
		}
		if err := p.sp(); err != nil {
			return err
		}
		change.conditional = true
		change.UnchangedSince, err = p.modSeq()
		return err
	})
	if err != nil {
		return err
	}
	if !change.conditional {
		return p.fail("expected a modifier of STORE")
	}
	return p.sp()
}

// storeUnchanged changes messages, but for those that were changed after the
// given mod-sequence, which it returns.
func (s *session) storeUnchanged(uids []uint32, c storing) ([]uint32, error) {
	change := c.change()
	if err := s.limitChange(&change); err != nil {
		return nil, err
	}
	if !c.conditional {
		return s.sel.folder.Store(uids, change)
	}
	change.UnchangedSince = &c.UnchangedSince
	modified, err := s.sel.folder.Store(uids, change)
	if err != nil || len(modified) == 0 || c.Op == imap.StoreFlagsSet {
		return modified, err
	}
	return s.storeAgain(modified, change)
}

// storeAgain tries messages once more that were changed, but not in the flags
// that are asked for (RFC 7162 §3.1.12). What the client knows of them is what
// the view has.
func (s *session) storeAgain(modified []uint32, c mailbox.Change) ([]uint32, error) {
	snap, err := s.sel.refresh(s)
	if err != nil {
		return modified, err
	}
	var still []uint32
	for _, uid := range modified {
		if !s.untouched(snap, uid, c) {
			still = append(still, uid)
			continue
		}
		now := c
		at, _ := snap.Messages.Index(uid)
		now.UnchangedSince = &snap.Messages.At(at).ModSeq
		left, err := s.sel.folder.Store([]uint32{uid}, now)
		if err != nil {
			return append(still, left...), err
		}
		still = append(still, left...)
	}
	return still, nil
}

// untouched reports whether the flags of a change are as the client knew them
// at the mod-sequence that it gave.
func (s *session) untouched(snap *mailbox.Snapshot, uid uint32, c mailbox.Change) bool {
	i, known := s.sel.view.Index(uid)
	j, there := snap.Messages.Index(uid)
	if !known || !there {
		return false
	}
	was, is := s.sel.view.At(i), snap.Messages.At(j)
	wasBits, wasMissing := keywordBits(s.sel.keywords, c.Keywords)
	isBits, isMissing := keywordBits(snap.Keywords, c.Keywords)
	if *c.UnchangedSince == 0 {
		// RFC 7162 §3.1.3: a keyword that is not set does not exist, and then 0
		// does not fail.
		return c.Op == mailbox.Add && c.Flags == 0 && is.Keywords&isBits == 0
	}
	if was.ModSeq > *c.UnchangedSince || wasMissing != isMissing {
		return false
	}
	return (was.Flags^is.Flags)&c.Flags == 0 && wasBits == isBits && (was.Keywords^is.Keywords)&isBits == 0
}

// modifiedCode is the response code MODIFIED, with numbers as the command has
// them (RFC 7162 §3.1.3).
func (s *session) modifiedCode(p *parser, modified []uint32) string {
	slices.Sort(modified)
	numbers := modified
	if !p.uid {
		numbers = nil
		for _, uid := range modified {
			if i, ok := s.sel.view.Index(uid); ok {
				numbers = append(numbers, uint32(i+1))
			}
		}
	}
	return "MODIFIED " + string(appendSet(nil, numbers))
}

// modSeqKey takes what follows MODSEQ in SEARCH. We have one mod-sequence a
// message, so the name and type of an entry mean nothing (RFC 7162 §3.1.5).
func (p *parser) modSeqKey() (*key, error) {
	if err := p.sp(); err != nil {
		return nil, err
	}
	if p.peek() == '"' {
		if err := p.modSeqEntry(); err != nil {
			return nil, err
		}
	}
	n, err := p.modSeq()
	return &key{op: keyModSeq, n: int64(n)}, err
}

// modSeq reports whether MODSEQ is among the keys.
func (k *key) modSeq() bool { return k.any(func(k *key) bool { return k.op == keyModSeq }) }

// highestOf is the highest mod-sequence of what was found, or, when only MIN
// and MAX were asked for, of what these tell (RFC 4731 §3.2).
func (sel *selected) highestOf(q *query, found outcome) string {
	parts := []page{{1, found.count()}}
	if r := q.returns; (r.min || r.max) && !r.all && !r.counts && r.page == nil {
		parts = parts[:0]
		if r.min {
			parts = append(parts, page{1, 1})
		}
		if r.max {
			parts = append(parts, page{-1, -1})
		}
	}
	highest := uint64(0)
	for _, part := range parts {
		each(found, part, func(i int) error {
			highest = max(highest, sel.view.At(i).ModSeq)
			return nil
		})
	}
	return strconv.FormatUint(highest, 10)
}

func (p *parser) modSeqEntry() error {
	name, err := p.quoted()
	if err != nil {
		return err
	}
	if len(name) <= len("/flags/") || name[:len("/flags/")] != "/flags/" {
		return p.fail("expected an entry such as %q", `/flags/\\draft`)
	}
	if err := p.sp(); err != nil {
		return err
	}
	switch kind, err := p.word(); {
	case err != nil:
		return err
	case kind != "PRIV" && kind != "SHARED" && kind != "ALL":
		return p.fail("expected priv, shared or all")
	}
	return p.sp()
}
