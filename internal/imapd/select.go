package imapd

import (
	"strconv"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
)

// selectMailbox: RFC 3501 §6.3.1.
func (s *session) selectMailbox(p *parser) (reply, error) {
	return s.choose(p, selecting{})
}

// examineMailbox: RFC 3501 §6.3.2.
func (s *session) examineMailbox(p *parser) (reply, error) {
	return s.choose(p, selecting{SelectOptions: imap.SelectOptions{ReadOnly: true}})
}

func (s *session) choose(p *parser, o selecting) (reply, error) {
	err := p.selectArguments(&o)
	if isBad(err) {
		return reply{}, err
	}
	if s.sel != nil {
		s.deselect()                                                    // also when the new one cannot be selected
		s.untagged("OK [CLOSED] what follows is about another mailbox") // RFC 7162 §3.2.11
	}
	if err != nil {
		return reply{}, err
	}
	if o.CondStore {
		s.aware()
	}
	o.ReadOnly = o.ReadOnly || s.rights == dovecotauth.ReadOnly
	if err := s.enterMailbox(o); err != nil {
		return reply{}, err
	}
	s.describe()
	if err := s.sendName(s.sel.name, o.given); err != nil {
		return reply{}, err
	}
	if o.sync != nil {
		if err := s.resync(o.sync); err != nil {
			return reply{}, err
		}
	}
	s.log.Event(eventlog.Selected, "folder", s.sel.name, "messages", s.sel.view.Len(), "readonly", o.ReadOnly)
	if o.ReadOnly || s.sel.rights&writeRights == 0 { // RFC 4314 §5.2
		return reply{code: "READ-ONLY", text: "look, but do not touch"}, nil
	}
	return reply{code: "READ-WRITE", text: "selected"}, nil
}

// enterMailbox makes a mailbox the selected one.
func (s *session) enterMailbox(o selecting) error {
	pl, err := s.place(o.name)
	if err != nil {
		return err
	}
	f, err := s.folderAt(pl, mailbox.RightRead)
	if err != nil {
		return err
	}
	f.Watch()
	sel := &selected{folder: f, name: pl.name, readOnly: o.ReadOnly}
	if sel.rights, err = s.rightsIn(f); err == nil {
		sel.snap, err = sel.refresh(s)
	}
	if err != nil {
		f.Close()
		return stored(err)
	}
	sel.view, sel.keywords, sel.synced = sel.snap.Messages, sel.snap.Keywords, sel.snap.HighestModSeq
	if !s.on.has(rev2) {
		sel.recent = recentIn(sel.view)
	}
	s.sel, s.state = sel, imap.ConnStateSelected
	s.index()
	return nil
}

// oneName takes a mailbox name as the only argument.
func (p *parser) oneName() (string, error) {
	if err := p.sp(); err != nil {
		return "", err
	}
	raw, err := p.astring()
	if err != nil {
		return "", err
	}
	if err := p.end(); err != nil {
		return "", err
	}
	return p.s.on.decodeName(raw)
}

func recentIn(view mailbox.List) []uint32 {
	var uids []uint32
	for _, m := range view.All() {
		if m.Recent {
			uids = append(uids, m.UID)
		}
	}
	return uids
}

// describe sends what a client must know of the mailbox (RFC 3501 §6.3.1).
func (s *session) describe() {
	s.sendFlagNames()
	s.exists()
	if !s.on.has(rev2 | uidOnly) { // RFC 9586 §3: it is a message number
		s.firstUnseen()
	}
	s.untagged("OK [MAILBOXID (", objectID(s.sel.folder), ")] what it is, whatever its name") // RFC 8474 §4.2
	s.untagged("OK [UIDVALIDITY ", strconv.FormatUint(uint64(s.sel.snap.UIDValidity), 10), "] UIDs are good with this")
	s.untagged("OK [UIDNEXT ", strconv.FormatUint(uint64(s.sel.snap.UIDNext), 10), "] the next UID")
	s.sendHighest()
	s.warnFull()
}

func (s *session) firstUnseen() {
	for i, m := range s.sel.view.All() {
		if m.Flags&mailbox.Seen == 0 {
			s.untagged("OK [UNSEEN ", strconv.Itoa(i+1), "] the first unseen message")
			return
		}
	}
}

// deselect leaves the selected mailbox.
func (s *session) deselect() {
	if s.sel == nil {
		return
	}
	if s.watches != nil {
		s.watches.leave(s.sel)
	}
	s.sel.folder.Close()
	s.sel, s.owes = nil, false
	s.cursor = cursor{}
	s.state = imap.ConnStateAuthenticated
}

// unselect: RFC 3691.
func (s *session) unselect(p *parser) (reply, error) {
	if err := p.end(); err != nil {
		return reply{}, err
	}
	s.deselect()
	return reply{}, nil
}

// closeMailbox is CLOSE: it expunges without a word, unless the mailbox was
// opened by EXAMINE (RFC 3501 §6.4.2).
func (s *session) closeMailbox(p *parser) (reply, error) {
	if err := p.end(); err != nil {
		return reply{}, err
	}
	var err error
	if !s.sel.readOnly && s.need(mailbox.RightExpunge) == nil { // RFC 4314 §4: without it, OK all the same
		err = s.remove(s.sel.deleted(nil))
	}
	s.deselect()
	return reply{}, err
}
