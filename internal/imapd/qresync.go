package imapd

import (
	"math"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// Quick resynchronization: RFC 7162 §3.2.

// selecting is a parsed SELECT or EXAMINE.
type selecting struct {
	imap.SelectOptions
	name  string
	given string // as the client wrote it
	sync  *resync
}

// A resync is the parameter QRESYNC: what the client remembers of the mailbox
// (RFC 7162 §3.2.5).
type resync struct {
	validity uint32
	modSeq   uint64
	known    imap.SeqSet // UIDs; nil is all
	seqs     imap.SeqSet // message numbers, and in uids what they stand for
	uids     imap.SeqSet
}

// selectArguments takes a name and parameters.
func (p *parser) selectArguments(o *selecting) error {
	if err := p.sp(); err != nil {
		return err
	}
	raw, err := p.astring()
	if err != nil {
		return err
	}
	if err := p.selectParameters(o); err != nil {
		return err
	}
	if err := p.end(); err != nil {
		return err
	}
	o.given = p.s.given(raw)
	o.name, err = p.s.on.decodeName(raw)
	return err
}

// selectParameters takes " (CONDSTORE QRESYNC (...))" if it is there.
func (p *parser) selectParameters(o *selecting) error {
	if !p.eat(' ') {
		return nil
	}
	n := 0
	err := p.list(func() error {
		n++
		w, err := p.word()
		switch {
		case err != nil:
			return err
		case w == "CONDSTORE" && !o.CondStore:
			o.CondStore = true
			return nil
		case w != "QRESYNC" || o.sync != nil:
			return p.fail("unknown parameter of SELECT, or one given twice")
		}
		if err := p.sp(); err != nil {
			return err
		}
		o.sync = &resync{}
		return p.resync(o.sync)
	})
	switch {
	case err != nil:
		return err
	case n == 0:
		return p.fail("expected a parameter of SELECT")
	case o.sync != nil && !p.s.on.has(qresync):
		return bad("please say ENABLE QRESYNC first") // RFC 7162 §3.2.5
	}
	return nil
}

// resync takes "(uidvalidity modseq [known-uids] [(seqs uids)])".
func (p *parser) resync(r *resync) (err error) {
	if err = p.expect('('); err != nil {
		return err
	}
	if r.validity, err = p.number(); err != nil {
		return err
	}
	if err = p.sp(); err != nil {
		return err
	}
	if r.modSeq, err = p.modSeq(); err != nil {
		return err
	}
	if r.validity == 0 {
		return p.fail("expected a UIDVALIDITY from 1")
	}
	if p.eat(' ') {
		err = p.resyncSets(r)
	}
	if err != nil {
		return err
	}
	return p.expect(')')
}

func (p *parser) resyncSets(r *resync) (err error) {
	if p.peek() != '(' {
		if r.known, err = p.fixedSet(); err != nil || !p.eat(' ') {
			return err
		}
	}
	if err = p.expect('('); err != nil {
		return err
	}
	if p.s.on.has(uidOnly) {
		return errUIDRequired
	}
	if r.seqs, err = p.fixedSet(); err != nil {
		return err
	}
	if err = p.sp(); err != nil {
		return err
	}
	if r.uids, err = p.fixedSet(); err != nil {
		return err
	}
	return p.expect(')')
}

// fixedSet takes a set without "*" and "$".
func (p *parser) fixedSet() (imap.SeqSet, error) {
	word := p.run(func(c byte) bool { return isDigit(c) || c == ':' || c == ',' })
	p.pos -= len(word)
	if len(word) == 0 {
		return nil, p.fail("expected a set of numbers")
	}
	fixed := &parser{s: p.s, line: word, before: p.before + p.pos}
	p.pos += len(word)
	set, err := fixed.set()
	if err == nil {
		err = fixed.end()
	}
	return set, err
}

// resync tells what happened to the selected mailbox since the client saw it.
func (s *session) resync(r *resync) error {
	if r.validity != s.sel.snap.UIDValidity {
		return nil // RFC 7162 §3.2.5: the client sees it by itself
	}
	known := r.known
	if known == nil {
		known = imap.SeqSet{{Start: 1, Stop: math.MaxUint32}}
	}
	if err := s.sendVanishedSince(known, r.modSeq, r); err != nil {
		return err
	}
	return byUID(s.sel.view, known).each(func(i int) error {
		if s.sel.view.At(i).ModSeq > r.modSeq {
			s.sendFlags(i)
		}
		return s.relieve()
	})
}

// agreed returns a UID up to which the client knows of everything that is
// gone: a message that has the number which the client thinks it has, so none
// before it is missing (RFC 7162 §3.2.5.2).
func (r *resync) agreed(view mailbox.List) uint32 {
	if r == nil {
		return 0
	}
	seqs, uids := setWalk{set: r.seqs}, setWalk{set: r.uids}
	for at, last := uint32(0), uint32(0); ; {
		seq, ok := seqs.next()
		uid, also := uids.next()
		// They ascend, so that this takes no longer than the view is long.
		if !ok || !also || seq <= at || int64(seq) > int64(view.Len()) || view.At(int(seq)-1).UID != uid {
			return last
		}
		at, last = seq, uid
	}
}

// setWalk walks over a set as it was written.
type setWalk struct {
	set imap.SeqSet
	at  uint32 // last number taken from the first range; 0: none
}

func (n *setWalk) next() (uint32, bool) {
	if len(n.set) == 0 {
		return 0, false
	}
	r := n.set[0]
	if n.at == 0 {
		n.at = r.Start
	} else {
		n.at++
	}
	at := n.at
	if at >= r.Stop {
		n.set, n.at = n.set[1:], 0
	}
	return at, true
}

// sendVanishedSince sends which messages of a set are gone since a
// mod-sequence. When the folder does not remember as much, these are all UIDs
// that no message has (RFC 7162 §3.2.6), but for those that the client has
// been shown to know of.
func (s *session) sendVanishedSince(set imap.SeqSet, since uint64, r *resync) error {
	view := s.sel.view
	last := s.sel.snap.UIDNext - 1
	gone, complete := s.sel.folder.Vanished(since)
	var out imap.SeqSet
	add := func(from, to uint32) {
		if n := len(out); n > 0 && out[n-1].Stop+1 == from {
			out[n-1].Stop = to
			return
		}
		out = append(out, imap.SeqRange{Start: from, Stop: to})
	}
	ranges := resolve(set, max(last, 1))
	if !complete {
		if known := r.agreed(view); known > 0 {
			ranges = above(ranges, known)
		}
		for _, one := range ranges {
			missing(view, one.Start, min(one.Stop, last), add)
		}
		return s.sendEarlier(out)
	}
	at := 0
	for _, uid := range gone {
		for at < len(ranges) && ranges[at].Stop < uid {
			at++
		}
		if at == len(ranges) {
			break
		}
		// One that is still in the view is news, and no earlier event.
		if _, here := view.Index(uid); !here && uid >= ranges[at].Start {
			add(uid, uid)
		}
	}
	return s.sendEarlier(out)
}

// above returns what of the ranges is beyond a number.
func above(ranges imap.SeqSet, n uint32) imap.SeqSet {
	var out imap.SeqSet
	for _, r := range ranges {
		if r.Stop <= n {
			continue
		}
		r.Start = max(r.Start, n+1)
		out = append(out, r)
	}
	return out
}

// missing calls add with the UIDs from first to last that no message has.
func missing(view mailbox.List, first, last uint32, add func(from, to uint32)) {
	next := uint64(first)
	for _, m := range view.From(view.Search(first)) {
		if m.UID > last {
			break
		}
		if uint64(m.UID) > next {
			add(uint32(next), m.UID-1)
		}
		next = uint64(m.UID) + 1
	}
	if next <= uint64(last) {
		add(uint32(next), last)
	}
}

// maxVanished bounds the ranges of one VANISHED, so that no line is endless.
const maxVanished = 1000

func (s *session) sendEarlier(set imap.SeqSet) error {
	for len(set) > 0 {
		n := min(len(set), maxVanished)
		s.out = append(s.out, "* VANISHED (EARLIER) "...)
		s.out = append(appendRanges(s.out, set[:n]), "\r\n"...)
		set = set[n:]
		if err := s.relieve(); err != nil {
			return err
		}
	}
	return nil
}

// sendVanished sends messages of the view that are gone now, ascending
// (RFC 7162 §3.2.10.2).
func (s *session) sendVanished(uids []uint32) error {
	if len(uids) > 0 && s.on.has(qresync) {
		s.owes = true
	}
	for len(uids) > 0 {
		n := min(len(uids), maxVanished)
		s.out = append(s.out, "* VANISHED "...)
		s.out = append(appendSet(s.out, uids[:n]), "\r\n"...)
		uids = uids[n:]
		if err := s.relieve(); err != nil {
			return err
		}
	}
	return nil
}

func appendRanges(dst []byte, set imap.SeqSet) []byte {
	for i, r := range set {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendUint(dst, r.Start)
		if r.Stop > r.Start {
			dst = append(dst, ':')
			dst = appendUint(dst, r.Stop)
		}
	}
	return dst
}
