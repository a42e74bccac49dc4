package imapd

import (
	"errors"
	"net/mail"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// A matcher is a compiled search.
type matcher struct {
	s      *session
	root   *condition
	bodies []string // needles of BODY and TEXT, folded, each once
	costly bool     // files must be read
	open   subject
}

// A condition is one level of search criteria: all of it must hold.
type condition struct {
	*imap.SearchCriteria
	sets   []indexes
	flags  []flagTest
	header []headerTest
	text   []textTest
	not    []*condition
	or     [][2]*condition
}

type flagTest struct {
	bits     mailbox.Flags
	keywords uint64
	recent   bool
	never    bool // a keyword that the folder does not know
	want     bool
}

type headerTest struct{ name, needle string }

type textTest struct {
	needle int  // index into matcher.bodies
	header bool // TEXT: the header counts too
}

// A subject is the message that is being matched.
type subject struct {
	index  int
	letter *letter
	found  []found // by index into matcher.bodies; nil before the body was read
}

// found says where a needle was found.
type found struct{ header, body bool }

func (s *session) compile(c *imap.SearchCriteria) *matcher {
	m := &matcher{s: s}
	m.root = m.condition(c)
	return m
}

func (m *matcher) condition(c *imap.SearchCriteria) *condition {
	cond := &condition{SearchCriteria: c}
	view := m.s.sel.view
	for _, set := range c.SeqNum {
		cond.sets = append(cond.sets, bySeqWithin(view, set))
	}
	for _, set := range c.UID {
		cond.sets = append(cond.sets, byUID(view, seqSet(set)))
	}
	for _, f := range c.Flag {
		cond.flags = append(cond.flags, m.flagTest(f, true))
	}
	for _, f := range c.NotFlag {
		cond.flags = append(cond.flags, m.flagTest(f, false))
	}
	for _, h := range c.Header {
		cond.header = append(cond.header, headerTest{h.Key, fold(h.Value)})
	}
	for _, text := range c.Body {
		cond.text = append(cond.text, textTest{needle: m.needle(text)})
	}
	for _, text := range c.Text {
		cond.text = append(cond.text, textTest{needle: m.needle(text), header: true})
	}
	for i := range c.Not {
		cond.not = append(cond.not, m.condition(&c.Not[i]))
	}
	for i := range c.Or {
		cond.or = append(cond.or, [2]*condition{m.condition(&c.Or[i][0]), m.condition(&c.Or[i][1])})
	}
	m.costly = m.costly || len(cond.header)+len(cond.text) > 0 || !c.SentSince.IsZero() || !c.SentBefore.IsZero()
	return cond
}

// bySeqWithin is bySeq for SEARCH, where numbers that no message has just do
// not match.
func bySeqWithin(view mailbox.List, set imap.SeqSet) indexes {
	last := uint32(view.Len())
	var out indexes
	for _, r := range resolve(set, last) {
		if r.Start >= 1 && r.Start <= last {
			out = append(out, struct{ from, to int }{int(r.Start) - 1, int(min(r.Stop, last))})
		}
	}
	return out
}

func (m *matcher) flagTest(f imap.Flag, want bool) flagTest {
	t := flagTest{want: want, bits: bitOf(f)}
	if t.bits != 0 {
		return t
	}
	if strings.EqualFold(string(f), string(flagRecent)) {
		t.recent = true
		return t
	}
	t.keywords, t.never = keywordBits(m.s.sel.keywords, []string{string(f)})
	return t
}

func (m *matcher) needle(text string) int {
	text = fold(text)
	if i := slices.Index(m.bodies, text); i >= 0 {
		return i
	}
	m.bodies = append(m.bodies, text)
	return len(m.bodies) - 1
}

// match reports whether the message at index i matches. A message that is
// gone matches nothing that its text would decide.
func (m *matcher) match(i int) (bool, error) {
	m.open = subject{index: i}
	ok, err := m.holds(m.root)
	m.closeLetter()
	if errors.Is(err, mailbox.ErrGone) {
		return false, nil
	}
	return ok, err
}

func (m *matcher) closeLetter() {
	if m.open.letter != nil {
		m.open.letter.close(m.s.srv)
	}
}

// holds tries what costs least first.
func (m *matcher) holds(c *condition) (bool, error) {
	msg := m.s.sel.view.At(m.open.index)
	if !m.cheap(c, msg) {
		return false, nil
	}
	if ok, err := m.received(c); !ok || err != nil {
		return false, err
	}
	if ok, err := m.logic(c); !ok || err != nil {
		return false, err
	}
	if ok, err := m.headers(c); !ok || err != nil {
		return false, err
	}
	return m.texts(c)
}

// cheap tests what the view knows.
func (m *matcher) cheap(c *condition, msg *mailbox.Message) bool {
	for _, set := range c.sets {
		if !set.has(m.open.index) {
			return false
		}
	}
	for _, t := range c.flags {
		has := !t.never && (msg.Flags&t.bits != 0 || msg.Keywords&t.keywords != 0 || t.recent && m.s.sel.isRecent(msg.UID))
		if has != t.want {
			return false
		}
	}
	return (c.Larger == 0 || msg.Size > c.Larger) && (c.Smaller == 0 || msg.Size < c.Smaller)
}

// received tests the internal date, of which only the day counts
// (RFC 3501 §6.4.4).
func (m *matcher) received(c *condition) (bool, error) {
	if c.Since.IsZero() && c.Before.IsZero() {
		return true, nil
	}
	t, err := m.s.sel.folder.Date(m.s.sel.view.At(m.open.index).UID)
	if err != nil {
		return false, stored(err)
	}
	return between(t.Local(), c.Since, c.Before), nil
}

// between compares days, as each side writes them.
func between(t, since, before time.Time) bool {
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	return (since.IsZero() || !day.Before(since)) && (before.IsZero() || day.Before(before))
}

// logic tests NOT and OR.
func (m *matcher) logic(c *condition) (bool, error) {
	for _, not := range c.not {
		if ok, err := m.holds(not); ok || err != nil {
			return false, err
		}
	}
	for _, or := range c.or {
		ok, err := m.holds(or[0])
		if !ok && err == nil {
			ok, err = m.holds(or[1])
		}
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// letter opens the message, once.
func (m *matcher) letter() (*letter, error) {
	if m.open.letter != nil {
		return m.open.letter, nil
	}
	l, err := m.s.openLetter(m.s.sel.view.At(m.open.index).UID)
	m.open.letter = l
	return l, err
}

// headers tests header fields and the Date field.
func (m *matcher) headers(c *condition) (bool, error) {
	if len(c.header) == 0 && c.SentSince.IsZero() && c.SentBefore.IsZero() {
		return true, nil
	}
	l, err := m.letter()
	if err != nil {
		return false, err
	}
	if err := l.readHeader(); err != nil {
		return false, stored(err)
	}
	for _, t := range c.header {
		if !headerHas(l.header, t) {
			return false, nil
		}
	}
	return sentBetween(l.header, c.SentSince, c.SentBefore), nil
}

func sentBetween(header []byte, since, before time.Time) bool {
	if since.IsZero() && before.IsZero() {
		return true
	}
	t, err := mail.ParseDate(firstField(header, "Date"))
	return err == nil && between(t, since, before)
}

// texts tests BODY and TEXT. The message is read once for all of them.
func (m *matcher) texts(c *condition) (bool, error) {
	if len(c.text) == 0 {
		return true, nil
	}
	if m.open.found == nil {
		l, err := m.letter()
		if err != nil {
			return false, err
		}
		if m.open.found, err = l.searchText(m.bodies); err != nil {
			return false, stored(err)
		}
	}
	for _, t := range c.text {
		f := m.open.found[t.needle]
		if !f.body && !(t.header && f.header) {
			return false, nil
		}
	}
	return true, nil
}
