package imapd

import (
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
)

// maxKeys bounds the keys of one SEARCH.
const maxKeys = 2000

// A query is a parsed SEARCH.
type query struct {
	imap.SearchOptions
	criteria imap.SearchCriteria
	esearch  bool // RETURN was given (RFC 4731)
	keys     int
}

// search: RFC 3501 §6.4.4, RFC 4731.
func (s *session) search(p *parser) (reply, error) {
	q, err := p.query()
	if err != nil {
		return reply{}, err
	}
	numbers, err := s.find(p, q)
	if err != nil {
		return reply{}, err
	}
	if q.esearch {
		s.sendESearch(p, q, numbers)
		return reply{}, nil
	}
	s.out = append(s.out, "* SEARCH"...)
	for _, n := range numbers {
		s.out = appendUint(append(s.out, ' '), n)
	}
	s.out = append(s.out, "\r\n"...)
	return reply{}, nil
}

// find returns the sequence numbers, or UIDs, of the messages that match.
func (s *session) find(p *parser, q *query) ([]uint32, error) {
	m := s.compile(&q.criteria)
	deadline := s.o.Now().Add(s.limits.SearchTime)
	var numbers []uint32
	for i, msg := range s.sel.view.All() {
		if m.costly && s.o.Now().After(deadline) {
			return nil, no(imap.ResponseCodeLimit, "the search takes too long: look for less, or in fewer messages")
		}
		ok, err := m.match(i)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		n := uint32(i + 1)
		if p.uid {
			n = msg.UID
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// sendESearch: RFC 4731 §3.1.
func (s *session) sendESearch(p *parser, q *query, numbers []uint32) {
	s.out = append(s.out, "* ESEARCH (TAG "...)
	s.out = append(s.out, '"')
	s.out = append(s.out, p.tag...) // a tag has no quoted-specials
	s.out = append(s.out, `")`...)
	if p.uid {
		s.out = append(s.out, " UID"...)
	}
	if len(numbers) > 0 {
		if q.ReturnMin {
			s.out = appendUint(append(s.out, " MIN "...), numbers[0])
		}
		if q.ReturnMax {
			s.out = appendUint(append(s.out, " MAX "...), numbers[len(numbers)-1])
		}
		if q.ReturnAll {
			s.out = appendSet(append(s.out, " ALL "...), numbers)
		}
	}
	if q.ReturnCount {
		s.out = append(append(s.out, " COUNT "...), strconv.Itoa(len(numbers))...)
	}
	s.out = append(s.out, "\r\n"...)
}

// query takes the arguments of SEARCH.
func (p *parser) query() (*query, error) {
	q := &query{}
	if err := p.sp(); err != nil {
		return nil, err
	}
	if err := p.searchHead(q); err != nil {
		return nil, err
	}
	for {
		if err := p.searchKey(q, &q.criteria); err != nil {
			return nil, err
		}
		if p.done() {
			return q, p.end()
		}
		if err := p.sp(); err != nil {
			return nil, err
		}
	}
}

// searchHead takes RETURN (...) and CHARSET, which come before the keys.
func (p *parser) searchHead(q *query) error {
	if p.eatWord("RETURN ") {
		if err := p.returns(q); err != nil {
			return err
		}
		if err := p.sp(); err != nil {
			return err
		}
	}
	if !p.eatWord("CHARSET ") {
		return nil
	}
	charset, err := p.astring()
	if err != nil {
		return err
	}
	if !strings.EqualFold(charset, "UTF-8") && !strings.EqualFold(charset, "US-ASCII") {
		return no("BADCHARSET (US-ASCII UTF-8)", "cannot search in this character set") // RFC 3501 §7.1
	}
	return p.sp()
}

// eatWord takes a word in upper or lower case, if it is next.
func (p *parser) eatWord(word string) bool {
	rest := p.line[p.pos:]
	if len(rest) < len(word) || !strings.EqualFold(string(rest[:len(word)]), word) {
		return false
	}
	p.pos += len(word)
	return true
}

func (p *parser) returns(q *query) error {
	q.esearch = true
	n := 0
	err := p.list(func() error {
		n++
		w, err := p.word()
		if err != nil {
			return err
		}
		switch w {
		case "MIN":
			q.ReturnMin = true
		case "MAX":
			q.ReturnMax = true
		case "ALL":
			q.ReturnAll = true
		case "COUNT":
			q.ReturnCount = true
		default:
			return p.fail("unknown return option")
		}
		return nil
	})
	q.ReturnAll = q.ReturnAll || n == 0 // RFC 4731 §3.1
	return err
}

// searchKey takes one key and adds it to c.
func (p *parser) searchKey(q *query, c *imap.SearchCriteria) error {
	if q.keys++; q.keys > maxKeys {
		return p.fail("more than %d search keys", maxKeys)
	}
	if p.peek() == '(' {
		return p.list(func() error { return p.searchKey(q, c) })
	}
	if b := p.peek(); isDigit(b) || b == '*' {
		set, err := p.set()
		c.SeqNum = append(c.SeqNum, set)
		return err
	}
	word, err := p.word()
	if err != nil {
		return p.fail("expected a search key")
	}
	for _, add := range []func(*query, *imap.SearchCriteria, string) (bool, error){p.flagKey, p.textKey, p.dateKey, p.otherKey} {
		if known, err := add(q, c, word); known || err != nil {
			return err
		}
	}
	return p.fail("unknown search key")
}

// flagKey knows the keys about flags.
func (p *parser) flagKey(_ *query, c *imap.SearchCriteria, word string) (bool, error) {
	switch word {
	case "ALL":
	case "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN", "RECENT":
		c.Flag = append(c.Flag, imap.Flag(`\`+word))
	case "UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNSEEN":
		c.NotFlag = append(c.NotFlag, imap.Flag(`\`+word[2:]))
	case "NEW": // RFC 3501 §6.4.4: (RECENT UNSEEN)
		c.Flag = append(c.Flag, flagRecent)
		c.NotFlag = append(c.NotFlag, imap.FlagSeen)
	case "OLD":
		c.NotFlag = append(c.NotFlag, flagRecent)
	case "KEYWORD", "UNKEYWORD":
		if err := p.sp(); err != nil {
			return true, err
		}
		k, err := p.atom()
		if word == "KEYWORD" {
			c.Flag = append(c.Flag, imap.Flag(k))
		} else {
			c.NotFlag = append(c.NotFlag, imap.Flag(k))
		}
		return true, err
	default:
		return false, nil
	}
	return true, nil
}

// textKey knows the keys about text.
func (p *parser) textKey(_ *query, c *imap.SearchCriteria, word string) (bool, error) {
	switch word {
	case "BCC", "CC", "FROM", "SUBJECT", "TO", "BODY", "TEXT":
		text, err := p.nextAstring()
		switch word {
		case "BODY":
			c.Body = append(c.Body, text)
		case "TEXT":
			c.Text = append(c.Text, text)
		default:
			c.Header = append(c.Header, imap.SearchCriteriaHeaderField{Key: word, Value: text})
		}
		return true, err
	case "HEADER":
		name, err := p.nextAstring()
		if err != nil {
			return true, err
		}
		text, err := p.nextAstring()
		c.Header = append(c.Header, imap.SearchCriteriaHeaderField{Key: name, Value: text})
		return true, err
	}
	return false, nil
}

// dateLayout: date of RFC 3501 §9.
const dateLayout = "2-Jan-2006"

// dateKey knows the keys about dates. Each becomes criteria of its own, so
// that none overwrites another.
func (p *parser) dateKey(_ *query, c *imap.SearchCriteria, word string) (bool, error) {
	var with imap.SearchCriteria
	set := map[string]func(t time.Time){
		"SINCE":      func(t time.Time) { with.Since = t },
		"BEFORE":     func(t time.Time) { with.Before = t },
		"ON":         func(t time.Time) { with.Since, with.Before = t, t.AddDate(0, 0, 1) },
		"SENTSINCE":  func(t time.Time) { with.SentSince = t },
		"SENTBEFORE": func(t time.Time) { with.SentBefore = t },
		"SENTON":     func(t time.Time) { with.SentSince, with.SentBefore = t, t.AddDate(0, 0, 1) },
	}[word]
	if set == nil {
		return false, nil
	}
	text, err := p.nextAstring()
	if err != nil {
		return true, err
	}
	t, err := time.Parse(dateLayout, text)
	if err != nil {
		return true, p.fail("expected a date such as 7-Feb-1994")
	}
	set(t)
	c.And(&with)
	return true, nil
}

// otherKey knows sizes, UIDs and the logical keys.
func (p *parser) otherKey(q *query, c *imap.SearchCriteria, word string) (bool, error) {
	switch word {
	case "LARGER", "SMALLER":
		if err := p.sp(); err != nil {
			return true, err
		}
		n, err := p.number64()
		addSize(c, word, n)
		return true, err
	case "UID":
		if err := p.sp(); err != nil {
			return true, err
		}
		set, err := p.set()
		c.UID = append(c.UID, uidSet(set))
		return true, err
	case "NOT":
		var not imap.SearchCriteria
		err := p.nestedKey(q, &not)
		c.Not = append(c.Not, not)
		return true, err
	case "OR":
		var or [2]imap.SearchCriteria
		if err := p.nestedKey(q, &or[0]); err != nil {
			return true, err
		}
		err := p.nestedKey(q, &or[1])
		c.Or = append(c.Or, or)
		return true, err
	}
	return false, nil
}

// nestedKey takes a space and a key inside NOT or OR.
func (p *parser) nestedKey(q *query, c *imap.SearchCriteria) error {
	if err := p.sp(); err != nil {
		return err
	}
	if p.depth++; p.depth > maxNesting {
		return p.fail("search keys are nested too deeply")
	}
	defer func() { p.depth-- }()
	return p.searchKey(q, c)
}

// addSize adds LARGER or SMALLER. go-imap's criteria take 0 for none.
func addSize(c *imap.SearchCriteria, word string, n int64) {
	var with imap.SearchCriteria
	switch {
	case word == "LARGER" && n > 0:
		with.Larger = n
	case word == "LARGER":
		with.Not = []imap.SearchCriteria{{Smaller: 1}} // more than 0 octets
	case n > 0:
		with.Smaller = n
	default:
		with.Not = []imap.SearchCriteria{{}} // fewer than 0 octets: none
	}
	c.And(&with)
}
