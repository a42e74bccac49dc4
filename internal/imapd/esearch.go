package imapd

import (
	"iter"
	"strconv"
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
	case "SAVE": // RFC 5182 §2.1
		r.save = true
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

// sendESearch: RFC 4731 §3.1. With SAVE alone there is no answer (RFC 5182
// §1).
func (s *session) sendESearch(p *parser, q *query, found outcome) error {
	if (q.returns == returns{given: true, save: true}) {
		return nil
	}
	s.text(`* ESEARCH (TAG "`, p.tag, `")`) // a tag has no quoted-specials
	if p.uid {
		s.text(" UID")
	}
	if found.count() > 0 {
		if err := s.sendFound(p, q, found); err != nil {
			return err
		}
	}
	if q.counts {
		s.text(" COUNT ", strconv.Itoa(found.count()))
	}
	if q.keys.modSeq() && found.count() > 0 { // RFC 7162 §3.1.10
		s.text(" MODSEQ ", s.highestOf(q, found))
	}
	if q.page != nil {
		if err := s.sendPage(p, *q.page, found); err != nil {
			return err
		}
	}
	s.text("\r\n")
	return nil
}

// sendFound sends what RFC 4731 §3.1 has for a search that found something.
func (s *session) sendFound(p *parser, q *query, found outcome) error {
	if q.min {
		s.text(" MIN ")
		if err := s.sendSet(p, found, page{1, 1}); err != nil {
			return err
		}
	}
	if q.max {
		s.text(" MAX ")
		if err := s.sendSet(p, found, page{-1, -1}); err != nil {
			return err
		}
	}
	if !q.all {
		return nil
	}
	s.text(" ALL ")
	return s.sendSet(p, found, page{1, found.count()})
}

// sendSet sends a page of what was found as a set, which may be longer than
// what is held in memory.
func (s *session) sendSet(p *parser, found outcome, part page) error {
	var w setWriter
	err := each(found, part, func(i int) error {
		s.out = w.add(s.out, s.sel.number(i, p.uid))
		return s.relieve()
	})
	s.out = w.end(s.out)
	return err
}
