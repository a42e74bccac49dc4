package imapd

import (
	"cmp"
	"slices"

	"peyk/internal/casemap"
	"peyk/internal/mailbox"
	"peyk/internal/mailtext"
	"peyk/internal/mimescan"
)

// maxCriteria bounds the sort criteria of one SORT.
const maxCriteria = 20

// A criterion is one sort-key of RFC 5256 §5 and RFC 5957.
type criterion struct {
	by      string
	reverse bool
}

// sort: RFC 5256 §3, with RETURN (RFC 5267 §3).
func (s *session) sort(p *parser) (reply, error) {
	q := &query{}
	criteria, err := p.sortArguments(q)
	if err != nil {
		return reply{}, s.searchFailed(q, err)
	}
	found, err := s.lookFor(s.sel, q)
	if err != nil {
		return reply{}, s.searchFailed(q, err)
	}
	order, err := s.sorted(q, found, criteria)
	if err != nil {
		return reply{}, s.searchFailed(q, err)
	}
	if q.update {
		s.noUpdate(p.tag, "sorted results are not kept up to date")
	}
	return s.found(p, q, "SORT", order)
}

func (p *parser) sortArguments(q *query) ([]criterion, error) {
	if err := p.sp(); err != nil {
		return nil, err
	}
	if err := p.resultOptions(q); err != nil {
		return nil, err
	}
	criteria, err := p.criteria()
	if err != nil {
		return nil, err
	}
	if err := p.charsetAndKeys(q); err != nil {
		return nil, err
	}
	q.ranked = slices.ContainsFunc(criteria, func(c criterion) bool { return c.by == byRelevancy })
	return criteria, p.relevancyAsked(q)
}

// charsetAndKeys takes what SORT and THREAD end with.
func (p *parser) charsetAndKeys(q *query) error {
	if err := p.sp(); err != nil {
		return err
	}
	if err := p.charset(); err != nil {
		return err
	}
	if err := p.sp(); err != nil {
		return err
	}
	return p.searchKeys(q)
}

// criteria takes the list of sort criteria.
func (p *parser) criteria() ([]criterion, error) {
	var all []criterion
	reverse := false
	err := p.list(func() error {
		w, err := p.word()
		if err != nil {
			return err
		}
		switch w {
		case "REVERSE":
			if reverse {
				return p.fail("REVERSE twice")
			}
			reverse = true
			return nil
		case "ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO", byRelevancy:
		default:
			return p.fail("unknown sort criterion")
		}
		if len(all) >= maxCriteria {
			return p.fail("more than %d sort criteria", maxCriteria)
		}
		all = append(all, criterion{w, reverse})
		reverse = false
		return nil
	})
	if err == nil && (len(all) == 0 || reverse) {
		err = p.fail("expected a sort criterion")
	}
	return all, err
}

// byRelevancy: RFC 6203 §6.
const byRelevancy = "RELEVANCY"

// plain reports whether a criterion needs no header.
func (c criterion) plain() bool { return c.by == "ARRIVAL" || c.by == "SIZE" || c.by == byRelevancy }

// A column holds one sort key of each message that was found.
type column struct {
	criterion
	numbers []int64
	words   []string
}

// sorted puts the messages that were found in order. Where all criteria are
// equal the order of the mailbox counts (RFC 5256 §3).
func (s *session) sorted(q *query, found *hits, criteria []criterion) (sorted, error) {
	columns, err := s.columns(q, found, criteria)
	if err != nil {
		return nil, err
	}
	order := make([]uint32, found.n)
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int {
		for i := range columns {
			if c := columns[i].compare(a, b); c != 0 {
				return c
			}
		}
		return cmp.Compare(a, b)
	})
	at := make([]uint32, 0, found.n)
	for i := range found.from(0) {
		at = append(at, uint32(i))
	}
	for i, n := range order {
		order[i] = at[n]
	}
	return order, nil
}

func (c *column) compare(a, b uint32) int {
	if c.reverse {
		a, b = b, a
	}
	if c.numbers != nil {
		return cmp.Compare(c.numbers[a], c.numbers[b])
	}
	return cmp.Compare(c.words[a], c.words[b])
}

// columns gathers the sort keys.
func (s *session) columns(q *query, found *hits, criteria []criterion) ([]column, error) {
	var all []column
	var kinds []string // those that come from the header
	for _, c := range criteria {
		if slices.ContainsFunc(all, func(have column) bool { return have.by == c.by }) {
			continue // what the first decides no second one can change
		}
		all = append(all, column{criterion: c})
		if !c.plain() {
			kinds = append(kinds, c.by)
		}
	}
	keys, err := s.keysOf(found, kinds)
	if err != nil {
		return nil, err
	}
	for i := range all {
		c := &all[i]
		k := slices.Index(kinds, c.by)
		switch {
		case c.by == byRelevancy:
			q.rank(found, c)
		case k < 0:
			err = s.plainColumn(found, c)
		case c.by == "DATE":
			c.numbers, err = s.dates(found, keys[k])
		default:
			c.words = make([]string, found.n)
			for n, key := range keys[k] {
				c.words[n] = key.Text
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// plainColumn fills a column that needs no header.
func (s *session) plainColumn(found *hits, c *column) error {
	c.numbers = make([]int64, found.n)
	n := 0
	for i := range found.from(0) {
		msg := s.sel.view.At(i)
		if c.by == "SIZE" {
			c.numbers[n] = msg.Size
		} else if err := s.arrival(msg, &c.numbers[n]); err != nil {
			return err
		}
		n++
	}
	return nil
}

// dates are sent dates. The internal date stands for one that cannot be read
// (RFC 5256 §2.2).
func (s *session) dates(found *hits, keys []sortKey) ([]int64, error) {
	dates := make([]int64, found.n)
	n := 0
	for i := range found.from(0) {
		dates[n] = keys[n].N
		if keys[n].Text == noDate {
			if err := s.arrival(s.sel.view.At(i), &dates[n]); err != nil {
				return nil, err
			}
		}
		n++
	}
	return dates, nil
}

// arrival is the internal date, 0 for a message that is gone.
func (s *session) arrival(msg *mailbox.Message, at *int64) error {
	t, err := s.sel.folder.Date(msg.UID)
	if err == nil {
		*at = t.Unix()
	}
	return unlessGone(err)
}

// mailboxKey is the addr-mailbox of the first address.
func mailboxKey(value []byte) string {
	a, _ := mimescan.FirstAddress(value)
	return casemap.Key(a.Mailbox)
}

// displayKey is what a reader sees of the first address (RFC 5957 §3).
func displayKey(value []byte) string {
	a, ok := mimescan.FirstAddress(value)
	switch {
	case !ok:
		return ""
	case a.Name != "":
		return casemap.Key(mailtext.Field(a.Name))
	case a.Domain == "": // a group
		return casemap.Key(a.Mailbox)
	}
	return casemap.Key(a.Mailbox + "@" + a.Domain)
}
