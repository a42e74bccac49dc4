package imapd

import (
	"math"
	"slices"
	"sort"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// Limits of what a session may ask to be kept up to date (RFC 5267 §4.3.1).
const (
	maxContexts      = 16
	maxContextRanges = 16 << 10 // of UIDs, eight octets each
)

// A searchContext is a search whose result is kept up to date (RFC 5267 §4.3).
type searchContext struct {
	tag   string
	uid   bool
	keys  *key
	uids  ranges // of messages that match
	flags bool   // flags can change the result
	items *request
}

// ranges are UIDs, ascending. UIDs in between that no message has may be in
// it.
type ranges []imap.SeqRange

// find returns the index of the first range that ends at uid or later.
func (r ranges) find(uid uint32) int {
	return sort.Search(len(r), func(i int) bool { return r[i].Stop >= uid })
}

func (r ranges) has(uid uint32) bool {
	i := r.find(uid)
	return i < len(r) && r[i].Start <= uid
}

// add takes in a UID that is not in the set.
func (r *ranges) add(uid uint32) {
	i := r.find(uid)
	before := i > 0 && (*r)[i-1].Stop == uid-1
	after := i < len(*r) && (*r)[i].Start == uid+1
	switch {
	case before && after:
		(*r)[i-1].Stop = (*r)[i].Stop
		*r = slices.Delete(*r, i, i+1)
	case before:
		(*r)[i-1].Stop = uid
	case after:
		(*r)[i].Start = uid
	default:
		*r = slices.Insert(*r, i, imap.SeqRange{Start: uid, Stop: uid})
	}
}

// remove takes out a UID that is in the set.
func (r *ranges) remove(uid uint32) {
	i := r.find(uid)
	x := &(*r)[i]
	switch {
	case x.Start == x.Stop:
		*r = slices.Delete(*r, i, i+1)
	case x.Start == uid:
		x.Start++
	case x.Stop == uid:
		x.Stop--
	default:
		left := imap.SeqRange{Start: x.Start, Stop: uid - 1}
		x.Start = uid + 1
		*r = slices.Insert(*r, i, left)
	}
}

// rangesOf are the UIDs of what was found.
func (sel *selected) rangesOf(found *hits) ranges {
	var r ranges
	last := -2
	for i := range found.from(0) {
		uid := sel.view.At(i).UID
		if i == last+1 {
			r[len(r)-1].Stop = uid
		} else {
			r = append(r, imap.SeqRange{Start: uid, Stop: uid})
		}
		last = i
	}
	return r
}

// update makes a context of a search that asks for it. It must not be one
// that is there already (RFC 5267 §4.3).
func (s *session) update(p *parser, q *query, found *hits) {
	if !q.update {
		return
	}
	c := &searchContext{tag: p.tag, uid: p.uid, keys: s.sel.fixed(q.keys), items: q.items, uids: s.sel.rangesOf(found)}
	c.flags = c.keys.any(func(k *key) bool {
		return k.op == keyFlag || k.op == keyKeyword || k.op == keyModSeq
	})
	aging := c.keys.any(func(k *key) bool { return k.op == keyOlder || k.op == keyYounger })
	switch {
	case aging:
		s.noUpdate(c.tag, "what depends on the clock is not kept up to date")
	case len(s.sel.contexts) >= maxContexts || s.sel.contextRanges()+len(c.uids) > maxContextRanges:
		s.noUpdate(c.tag, "too many results are kept up to date")
	default:
		s.sel.contexts = append(s.sel.contexts, c)
	}
}

// noUpdate: RFC 5267 §4.3.1.
func (s *session) noUpdate(tag, why string) {
	s.untagged(`NO [NOUPDATE "`, tag, `"] `, why)
}

func (sel *selected) contextRanges() int {
	n := 0
	for _, c := range sel.contexts {
		n += len(c.uids)
	}
	return n
}

// fixed replaces message numbers, which change, by the UIDs that they mean
// now, and "*" by the last message of now, or all that come after it.
func (sel *selected) fixed(k *key) *key {
	f := *k
	if k.op == keyNumber || k.op == keyUID {
		f.op, f.set = keyUID, imap.SeqSet{}
		for _, r := range k.set {
			f.set = append(f.set, sel.fixedRange(r, k.op == keyUID)...)
		}
	}
	f.keys = make([]*key, len(k.keys))
	for i, inner := range k.keys {
		f.keys[i] = sel.fixed(inner)
	}
	return &f
}

func (sel *selected) fixedRange(r imap.SeqRange, uid bool) imap.SeqSet {
	open := (r.Start == 0) != (r.Stop == 0)
	in := byUID
	if !uid {
		in = bySeqWithin
	}
	var set imap.SeqSet
	for _, x := range in(sel.view, imap.SeqSet{r}) {
		fixed := imap.SeqRange{Start: sel.view.At(x.from).UID, Stop: sel.view.At(x.to - 1).UID}
		if open {
			fixed.Stop = math.MaxUint32
		}
		set = append(set, fixed)
	}
	switch {
	case uid && open:
		return imap.SeqSet{{Start: r.Start + r.Stop, Stop: math.MaxUint32}}
	case uid && r.Start != 0: // messages that come may be in it
		return imap.SeqSet{r}
	}
	return set
}

// cancelUpdate: RFC 5267 §4.3.5.
func (s *session) cancelUpdate(p *parser) (reply, error) {
	var tags []string
	for first := true; first || !p.done(); first = false {
		if err := p.sp(); err != nil {
			return reply{}, err
		}
		if p.peek() != '"' {
			return reply{}, p.fail("expected a tag in quotes")
		}
		tag, err := p.quoted()
		if err != nil {
			return reply{}, err
		}
		tags = append(tags, tag)
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	for _, tag := range tags {
		if s.sel.context(tag) == nil {
			return reply{}, bad("no search with this tag is kept up to date")
		}
	}
	s.sel.contexts = slices.DeleteFunc(s.sel.contexts, func(c *searchContext) bool { return slices.Contains(tags, c.tag) })
	return reply{}, nil
}

func (sel *selected) context(tag string) *searchContext {
	for _, c := range sel.contexts {
		if c.tag == tag {
			return c
		}
	}
	return nil
}

// removeGone tells of messages that will be announced as expunged: before
// that (RFC 5267 §4.3.4).
func (s *session) removeGone(now mailbox.List) {
	if len(s.sel.contexts) == 0 {
		return
	}
	removed := make([][]uint32, len(s.sel.contexts))
	mailbox.Diff(s.sel.view, now, func(i, j int) {
		if j >= 0 {
			return
		}
		uid := s.sel.view.At(i).UID
		for n, c := range s.sel.contexts {
			if c.uids.has(uid) {
				c.uids.remove(uid)
				removed[n] = append(removed[n], s.sel.number(i, c.uid))
			}
		}
	})
	for n, c := range s.sel.contexts {
		s.sendChange(c, "REMOVEFROM", removed[n])
	}
}

// updateContexts tells of messages that match now, or do so no more: after
// EXISTS (RFC 5267 §4.3.3). was is the view before.
func (s *session) updateContexts(was mailbox.List) {
	sel := s.sel
	if len(sel.contexts) == 0 {
		return
	}
	var changed []int // indexes into the view
	arrived := 0
	mailbox.Diff(was, sel.view, func(i, j int) {
		if j >= 0 {
			changed = append(changed, j)
			if i < 0 {
				arrived++
			}
		}
	})
	sel.contexts = slices.DeleteFunc(sel.contexts, func(c *searchContext) bool {
		if arrived == 0 && !c.flags {
			return false
		}
		if err := s.updateContext(c, changed); err != nil {
			s.noUpdate(c.tag, "cannot search this any more")
			return true
		}
		return false
	})
}

func (s *session) updateContext(c *searchContext, changed []int) error {
	m := s.compile(s.sel, c.keys)
	m.within = m.within.among(changed)
	found, err := m.find()
	if err != nil {
		return err
	}
	var added, removed []uint32
	var come indexes
	for _, i := range changed {
		uid := s.sel.view.At(i).UID
		switch had, matches := c.uids.has(uid), found.has(i); {
		case matches && !had:
			c.uids.add(uid)
			added = append(added, s.sel.number(i, c.uid))
			come = append(come, struct{ from, to int }{i, i + 1})
		case had && !matches:
			c.uids.remove(uid)
			removed = append(removed, s.sel.number(i, c.uid))
		}
	}
	s.sendChange(c, "REMOVEFROM", removed)
	s.sendChange(c, "ADDTO", added)
	if err := s.sendItems(come, c.items); err != nil {
		return err
	}
	if s.sel.contextRanges() > 2*maxContextRanges {
		return no(imap.ResponseCodeLimit, "the result has too many parts")
	}
	return nil
}

// among returns those of ascending indexes that are in the set.
func (x indexes) among(list []int) indexes {
	var out indexes
	for _, i := range list {
		if x.has(i) {
			out = append(out, struct{ from, to int }{i, i + 1})
		}
	}
	return out
}

// sendChange sends ADDTO or REMOVEFROM. Results of SEARCH have no order of
// their own: position 0 (RFC 5267 §4.3.2).
func (s *session) sendChange(c *searchContext, item string, numbers []uint32) {
	if len(numbers) == 0 {
		return
	}
	s.text(`* ESEARCH (TAG "`, c.tag, `")`)
	if c.uid {
		s.text(" UID")
	}
	s.text(" ", item, " (0 ")
	s.out = appendSet(s.out, numbers)
	s.text(")\r\n")
}
