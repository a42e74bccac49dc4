package imapd

import (
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// A query is a parsed SEARCH.
type query struct {
	returns
	keys  *key
	count int // of keys, those inside others too

	fuzzy      int  // how many FUZZY the key is inside
	hasFuzzy   bool // there is one
	fuzzyWords int
	ranked     bool    // SORT asks for scores
	scores     []uint8 // by index into the view; 0 is the best
}

// search: RFC 3501 §6.4.4, RFC 9051 §6.4.4, RFC 4731.
func (s *session) search(p *parser) (reply, error) {
	q, err := p.query()
	if err != nil {
		return reply{}, s.searchFailed(q, err)
	}
	if q.keys.modSeq() {
		s.aware()
	}
	if s.on.has(rev2) && !q.given { // RFC 9051 §6.4.4
		q.given, q.all = true, true
	}
	if q.update && s.sel.context(p.tag) != nil {
		return reply{}, bad("this tag stands for another search") // RFC 5267 §4.3
	}
	found, err := s.lookFor(s.sel, q)
	if err != nil {
		return reply{}, s.searchFailed(q, err)
	}
	s.update(p, q, found)
	return s.found(p, q, "SEARCH", found)
}

// searchFailed empties "$" when a search that was to fill it failed
// (RFC 5182 §2.1).
func (s *session) searchFailed(q *query, err error) error {
	if q.save && s.sel != nil && !errors.As(err, new(*syntaxError)) {
		s.sel.saved = nil
	}
	return err
}

// found answers with what was found.
func (s *session) found(p *parser, q *query, name string, found outcome) (reply, error) {
	if q.save {
		if err := s.sel.save(&q.returns, found); err != nil {
			return reply{}, err
		}
	}
	if q.given {
		return reply{}, s.sendESearch(p, q, found)
	}
	s.text("* ", name)
	for i := range found.from(0) {
		s.out = appendUint(append(s.out, ' '), s.sel.number(i, p.uid))
		if err := s.relieve(); err != nil {
			return reply{}, err
		}
	}
	if q.keys.modSeq() && found.count() > 0 { // RFC 7162 §3.1.6
		s.text(" (MODSEQ ", s.sel.highestOf(q, found), ")")
	}
	s.text("\r\n")
	return reply{}, nil
}

// number is what the client calls the message at index i.
func (sel *selected) number(i int, uid bool) uint32 {
	if uid {
		return sel.view.At(i).UID
	}
	return uint32(i + 1)
}

// query takes the arguments of SEARCH. With an error it returns what it has.
func (p *parser) query() (*query, error) {
	q := &query{}
	if err := p.sp(); err != nil {
		return q, err
	}
	return q, p.program(q)
}

// program takes RETURN, CHARSET and the keys.
func (p *parser) program(q *query) error {
	if err := p.resultOptions(q); err != nil {
		return err
	}
	if p.eatWord("CHARSET ") {
		if p.s.on.has(utf8Accept) {
			return p.fail("expected no CHARSET: it is UTF-8 since ENABLE") // RFC 9755 §3
		}
		if err := p.charset(); err != nil {
			return err
		}
		if err := p.sp(); err != nil {
			return err
		}
	}
	if err := p.searchKeys(q); err != nil {
		return err
	}
	return p.relevancyAsked(q)
}

// charset takes the name of the character set in which strings are written.
func (p *parser) charset() error {
	charset, err := p.astring()
	if err != nil {
		return err
	}
	if !strings.EqualFold(charset, "UTF-8") && !strings.EqualFold(charset, "US-ASCII") {
		return no("BADCHARSET (US-ASCII UTF-8)", "cannot search in this character set") // RFC 3501 §7.1
	}
	return nil
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

// codeNotSaved: RFC 5182 §2.5.
const codeNotSaved imap.ResponseCode = "NOTSAVED"
