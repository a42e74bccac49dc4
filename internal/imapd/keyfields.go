package imapd

import (
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
	"peyk/internal/mimescan"
)

// keyFields are the header fields by which messages are sorted and threaded,
// as they stand in the message. nil is a field that is not there.
type keyFields struct {
	date, subject, from, to, cc, id, inReplyTo, references []byte
	gone                                                   bool // the message is
}

// wanted are fields that have to be found.
func (k *keyFields) wanted(kinds []string) []*[]byte {
	var all []*[]byte
	for _, kind := range kinds {
		switch kind {
		case "DATE":
			all = append(all, &k.date)
		case "SUBJECT":
			all = append(all, &k.subject)
		case "FROM", "DISPLAYFROM":
			all = append(all, &k.from)
		case "TO", "DISPLAYTO":
			all = append(all, &k.to)
		case "CC":
			all = append(all, &k.cc)
		default:
			all = append(all, &k.id, &k.inReplyTo, &k.references)
		}
	}
	return all
}

// take reads a header, until the fields that are wanted are there. Of a field
// that is there twice the first counts.
func (k *keyFields) take(header []byte, wanted []*[]byte) {
	*k = keyFields{}
	mimescan.Fields(header, func(name, value []byte) bool {
		at := k.named(name)
		if at == nil || *at != nil {
			return true
		}
		*at = value
		return slices.ContainsFunc(wanted, func(other *[]byte) bool { return *other == nil })
	})
}

func (k *keyFields) named(name []byte) *[]byte {
	is := func(s string) bool { return strings.EqualFold(string(name), s) }
	switch len(name) {
	case 2:
		if is("To") {
			return &k.to
		}
		if is("Cc") {
			return &k.cc
		}
	case 4:
		if is("Date") {
			return &k.date
		}
		if is("From") {
			return &k.from
		}
	case 7:
		if is("Subject") {
			return &k.subject
		}
	case 10:
		if is("References") {
			return &k.references
		}
		if is("Message-ID") {
			return &k.id
		}
	case 11:
		if is("In-Reply-To") {
			return &k.inReplyTo
		}
	}
	return nil
}

// eachFields calls f with the fields that kinds are made of, of each message that was found, and how
// many came before it. What f gets is good until it returns. A message that is
// gone has none.
func (s *session) eachFields(found *hits, kinds []string, f func(n int, k *keyFields)) error {
	view := s.sel.view
	uids := func(yield func(uint32) bool) {
		for i := range found.from(0) {
			if !yield(view.At(i).UID) {
				return
			}
		}
	}
	deadline := s.o.Now().Add(s.limits.SearchTime)
	n := 0
	var k keyFields
	wanted := k.wanted(kinds)
	return s.sel.folder.EachFacts(uids, mailbox.NeedFields, func(uid uint32, facts *mailbox.Facts, err error) error {
		if n%64 == 0 && s.o.Now().After(deadline) {
			return no(imap.ResponseCodeLimit, "this takes too long: ask for fewer messages")
		}
		if err := s.fieldsOf(uid, facts, err, &k, wanted); err != nil {
			return err
		}
		f(n, &k)
		n++
		return nil
	})
}

// fieldsOf takes the fields from what is remembered of a message, or else
// from its file.
func (s *session) fieldsOf(uid uint32, facts *mailbox.Facts, err error, k *keyFields, wanted []*[]byte) error {
	if err == nil && facts.FieldsWhole {
		k.take(facts.Fields, wanted)
		return nil
	}
	*k = keyFields{gone: true}
	if err != nil {
		return unlessGone(err)
	}
	l, err := s.openLetter(uid)
	if err != nil {
		return unlessGone(err)
	}
	defer l.close(s.srv)
	if err := l.readHeader(); err != nil {
		return stored(err)
	}
	k.take(append([]byte(nil), l.header...), wanted)
	return nil
}

// unlessGone passes over a message that was expunged meanwhile.
func unlessGone(err error) error {
	if errors.Is(err, mailbox.ErrGone) {
		return nil
	}
	return stored(err)
}
