package imapd

import (
	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// expunge: RFC 3501 §6.4.3. The EXPUNGE responses come with the news.
func (s *session) expunge(p *parser) (reply, error) {
	if err := p.end(); err != nil {
		return reply{}, err
	}
	if err := s.needWritable(); err != nil {
		return reply{}, err
	}
	if err := s.need(mailbox.RightExpunge); err != nil {
		return reply{}, err
	}
	return reply{}, s.remove(s.sel.deleted(nil))
}

// uidExpunge: RFC 4315 §2.1.
func (s *session) uidExpunge(p *parser) (reply, error) {
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	set, err := p.set()
	if err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	if err := s.needWritable(); err != nil {
		return reply{}, err
	}
	if err := s.need(mailbox.RightExpunge); err != nil {
		return reply{}, err
	}
	return reply{}, s.remove(s.sel.deleted(set))
}

// needWritable refuses to change a mailbox that was opened by EXAMINE.
func (s *session) needWritable() error {
	if s.sel.readOnly {
		return no(codeReadOnly, "cannot change a mailbox that was opened read-only")
	}
	return nil
}

// deleted returns the UIDs of messages marked \Deleted; where set is not nil,
// of those in it.
func (sel *selected) deleted(set imap.SeqSet) []uint32 {
	in := indexes{{0, sel.view.Len()}}
	if set != nil {
		in = byUID(sel.view, set)
	}
	var uids []uint32
	in.each(func(i int) error {
		if sel.view.At(i).Flags&mailbox.Deleted != 0 {
			uids = append(uids, sel.view.At(i).UID)
		}
		return nil
	})
	return uids
}

func (s *session) remove(uids []uint32) error {
	if len(uids) == 0 {
		return nil
	}
	s.count.expunged += len(uids)
	s.removed = true
	folder := s.sel.folder
	return s.doing.during(len(uids), func() error { return stored(folder.Expunge(uids)) })
}
