package imapd

import (
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// maxKeys bounds the keys of one SEARCH.
const maxKeys = 2000

// A key is one search key (RFC 9051 §6.4.4), as the client wrote it.
type key struct {
	op      keyOp
	keys    []*key      // of AND, OR, NOT
	set     imap.SeqSet // of message numbers or UIDs
	text    string      // what is looked for, or a keyword
	name    string      // of the header field
	n       int64       // octets, or seconds
	day     time.Time
	flag    mailbox.Flags
	fuzzy   bool // the text need only be like it (RFC 6203)
	address bool // of the addresses of a field, also as ENVELOPE has them
}

// keyOp says what a key asks. Keys that cost less come first.
type keyOp uint8

const (
	keyAll keyOp = iota
	keyNumber
	keyUID
	keyFlag
	keyKeyword
	keyRecent
	keyLarger
	keySmaller
	keyModSeq
	keySince
	keyBefore
	keyOlder
	keyYounger
	keySavedSince
	keySavedBefore
	keyNot
	keyAnd
	keyOr
	keySentSince
	keySentBefore
	keyHeader
	keyEmailID
	keyThreadID
	keyBody
	keyText
)

func not(k *key) *key       { return &key{op: keyNot, keys: []*key{k}} }
func and(keys ...*key) *key { return &key{op: keyAnd, keys: keys} }

// any reports whether f holds for the key or one inside it.
func (k *key) any(f func(*key) bool) bool {
	if f(k) {
		return true
	}
	for _, inner := range k.keys {
		if inner.any(f) {
			return true
		}
	}
	return false
}

// searchKeys takes the keys up to the end of the command; all must hold.
func (p *parser) searchKeys(q *query) error {
	q.keys = and()
	for {
		k, err := p.searchKey(q)
		if err != nil {
			return err
		}
		q.keys.keys = append(q.keys.keys, k)
		if p.done() {
			return p.end()
		}
		if err := p.sp(); err != nil {
			return err
		}
	}
}

// searchKey takes one key.
func (p *parser) searchKey(q *query) (*key, error) {
	if q.count++; q.count > maxKeys {
		return nil, p.fail("more than %d search keys", maxKeys)
	}
	switch c := p.peek(); {
	case c == '(':
		return p.keyList(q)
	case c == '$':
		set, err := p.numbers(true)
		return &key{op: keyUID, set: set}, err // RFC 5182 §2.1
	case isDigit(c) || c == '*':
		set, err := p.numbers(false)
		p.numbered = true
		if err == nil && p.s.on.has(uidOnly) {
			err = errUIDRequired
		}
		return &key{op: keyNumber, set: set}, err
	}
	word, err := p.word()
	if err != nil {
		return nil, p.fail("expected a search key")
	}
	for _, take := range []func(*query, string) (*key, error){p.flagKey, p.textKey, p.dateKey, p.numberKey, p.factKey, p.logicKey, p.fuzzyKey} {
		if k, err := take(q, word); k != nil || err != nil {
			return k, err
		}
	}
	return nil, p.fail("unknown search key")
}

// keyList takes keys in parentheses.
func (p *parser) keyList(q *query) (*key, error) {
	all := and()
	err := p.list(func() error {
		k, err := p.searchKey(q)
		all.keys = append(all.keys, k)
		return err
	})
	if err == nil && len(all.keys) == 0 {
		err = p.fail("expected a search key")
	}
	return all, err
}

// flagKey knows the keys about flags.
func (p *parser) flagKey(_ *query, word string) (*key, error) {
	switch word {
	case "ALL":
		return &key{op: keyAll}, nil
	case "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN":
		return &key{op: keyFlag, flag: bitOf(imap.Flag(`\` + word))}, nil
	case "UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNSEEN":
		return not(&key{op: keyFlag, flag: bitOf(imap.Flag(`\` + word[2:]))}), nil
	case "RECENT":
		return &key{op: keyRecent}, p.noRecent()
	case "NEW": // RFC 3501 §6.4.4: (RECENT UNSEEN)
		return and(&key{op: keyRecent}, not(&key{op: keyFlag, flag: mailbox.Seen})), p.noRecent()
	case "OLD":
		return not(&key{op: keyRecent}), p.noRecent()
	case "KEYWORD", "UNKEYWORD":
		return p.keywordKey(word == "UNKEYWORD")
	}
	return nil, nil
}

func (p *parser) keywordKey(without bool) (*key, error) {
	if err := p.sp(); err != nil {
		return nil, err
	}
	name, err := p.atom()
	if err != nil {
		return nil, err
	}
	k := &key{op: keyKeyword, text: name}
	if bit := bitOf(imap.Flag(name)); bit != 0 { // $Forwarded has a letter of its own
		k = &key{op: keyFlag, flag: bit}
	}
	if without {
		return not(k), nil
	}
	return k, nil
}

// textKey knows the keys about text.
func (p *parser) textKey(q *query, word string) (*key, error) {
	k := &key{op: keyHeader, name: word}
	switch word {
	case "BCC", "CC", "FROM", "TO":
		k.address = true
	case "SUBJECT":
	case "BODY":
		k.op = keyBody
	case "TEXT":
		k.op = keyText
	case "HEADER":
		name, err := p.nextAstring()
		if err != nil {
			return nil, err
		}
		k.name = name
	default:
		return nil, nil
	}
	text, err := p.nextAstring()
	if err != nil {
		return nil, err
	}
	k.text = text
	return k, p.fuzzied(q, k)
}

// dateLayout: date of RFC 3501 §9.
const dateLayout = "2-Jan-2006"

// dateKey knows the keys about dates.
func (p *parser) dateKey(_ *query, word string) (*key, error) {
	since, before := keySince, keyBefore
	if rest, ok := strings.CutPrefix(word, "SENT"); ok {
		since, before, word = keySentSince, keySentBefore, rest
	} else if rest, ok := strings.CutPrefix(word, "SAVED"); ok {
		since, before, word = keySavedSince, keySavedBefore, rest // RFC 8514 §4.3
	}
	if word != "SINCE" && word != "BEFORE" && word != "ON" {
		return nil, nil
	}
	text, err := p.nextAstring()
	if err != nil {
		return nil, err
	}
	day, err := time.Parse(dateLayout, text)
	if err != nil {
		return nil, p.fail("expected a date such as 7-Feb-1994")
	}
	switch word {
	case "SINCE":
		return &key{op: since, day: day}, nil
	case "BEFORE":
		return &key{op: before, day: day}, nil
	}
	return and(&key{op: since, day: day}, &key{op: before, day: day.AddDate(0, 0, 1)}), nil
}

// numberKey knows sizes, ages and UIDs.
func (p *parser) numberKey(_ *query, word string) (k *key, err error) {
	k = &key{}
	switch word {
	case "MODSEQ":
		return p.modSeqKey()
	case "LARGER":
		k.op = keyLarger
	case "SMALLER":
		k.op = keySmaller
	case "OLDER":
		k.op = keyOlder
	case "YOUNGER":
		k.op = keyYounger
	case "UID":
		k.op = keyUID
	default:
		return nil, nil
	}
	if err := p.sp(); err != nil {
		return nil, err
	}
	switch k.op {
	case keyUID:
		k.set, err = p.numbers(true)
	case keyOlder, keyYounger:
		k.n, err = p.interval()
	default:
		k.n, err = p.number64()
	}
	return k, err
}

// interval takes seconds: RFC 5032 §3.
func (p *parser) interval() (int64, error) {
	n, err := p.number()
	if err == nil && n == 0 {
		return 0, p.fail("expected seconds, from 1")
	}
	return int64(n), err
}

// logicKey knows NOT and OR.
func (p *parser) logicKey(q *query, word string) (*key, error) {
	n := 1
	switch word {
	case "NOT":
	case "OR":
		n = 2
	default:
		return nil, nil
	}
	keys := make([]*key, n)
	for i := range keys {
		k, err := p.nestedKey(q)
		if err != nil {
			return nil, err
		}
		keys[i] = k
	}
	if n == 1 {
		return not(keys[0]), nil
	}
	return &key{op: keyOr, keys: keys}, nil
}

// nestedKey takes a space and a key inside another.
func (p *parser) nestedKey(q *query) (*key, error) {
	if err := p.sp(); err != nil {
		return nil, err
	}
	if p.depth++; p.depth > maxNesting {
		return nil, p.fail("search keys are nested too deeply")
	}
	defer func() { p.depth-- }()
	return p.searchKey(q)
}
