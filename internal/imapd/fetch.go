package imapd

import (
	"errors"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// A request is what a FETCH asks for.
type request struct {
	imap.FetchOptions
	sections []section
	seen     bool         // one of the sections sets \Seen
	file     bool         // the file must be opened
	body     bool         // BODY without a section, which may stand beside BODYSTRUCTURE
	extra    mailbox.Need // what items that go-imap has no name for need
	emailID  bool
	threadID bool
	saveDate bool
	preview  bool
	since    bool  // CHANGEDSINCE was given (RFC 7162 §3.1.4.1)
	vanished bool  // VANISHED too (RFC 7162 §3.2.6)
	page     *page // PARTIAL (RFC 9394 §3.3)
}

// fetch: RFC 3501 §6.4.5.
func (s *session) fetch(p *parser) (reply, error) {
	set, r, err := p.fetchArguments()
	if err != nil {
		return reply{}, err
	}
	in, err := s.messages(p, set)
	if err != nil {
		return reply{}, err
	}
	if r.page != nil {
		in = in.page(*r.page)
	}
	if r.ModSeq {
		s.aware()
	}
	r.UID = r.UID || p.uid && !s.on.has(uidOnly)                           // RFC 3501 §6.4.8
	r.seen = r.seen && !s.sel.readOnly && s.need(mailbox.RightSeen) == nil // RFC 4314 §4
	gone := 0
	var read []uint32
	if r.vanished {
		if err := s.sendVanishedSince(set, r.ChangedSince, nil); err != nil {
			return reply{}, err
		}
	}
	err = s.eachFetched(in, r, func(i int, a *mailbox.Facts, err error) error {
		if err == nil {
			err = s.fetchOne(i, a, r)
		} else if !errors.Is(err, mailbox.ErrGone) {
			err = stored(err)
		}
		if errors.Is(err, mailbox.ErrGone) {
			gone++
			return nil
		}
		if err == nil && r.seen && s.sel.view.At(i).Flags&mailbox.Seen == 0 {
			read = append(read, s.sel.view.At(i).UID)
		}
		return err
	})
	if seenErr := s.markSeen(read); err == nil {
		err = seenErr
	}
	if err == nil && gone > 0 {
		return reply{}, no(codeExpungeIssued, "%d of the messages are gone", gone) // RFC 5530
	}
	return reply{}, err
}

// markSeen sets \Seen on messages whose FETCH has told so already.
func (s *session) markSeen(uids []uint32) error {
	if len(uids) == 0 {
		return nil
	}
	if _, err := s.sel.folder.Store(uids, mailbox.Change{Op: mailbox.Add, Flags: mailbox.Seen}); err != nil {
		return stored(err)
	}
	if s.on.has(condstore) {
		return s.announce(announcement{}) // RFC 7162 §3.2.4: with their mod-sequences
	}
	return s.announce(announcement{quiet: func(was, is *mailbox.Message) bool {
		_, mine := slices.BinarySearch(uids, is.UID)
		return mine && is.Flags == was.Flags|mailbox.Seen && is.Keywords == was.Keywords
	}})
}

// fetchOne sends the answer for the message at index i, or nothing when the
// message is gone.
func (s *session) fetchOne(i int, a *mailbox.Facts, r *request) error {
	m := s.sel.view.At(i)
	var l *letter
	if r.wantsFile(a) {
		var err error
		if l, err = s.letterOf(m.UID, a); err != nil {
			return err
		}
		defer l.close(s.srv)
		if err := l.decodable(r); err != nil {
			return err
		}
	}
	mark, flushes := len(s.out), s.flushes
	s.beginFetch(i)
	if err := s.fetchItems(m, l, a, r); err != nil {
		if s.flushes != flushes {
			return &brokenError{err} // half of the answer is on its way
		}
		s.out = s.out[:mark]
		return err
	}
	s.out = append(s.out, ")\r\n"...)
	s.count.fetched++
	return s.relieve()
}

// item begins an item of the answer; all but the first follow a space.
func (s *session) item(name string) {
	if !s.firstItem {
		s.out = append(s.out, ' ')
	}
	s.firstItem = false
	s.out = append(s.out, name...)
}

// fetchItems appends all items.
func (s *session) fetchItems(m *mailbox.Message, l *letter, a *mailbox.Facts, r *request) error {
	s.firstItem = true
	if r.UID {
		s.item("UID ")
		s.out = appendUint(s.out, m.UID)
	}
	// A client that knows mod-sequences is told of \Seen together with one.
	flags, newly := m.Flags, r.seen && m.Flags&mailbox.Seen == 0 && !s.on.has(condstore)
	if newly {
		flags |= mailbox.Seen
	}
	if r.Flags || newly {
		s.item("FLAGS ")
		s.out = s.sel.appendFlagSet(s.out, m, flags)
	}
	if r.ModSeq {
		s.item("")
		s.appendModSeq(m)
	}
	if r.InternalDate {
		if err := s.appendDate(m.UID); err != nil {
			return err
		}
	}
	if r.RFC822Size {
		s.item("RFC822.SIZE ")
		s.out = strconv.AppendInt(s.out, m.Size, 10)
	}
	if r.saveDate {
		if err := s.appendSaveDate(m.UID); err != nil {
			return err
		}
	}
	if a != nil {
		s.fetchFacts(a, r)
	}
	return s.fetchSections(l, a, r)
}

func (s *session) appendDate(uid uint32) error {
	t, err := s.sel.folder.Date(uid)
	if err != nil {
		return stored(err)
	}
	s.item(`INTERNALDATE "`)
	s.out = t.Local().AppendFormat(s.out, dateTime)
	s.out = append(s.out, '"')
	return nil
}

// fetchSections appends the sections, from the file if it is open.
func (s *session) fetchSections(l *letter, a *mailbox.Facts, r *request) error {
	for i := range r.sections {
		if l == nil {
			s.sendKnownFields(a.Fields, &r.sections[i])
			continue
		}
		if err := s.sendSection(l, &r.sections[i]); err != nil {
			return err
		}
		if err := s.relieve(); err != nil { // a hundred headers are much
			return err
		}
	}
	return nil
}

// fetchArguments takes the set and the items.
func (p *parser) fetchArguments() (imap.SeqSet, *request, error) {
	if err := p.sp(); err != nil {
		return nil, nil, err
	}
	set, err := p.set()
	if err != nil {
		return nil, nil, err
	}
	if err := p.sp(); err != nil {
		return nil, nil, err
	}
	r := &request{}
	if p.peek() == '(' {
		n := 0
		err = p.list(func() error {
			n++
			return p.fetchItem(r, false)
		})
		if err == nil && n == 0 {
			err = p.fail("expected something to fetch")
		}
	} else {
		err = p.fetchItem(r, true)
	}
	if err == nil {
		err = p.fetchModifiers(r)
	}
	if err != nil {
		return nil, nil, err
	}
	return set, r, p.end()
}

// fetchItem takes one item; macros stand alone only.
func (p *parser) fetchItem(r *request, alone bool) error {
	word := upper(p.run(isItemChar))
	if alone && r.macro(word) {
		return nil
	}
	switch word {
	case "UID":
		r.UID = true
	case "FLAGS":
		r.Flags = true
	case "INTERNALDATE":
		r.InternalDate = true
	case "RFC822.SIZE":
		r.RFC822Size = true
	case "MODSEQ":
		r.ModSeq = true
	case "SAVEDATE":
		r.saveDate = true
	case "EMAILID", "THREADID":
		r.objectIDs(word)
	case "PREVIEW":
		p.preview(r)
	default:
		return p.contentItem(r, word)
	}
	return nil
}

// macro expands ALL, FAST and FULL.
func (r *request) macro(word string) bool {
	switch word {
	case "FULL":
		r.body = true
		fallthrough
	case "ALL":
		r.Envelope = true
		fallthrough
	case "FAST":
		r.Flags, r.InternalDate, r.RFC822Size = true, true, true
		return true
	}
	return false
}

func (p *parser) contentItem(r *request, word string) error {
	switch word {
	case "ENVELOPE":
		r.Envelope = true
	case "BODYSTRUCTURE":
		r.BodyStructure = &imap.FetchItemBodyStructure{Extended: true}
	case "RFC822":
		return p.add(r, section{label: "RFC822"})
	case "RFC822.HEADER":
		return p.add(r, section{label: "RFC822.HEADER", FetchItemBodySection: imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, Peek: true}})
	case "RFC822.TEXT":
		return p.add(r, section{label: "RFC822.TEXT", FetchItemBodySection: imap.FetchItemBodySection{Specifier: imap.PartSpecifierText}})
	case "BODY", "BODY.PEEK":
		if p.peek() != '[' && word == "BODY" {
			r.body = true
			return nil
		}
		sec, err := p.section()
		sec.Peek = word == "BODY.PEEK"
		if err != nil {
			return err
		}
		return p.add(r, sec)
	case "BINARY", "BINARY.PEEK", "BINARY.SIZE":
		sec, err := p.binarySection(word)
		if err != nil {
			return err
		}
		return p.add(r, sec)
	default:
		return p.fail("unknown item of FETCH")
	}
	return nil
}

// maxSections bounds the sections of one FETCH.
const maxSections = 100

func (p *parser) add(r *request, sec section) error {
	if len(r.sections) >= maxSections {
		return p.fail("more than %d sections", maxSections)
	}
	if !slices.ContainsFunc(r.sections, sec.equal) { // who asks twice is answered once
		r.sections = append(r.sections, sec)
	}
	r.seen = r.seen || !sec.Peek
	return nil
}

func isItemChar(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '.'
}
