package imapd

import "strconv"

// A page is a part of a result: from 1, or from -1 which is the last
// (RFC 9394 §3.1). Both ends are of one sign.
type page struct{ from, to int }

// page takes a partial-range.
func (p *parser) page() (*page, error) {
	sign := 1
	if p.peek() == '-' {
		sign = -1
	}
	from, err := p.pageEnd(sign)
	if err != nil {
		return nil, err
	}
	if err := p.expect(':'); err != nil {
		return nil, err
	}
	to, err := p.pageEnd(sign)
	return &page{from, to}, err
}

func (p *parser) pageEnd(sign int) (int, error) {
	if sign < 0 && !p.eat('-') {
		return 0, p.fail("expected %q", '-')
	}
	n, err := p.number()
	if err == nil && n == 0 {
		err = p.fail("expected a number from 1")
	}
	return sign * int(n), err
}

// of returns which of n results are in the page: half-open, from 0.
func (g page) of(n int) (from, to int) {
	first, last := min(g.from, g.to), max(g.from, g.to)
	if first < 0 {
		first, last = n+1+first, n+1+last
	}
	from = min(max(first-1, 0), n)
	return from, max(min(last, n), from)
}

func (g page) String() string { return strconv.Itoa(g.from) + ":" + strconv.Itoa(g.to) }

// each calls f with the results in a page.
func each(found outcome, part page, f func(i int) error) error {
	from, to := part.of(found.count())
	left := to - from
	if left <= 0 {
		return nil
	}
	for i := range found.from(from) {
		if err := f(i); err != nil {
			return err
		}
		if left--; left == 0 {
			break
		}
	}
	return nil
}

// sendPage sends PARTIAL (RFC 9394 §3.1).
func (a *answer) sendPage(part page) error {
	a.s.text(" PARTIAL (", part.String(), " ")
	if from, to := part.of(a.found.count()); from == to {
		a.s.text("NIL)")
		return nil
	}
	if err := a.sendSet(part); err != nil {
		return err
	}
	a.s.text(")")
	return nil
}

// page returns the messages of the set that are in a page of it.
func (x indexes) page(part page) indexes {
	from, to := part.of(x.count())
	var out indexes
	for _, r := range x {
		n := r.to - r.from
		if first, last := max(from, 0), min(to, n); first < last {
			out = append(out, struct{ from, to int }{r.from + first, r.from + last})
		}
		from, to = from-n, to-n
	}
	return out
}

// fetchPage takes what follows PARTIAL in UID FETCH (RFC 9394 §3.3).
func (p *parser) fetchPage(r *request) (err error) {
	if !p.uid {
		return bad("PARTIAL is for UID FETCH only")
	}
	if err := p.sp(); err != nil {
		return err
	}
	r.page, err = p.page()
	return err
}
