package imapd

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"peyk/internal/casemap"
	"peyk/internal/mailbox"
	"peyk/internal/mailtext"
	"peyk/internal/mimescan"
	"peyk/internal/textindex"
)

// Limits of FUZZY (RFC 6203).
const (
	maxFuzzyWords = 64  // that one command looks for
	maxFuzzyWord  = 256 // octets; a longer run of letters is several words
)

// How well a word of the text fits one that is looked for.
const (
	fitNear   = 10 // one letter is different
	fitInside = 30
	fitPrefix = 55
	fitWhole  = 80
)

// What adds to the mean of the words: that they stand in a row, and that they
// come more than once.
const (
	bonusRow   = 10
	bonusMore  = 2
	maxMore    = 10
	bestScore  = 100
	nearFrom   = 4 // letters from which a word may have one more, or less
	changeFrom = 5 // or another one
)

// A fuzzyWord is a word that is looked for.
type fuzzyWord struct {
	text    []byte // folded
	letters int    // 0: it must be as it is
}

// A fuzzyText is the text of a FUZZY key, and what was found of it in one
// message. All words must be there, in any order.
type fuzzyText struct {
	words []fuzzyWord
	body  bool // the header does not count
	best  []uint8
	count []int
	row   int // how many words stand in a row now
	inRow bool
}

// newFuzzyText is nil for a text without words.
func newFuzzyText(text string) *fuzzyText {
	t := &fuzzyText{}
	var w wordSplitter
	w.split([]byte(casemap.Fold(text)), true, func(word []byte) { t.words = append(t.words, newFuzzyWord(word)) })
	if len(t.words) == 0 {
		return nil
	}
	t.best, t.count = make([]uint8, len(t.words)), make([]int, len(t.words))
	return t
}

func newFuzzyWord(word []byte) fuzzyWord {
	w := fuzzyWord{text: bytes.Clone(word), letters: utf8.RuneCount(word)}
	if w.letters < nearFrom || bytes.ContainsFunc(word, unicode.IsNumber) {
		w.letters = 0 // 2024 is not nearly 2025
	}
	return w
}

// fit tells how well a word of the text fits, 0 for not at all.
func (w *fuzzyWord) fit(word []byte) uint8 {
	if len(word) >= len(w.text) {
		switch i := bytes.Index(word, w.text); {
		case i == 0 && len(word) == len(w.text):
			return fitWhole
		case i == 0:
			return fitPrefix
		case i > 0:
			return fitInside
		}
	}
	if w.letters > 0 && w.near(word) {
		return fitNear
	}
	return 0
}

// near reports whether a word has one letter more, or less, or two of them
// changed places; in longer words one letter may be another.
func (w *fuzzyWord) near(word []byte) bool {
	a, b := w.text, word
	if d := len(a) - len(b); d > utf8.UTFMax || d < -utf8.UTFMax {
		return false
	}
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && (n < len(a) && !utf8.RuneStart(a[n]) || n < len(b) && !utf8.RuneStart(b[n])) {
		n--
	}
	a, b = a[n:], b[n:]
	n = 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	for n > 0 && !utf8.RuneStart(a[len(a)-n]) {
		n--
	}
	a, b = a[:len(a)-n], b[:len(b)-n]
	switch na, nb := utf8.RuneCount(a), utf8.RuneCount(b); {
	case na+nb == 1:
		return true
	case na == 1 && nb == 1:
		return w.letters >= changeFrom
	case na == 2 && nb == 2:
		_, first := utf8.DecodeRune(a)
		return bytes.HasPrefix(b, a[first:]) && bytes.HasSuffix(b, a[:first])
	}
	return false
}

func (t *fuzzyText) reset() {
	clear(t.best)
	clear(t.count)
	t.row, t.inRow = 0, false
}

// add takes a word of the text.
func (t *fuzzyText) add(word []byte) {
	for i := range t.words {
		fit := t.words[i].fit(word)
		t.best[i] = max(t.best[i], fit)
		if fit >= fitPrefix {
			t.count[i]++
		}
	}
	switch {
	case bytes.Equal(word, t.words[t.row].text):
		t.row++
	case bytes.Equal(word, t.words[0].text):
		t.row = 1
	default:
		t.row = 0
	}
	if t.row == len(t.words) {
		t.row, t.inRow = 0, true
	}
}

// score is from 1 to 100, 0 when a word is missing.
func (t *fuzzyText) score() uint8 {
	sum, more := 0, maxMore
	for i, best := range t.best {
		if best == 0 {
			return 0
		}
		sum += int(best)
		more = min(more, bonusMore*max(0, t.count[i]-1))
	}
	score := sum/len(t.words) + more
	if t.inRow {
		score += bonusRow
	}
	return uint8(min(score, bestScore))
}

// A wordSplitter cuts folded text into words: runs of letters, digits and
// marks.
type wordSplitter struct{ word []byte }

// split calls emit with each word; without last, the text may go on within
// the one at the end.
func (s *wordSplitter) split(text []byte, last bool, emit func([]byte)) {
	for i := 0; i < len(text); {
		size, in := 1, isWordOctet(text[i])
		if text[i] >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRune(text[i:])
			in = unicode.In(r, unicode.L, unicode.N, unicode.M)
		}
		if !in || len(s.word)+size > maxFuzzyWord {
			s.flush(emit)
		}
		if in {
			s.word = append(s.word, text[i:i+size]...)
		}
		i += size
	}
	if last {
		s.flush(emit)
	}
}

func (s *wordSplitter) flush(emit func([]byte)) {
	if len(s.word) > 0 {
		emit(s.word)
		s.word = s.word[:0]
	}
}

// isWordOctet is for ASCII.
func isWordOctet(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// A fuzzyFinder looks for the FUZZY keys BODY and TEXT in one message after
// the other.
type fuzzyFinder struct {
	texts    []*fuzzyText
	narrowed [][]*textindex.Candidates // by text and word; nil: nothing is known
	late     func() error
	gaveUp   error

	body   bool
	fold   casemap.Folder
	folded []byte
	words  wordSplitter
	walker mailtext.Walker
}

// search looks through a message.
func (f *fuzzyFinder) search(l *letter) error {
	f.gaveUp = nil
	for _, t := range f.texts {
		t.reset()
	}
	err := f.walker.Walk(l.r, l.size, l.data, f)
	if f.gaveUp != nil {
		return f.gaveUp
	}
	return stored(err)
}

// Begin, Text and End are those of a mailtext.Sink.
func (f *fuzzyFinder) Begin(body bool) {
	f.body, f.fold, f.words.word = body, casemap.Folder{}, f.words.word[:0]
	for _, t := range f.texts {
		t.row = 0
	}
}

func (f *fuzzyFinder) Text(piece []byte) error {
	for len(piece) > 0 {
		n := min(len(piece), blockSize)
		f.folded = f.fold.Append(f.folded[:0], piece[:n])
		f.words.split(f.folded, false, f.add)
		if piece = piece[n:]; n < blockSize {
			continue
		}
		if err := f.tooLate(); err != nil {
			return err
		}
	}
	return nil
}

func (f *fuzzyFinder) End() error {
	f.folded = f.fold.Flush(f.folded[:0])
	f.words.split(f.folded, true, f.add)
	return f.tooLate()
}

func (f *fuzzyFinder) add(word []byte) {
	for _, t := range f.texts {
		if f.body || !t.body {
			t.add(word)
		}
	}
}

func (f *fuzzyFinder) tooLate() error {
	if f.gaveUp == nil && f.late != nil {
		f.gaveUp = f.late()
	}
	return f.gaveUp
}

// count is the number of words.
func (f *fuzzyFinder) count() (n int) {
	for _, t := range f.texts {
		n += len(t.words)
	}
	return n
}

// ask asks the index which messages may hold the words.
func (f *fuzzyFinder) ask(index *textindex.Index, which textindex.Folder) error {
	narrowed := make([][]*textindex.Candidates, len(f.texts))
	for i, t := range f.texts {
		for _, w := range t.words {
			c, err := index.Candidates(which, w.alternatives()...)
			if err != nil {
				return err
			}
			narrowed[i] = append(narrowed[i], c)
		}
	}
	f.narrowed = narrowed
	return nil
}

// alternatives are texts of which each word that fits has one: a letter that
// is different is in one half of the word only, unless the two in the middle
// changed places.
func (w *fuzzyWord) alternatives() []string {
	if w.letters == 0 {
		return []string{string(w.text)}
	}
	r := []rune(string(w.text))
	half := len(r) / 2
	all := []string{string(r[:half]), string(r[half:])}
	r[half-1], r[half] = r[half], r[half-1]
	return append(all, string(r))
}

// mayHold reports whether a message may hold all words of a text.
func (f *fuzzyFinder) mayHold(text int, uid uint32) bool {
	if f.narrowed == nil {
		return true
	}
	for _, c := range f.narrowed[text] {
		if c != nil && !c.Has(uid) {
			return false
		}
	}
	return true
}

// A scoring is a FUZZY key: how well a message matches it.
type scoring func(i int, msg *mailbox.Message) uint8

// fuzzyTest compiles a FUZZY key about text; nil when it has no words.
func (m *matcher) fuzzyTest(k *key) test {
	t := newFuzzyText(k.text)
	if t == nil {
		return nil
	}
	compile := m.fuzzyBody
	if k.op == keyHeader {
		compile = m.fuzzyHeader
	}
	score := compile(k, t)
	if m.negated == 0 {
		m.scorings = append(m.scorings, score)
	}
	return func(i int, msg *mailbox.Message) bool { return score(i, msg) > 0 }
}

func (m *matcher) fuzzyBody(k *key, t *fuzzyText) scoring {
	m.inText = true
	t.body = k.op == keyBody
	n := len(m.fuzzy.texts)
	m.fuzzy.texts = append(m.fuzzy.texts, t)
	return func(_ int, msg *mailbox.Message) uint8 {
		if !m.fuzzy.mayHold(n, msg.UID) || !m.searchFuzzy() {
			return 0
		}
		return t.score()
	}
}

// searchFuzzy reads the message once for all keys.
func (m *matcher) searchFuzzy() bool {
	if m.open.fuzzy {
		return true
	}
	l := m.letter()
	if l == nil {
		return false
	}
	if err := m.fuzzy.search(l); err != nil {
		m.fail(err)
		return false
	}
	m.open.fuzzy = true
	return true
}

// fuzzyHeader scores the best field of the name.
func (m *matcher) fuzzyHeader(k *key, t *fuzzyText) scoring {
	m.inHead = true
	var best uint8
	holds := m.headerTest(k.name, func(header []byte) bool {
		best = m.header.score(header, k.name, t)
		return best > 0
	})
	return func(i int, msg *mailbox.Message) uint8 {
		if best = 0; !holds(i, msg) {
			return 0
		}
		return best
	}
}

// score is the best one of the fields of a name.
func (h *headerFinder) score(header []byte, name string, t *fuzzyText) (best uint8) {
	mimescan.Fields(header, func(n, value []byte) bool {
		if len(n) != len(name) || !bytes.EqualFold(n, []byte(name)) {
			return true
		}
		var fold casemap.Folder
		var words wordSplitter
		h.folded = fold.Flush(fold.Append(h.folded[:0], h.field.Decode(n, value)))
		t.reset()
		words.split(h.folded, true, t.add)
		best = max(best, t.score())
		return true
	})
	return best
}

// score is the mean of the FUZZY keys that a message matches. One that is
// matched as without FUZZY is matched wholly.
func (m *matcher) score(i int, msg *mailbox.Message) uint8 {
	sum, n := 0, 0
	for _, score := range m.scorings {
		if got := score(i, msg); got > 0 {
			sum, n = sum+int(got), n+1
		}
	}
	if n == 0 {
		return bestScore
	}
	return uint8(sum / n)
}

// fuzzyKey takes the key after FUZZY (RFC 6203 §3). In those that are not
// about text it means nothing (§5).
func (p *parser) fuzzyKey(q *query, word string) (*key, error) {
	if word != "FUZZY" {
		return nil, nil
	}
	q.fuzzy++
	k, err := p.nestedKey(q)
	q.fuzzy--
	q.hasFuzzy = true
	return k, err
}

// fuzzied marks a key about text within FUZZY.
func (p *parser) fuzzied(q *query, k *key) error {
	if q.fuzzy == 0 {
		return nil
	}
	k.fuzzy = true
	if t := newFuzzyText(k.text); t != nil {
		q.fuzzyWords += len(t.words)
	}
	if q.fuzzyWords > maxFuzzyWords {
		return p.fail("more than %d words after FUZZY", maxFuzzyWords)
	}
	return nil
}

// relevancyAsked: RFC 6203 §4, §6.
func (p *parser) relevancyAsked(q *query) error {
	if (q.relevancy || q.ranked) && !q.hasFuzzy {
		return bad("RELEVANCY is for FUZZY searches")
	}
	return nil
}

// scoreOf is the score of the message at index i.
func (q *query) scoreOf(i int) uint8 {
	if i < len(q.scores) && q.scores[i] > 0 {
		return q.scores[i]
	}
	return bestScore
}

// rank fills a column: the highest score comes first (RFC 6203 §6).
func (q *query) rank(found *hits, c *column) {
	c.numbers = make([]int64, 0, found.n)
	for i := range found.from(0) {
		c.numbers = append(c.numbers, -int64(q.scoreOf(i)))
	}
}

// lookFor searches a mailbox, with scores when they are asked for.
func (s *session) lookFor(sel *selected, q *query) (*hits, error) {
	m := s.compile(sel, q.keys)
	m.scored = q.relevancy || q.ranked
	found, err := m.find()
	if err == nil {
		q.scores = found.scores
	}
	return found, err
}

// sendRelevancy sends the scores of all that was found, or of a page of it,
// in the order of the messages (RFC 6203 §4).
func (a *answer) sendRelevancy() error {
	part := page{1, a.found.count()}
	if a.q.page != nil {
		part = *a.q.page
	}
	a.s.text(" RELEVANCY (")
	first := true
	err := each(a.found, part, func(i int) error {
		if !first {
			a.s.out = append(a.s.out, ' ')
		}
		first = false
		a.s.out = appendUint(a.s.out, uint32(a.q.scoreOf(i)))
		return a.s.relieve()
	})
	a.s.text(")")
	return err
}
