package imapd

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/casemap"
	"peyk/internal/mailbox"
	"peyk/internal/textindex"
)

// A matcher is a search that was compiled for one mailbox.
type matcher struct {
	s        *session
	sel      *selected
	within   indexes // no message outside can match
	holds    test
	key      *key
	text     finder                  // of BODY and TEXT
	narrowed []*textindex.Candidates // by needle; nil: nothing is known
	fuzzy    fuzzyFinder             // of FUZZY BODY and TEXT
	scorings []scoring               // the FUZZY keys, but for those inside NOT
	negated  int                     // how many NOT the key is inside that is compiled
	scored   bool                    // scores are asked for
	header   headerFinder
	costly   bool         // files must be read
	inHead   bool         // facts are asked for
	need     mailbox.Need // beside those about headers
	inText   bool         // the text is asked for
	likely   test         // true for all that holds is true for, from what is in memory
	reader   *mailbox.Reader
	buf      []byte // for a small message
	open     subject
	err      error // what kept a test from an answer
}

// A test reports whether a message of the view matches.
type test func(i int, msg *mailbox.Message) bool

// A subject is the message that is being matched.
type subject struct {
	index  int
	facts  *mailbox.Facts // nil: not known
	letter *letter
	found  []found // by needle; nil before the text was looked at
	fuzzy  bool    // it was looked at for FUZZY
	score  uint8   // how well it matches, if that is asked for
}

func (s *session) compile(sel *selected, k *key) *matcher {
	m := &matcher{s: s, sel: sel, key: k, within: indexes{{0, sel.view.Len()}}}
	if k.op == keyAnd {
		for _, inner := range k.keys {
			if inner.op == keyNumber || inner.op == keyUID {
				m.within = m.indexes(inner)
				break
			}
		}
	}
	m.holds = m.test(k)
	if m.inHead {
		m.likely = m.test(k.likely(true))
	}
	return m
}

// mayMatch reports whether a message is worth to look at its header.
func (m *matcher) mayMatch(i int, msg *mailbox.Message) bool {
	ok := m.likely(i, msg) || m.err != nil
	m.err = nil
	return ok
}

// likely returns a key that needs no file, and that matches at least (at most
// when least is false) what k does.
func (k *key) likely(least bool) *key {
	switch {
	case k.op >= keySentSince && least:
		return &key{op: keyAll}
	case k.op >= keySentSince:
		return not(&key{op: keyAll})
	case k.op == keyNot:
		return not(k.keys[0].likely(!least))
	case len(k.keys) == 0:
		return k
	}
	out := &key{op: k.op}
	for _, inner := range k.keys {
		out.keys = append(out.keys, inner.likely(least))
	}
	return out
}

// indexes finds the messages of a key that is a set.
func (m *matcher) indexes(k *key) indexes {
	if k.op == keyNumber {
		return bySeqWithin(m.sel.view, k.set)
	}
	return byUID(m.sel.view, k.set)
}

// test compiles one key.
func (m *matcher) test(k *key) test {
	switch k.op {
	case keyNumber, keyUID:
		in := m.indexes(k)
		return func(i int, _ *mailbox.Message) bool { return in.has(i) }
	case keyRecent:
		return func(_ int, msg *mailbox.Message) bool { return m.sel.isRecent(msg.UID) }
	case keyLarger:
		return func(_ int, msg *mailbox.Message) bool { return msg.Size > k.n }
	case keySmaller:
		return func(_ int, msg *mailbox.Message) bool { return msg.Size < k.n }
	case keyModSeq:
		return func(_ int, msg *mailbox.Message) bool { return msg.ModSeq >= uint64(k.n) }
	case keyFlag, keyKeyword, keyAll:
		return m.conjunction([]*key{k})
	case keyAnd:
		return m.conjunction(k.keys)
	case keyNot:
		m.negated++
		inner := m.test(k.keys[0])
		m.negated--
		return func(i int, msg *mailbox.Message) bool { return !inner(i, msg) }
	case keyOr:
		return m.disjunction(k.keys)
	case keySince, keyBefore, keyOlder, keyYounger:
		return m.dateTest(k)
	case keySavedSince, keySavedBefore:
		return m.savedTest(k)
	case keyEmailID, keyThreadID:
		m.costly = true
		return m.idTest(k)
	}
	m.costly = true
	return m.textTest(k)
}

// A flagMask is the flags and keywords that a message must have, and those
// that it must not have.
type flagMask struct {
	flags, flagsWant       mailbox.Flags
	keywords, keywordsWant uint64
	never                  bool // no message can match
}

// take adds a key, if it is one about flags.
func (f *flagMask) take(k *key, names []string, want bool) bool {
	switch k.op {
	case keyAll:
		f.never = f.never || !want
	case keyNot:
		return f.take(k.keys[0], names, !want)
	case keyFlag:
		f.never = f.never || f.flags&k.flag != 0 && (f.flagsWant&k.flag != 0) != want
		f.flags |= k.flag
		if want {
			f.flagsWant |= k.flag
		}
	case keyKeyword:
		bits, missing := keywordBits(names, []string{k.text})
		f.never = f.never || missing && want || f.keywords&bits != 0 && (f.keywordsWant&bits != 0) != want
		f.keywords |= bits
		if want {
			f.keywordsWant |= bits
		}
	default:
		return false
	}
	return true
}

// conjunction is AND: flags first, in one step, then what costs least.
func (m *matcher) conjunction(keys []*key) test {
	var f flagMask
	rest := make([]*key, 0, len(keys))
	for _, k := range keys {
		if !f.take(k, m.sel.keywords, true) {
			rest = append(rest, k)
		}
	}
	if f.never {
		return func(int, *mailbox.Message) bool { return false }
	}
	slices.SortStableFunc(rest, func(a, b *key) int { return cmp.Compare(a.cost(), b.cost()) })
	tests := make([]test, len(rest))
	for i, k := range rest {
		tests[i] = m.test(k)
	}
	return func(i int, msg *mailbox.Message) bool {
		if msg.Flags&f.flags != f.flagsWant || msg.Keywords&f.keywords != f.keywordsWant {
			return false
		}
		for _, holds := range tests {
			if !holds(i, msg) {
				return false
			}
		}
		return true
	}
}

// cost is the op of the costliest key inside.
func (k *key) cost() keyOp {
	most := k.op
	for _, inner := range k.keys {
		most = max(most, inner.cost())
	}
	return most
}

func (m *matcher) disjunction(keys []*key) test {
	sorted := slices.Clone(keys)
	slices.SortStableFunc(sorted, func(a, b *key) int { return cmp.Compare(a.cost(), b.cost()) })
	tests := make([]test, len(sorted))
	for i, k := range sorted {
		tests[i] = m.test(k)
	}
	return func(i int, msg *mailbox.Message) bool {
		return slices.ContainsFunc(tests, func(holds test) bool { return holds(i, msg) })
	}
}

// dateTest compares the internal date.
func (m *matcher) dateTest(k *key) test {
	var from, to int64 // seconds; to is exclusive, 0 is open
	switch now := m.s.o.Now(); k.op {
	case keySince:
		from = dayStart(k.day)
	case keyBefore:
		to = dayStart(k.day)
	case keyOlder: // RFC 5032 §3
		to = now.Unix() - k.n + 1
	case keyYounger:
		from = now.Unix() - k.n
	}
	folder, before := m.sel.folder, k.op == keyBefore || k.op == keyOlder
	return func(_ int, msg *mailbox.Message) bool {
		t, err := folder.Date(msg.UID)
		if err != nil {
			m.fail(err)
			return false
		}
		if before {
			return t.Unix() < to
		}
		return t.Unix() >= from
	}
}

// dayStart is when a day begins here: INTERNALDATE is told in local time, and
// of it only the day counts (RFC 3501 §6.4.4).
func dayStart(day time.Time) int64 {
	y, mon, d := day.Date()
	t := time.Date(y, mon, d, 0, 0, 0, 0, time.Local)
	if t.Day() != d { // the clock jumped over midnight
		t = time.Date(y, mon, d, 1, 0, 0, 0, time.Local)
	}
	return t.Unix()
}

// textTest tests header fields, the Date field, and text.
func (m *matcher) textTest(k *key) test {
	if k.fuzzy {
		if holds := m.fuzzyTest(k); holds != nil {
			return holds
		}
	}
	switch k.op {
	case keyHeader:
		m.inHead = true
		needle := []byte(casemap.Fold(k.text))
		return m.headerTest(k.name, func(header []byte) bool {
			return m.header.has(header, k.name, needle) || k.address && m.header.hasAddress(header, k.name, needle)
		})
	case keySentSince:
		m.inHead = true
		return m.headerTest("Date", func(header []byte) bool { return sentBetween(header, k.day, time.Time{}) })
	case keySentBefore:
		m.inHead = true
		return m.headerTest("Date", func(header []byte) bool { return sentBetween(header, time.Time{}, k.day) })
	}
	m.inText = true
	n := m.text.need(k.text, k.op == keyBody)
	return func(_ int, msg *mailbox.Message) bool {
		if !m.mayHold(n, msg.UID) {
			return false
		}
		in := m.search()
		return in != nil && (in[n].body || k.op == keyText && in[n].header)
	}
}

// headerTest asks the facts, when they know all fields of the name, else the
// message.
func (m *matcher) headerTest(name string, holds func(header []byte) bool) test {
	return func(int, *mailbox.Message) bool {
		if a := m.open.facts; a != nil && a.Knows(name) {
			return holds(a.Fields)
		}
		l := m.letter()
		if l == nil {
			return false
		}
		if err := l.readHeader(); err != nil {
			m.fail(stored(err))
			return false
		}
		return holds(l.header)
	}
}

// sentBetween compares the day of the Date field, as it is written there.
func sentBetween(header []byte, since, before time.Time) bool {
	d, ok := parseSent(firstField(header, "Date"))
	return ok && (since.IsZero() || d.day >= dayOf(since)) && (before.IsZero() || d.day < dayOf(before))
}

func dayOf(t time.Time) int { return int(t.Unix() / 86400) }

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

// match reports whether the message at index i matches. A message that is
// gone matches nothing that its text would decide.
func (m *matcher) match(i int, msg *mailbox.Message) (bool, error) {
	m.open.index, m.open.letter, m.open.found, m.open.fuzzy = i, nil, nil, false
	ok := m.holds(i, msg)
	if ok && m.scored {
		m.open.score = m.score(i, msg)
	}
	if m.open.letter != nil {
		m.open.letter.close(m.s.srv)
	}
	err := m.err
	if err == nil {
		return ok, nil
	}
	m.err = nil
	if errors.Is(err, mailbox.ErrGone) {
		return false, nil
	}
	return false, err
}

// fail notes why a test has no answer; the first reason counts.
func (m *matcher) fail(err error) {
	if m.err == nil {
		m.err = err
	}
}

// letter opens the message, once; nil when it cannot.
func (m *matcher) letter() *letter {
	if m.open.letter != nil || m.err != nil {
		return m.open.letter
	}
	if l := m.smallLetter(); l != nil {
		m.open.letter = l
		return l
	}
	l, err := m.s.openIn(m.sel.folder, m.sel.view.At(m.open.index).UID)
	if err != nil {
		m.fail(err)
		return nil
	}
	m.open.letter = l
	return l
}

// smallLetter reads a message that is small, and where it was; else it
// returns nil.
func (m *matcher) smallLetter() *letter {
	if m.reader == nil {
		m.reader, m.buf = m.sel.folder.NewReader(), make([]byte, smallSearch)
	}
	data := m.reader.Small(m.sel.view, m.open.index, m.buf)
	if data == nil {
		return nil
	}
	return &letter{folder: m.sel.folder, r: bytes.NewReader(data), size: int64(len(data)), data: data}
}

// smallSearch is how large a message may be to be read at once by a search.
const smallSearch = 64 << 10

func (m *matcher) close() {
	if m.reader != nil {
		m.reader.Close()
		m.reader = nil
	}
}

// search reads the message once for all needles; nil when it cannot.
func (m *matcher) search() []found {
	if m.open.found != nil {
		return m.open.found
	}
	l := m.letter()
	if l == nil {
		return nil
	}
	in, err := m.text.search(l)
	if err != nil {
		m.fail(err)
		return nil
	}
	m.open.found = in
	return in
}
