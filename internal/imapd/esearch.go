package imapd

import (
	"iter"
	"strconv"
	"strings"
)

// An outcome is the messages that were found, by index into the view, in the
// order that was asked for: hits or sorted.
type outcome interface {
	count() int
	from(n int) iter.Seq[int] // without the first n
}

// returns are the options of RETURN (RFC 4731 §3.1).
type returns struct {
	given                       bool // RETURN was
	min, max, all, counts, save bool
	page                        *page // PARTIAL
	update                      bool
	items                       *request // of UPDATE, for messages that are added
	relevancy                   bool     // RFC 6203 §4
}

// resultOptions takes RETURN (...), if it is there, and the space after it.
func (p *parser) resultOptions(q *query) error {
	if !p.eatWord("RETURN ") {
		return nil
	}
	r := &q.returns
	r.given = true
	if err := p.list(func() error { return p.resultOption(r) }); err != nil {
		return err
	}
	if r.all && r.page != nil {
		return p.fail("either ALL or PARTIAL") // RFC 9394 §3.1
	}
	r.all = r.all || *r == returns{given: true} // RFC 4731 §3.1
	return p.sp()
}

func (p *parser) resultOption(r *returns) error {
	w, err := p.word()
	if err != nil {
		return err
	}
	switch w {
	case "MIN":
		r.min = true
	case "MAX":
		r.max = true
	case "ALL":
		r.all = true
	case "COUNT":
		r.counts = true
	case byRelevancy:
		r.relevancy = true
	case "SAVE": // RFC 5182 §2.1
		r.save = true
	case "UPDATE": // RFC 5267 §4.3
		r.update = true
		return p.updateItems(r)
	case "CONTEXT": // RFC 5267 §4.2: a hint
	case "PARTIAL": // RFC 9394 §3.1
		if r.page != nil {
			return p.fail("one PARTIAL only")
		}
		if err := p.sp(); err != nil {
			return err
		}
		r.page, err = p.page()
	default:
		return p.fail("unknown return option")
	}
	return err
}

// updateItems takes what UPDATE may want to know of messages that come to
// match (RFC 5465 §7).
func (p *parser) updateItems(r *returns) error {
	if !strings.HasPrefix(string(p.line[p.pos:]), " (") {
		return nil
	}
	p.pos++
	r.items = &request{}
	n := 0
	err := p.list(func() error {
		n++
		return p.fetchItem(r.items, false)
	})
	if err == nil && n == 0 {
		err = p.fail("expected something to fetch")
	}
	r.items.seen = false // nobody has read the message
	return err
}

// An answer is one ESEARCH response.
type answer struct {
	s     *session
	sel   *selected // where it was searched
	q     *query
	about string // beside the tag in the correlator
	uid   bool
	found outcome
}

// sendESearch: RFC 4731 §3.1. With SAVE alone there is no answer (RFC 5182
// §1).
func (s *session) sendESearch(p *parser, q *query, found outcome) error {
	if (q.returns == returns{given: true, save: true}) {
		return nil
	}
	return (&answer{s: s, sel: s.sel, q: q, uid: p.uid, found: found}).send(p.tag)
}

func (a *answer) send(tag string) error {
	s, q := a.s, a.q
	s.text(`* ESEARCH (TAG "`, tag, `"`, a.about, ")") // a tag has no quoted-specials
	if a.uid {
		s.text(" UID")
	}
	if a.found.count() > 0 {
		if err := a.sendFound(); err != nil {
			return err
		}
	}
	if q.counts {
		s.text(" COUNT ", strconv.Itoa(a.found.count()))
	}
	if q.keys.modSeq() && a.found.count() > 0 { // RFC 7162 §3.1.10
		s.text(" MODSEQ ", a.sel.highestOf(q, a.found))
	}
	if q.page != nil {
		if err := a.sendPage(*q.page); err != nil {
			return err
		}
	}
	if q.relevancy && a.found.count() > 0 {
		if err := a.sendRelevancy(); err != nil {
			return err
		}
	}
	s.text("\r\n")
	return nil
}

// sendFound sends what RFC 4731 §3.1 has for a search that found something.
func (a *answer) sendFound() error {
	if a.q.min {
		a.s.text(" MIN ")
		if err := a.sendSet(page{1, 1}); err != nil {
			return err
		}
	}
	if a.q.max {
		a.s.text(" MAX ")
		if err := a.sendSet(page{-1, -1}); err != nil {
			return err
		}
	}
	if !a.q.all {
		return nil
	}
	a.s.text(" ALL ")
	return a.sendSet(page{1, a.found.count()})
}

// sendSet sends a page of what was found as a set, which may be longer than
// what is held in memory.
func (a *answer) sendSet(part page) error {
	var w setWriter
	err := each(a.found, part, func(i int) error {
		a.s.out = w.add(a.s.out, a.sel.number(i, a.uid))
		return a.s.relieve()
	})
	a.s.out = w.end(a.s.out)
	return err
}
