package imapd

import (
	"errors"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// status: RFC 3501 §6.3.10, with SIZE of RFC 8438.
func (s *session) status(p *parser) (reply, error) {
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	raw, err := p.astring()
	if err != nil {
		return reply{}, err
	}
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	items, err := p.statusItems(&imap.StatusOptions{})
	if err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	name, err := p.s.on.decodeName(raw)
	if err != nil {
		return reply{}, err
	}
	if slices.Contains(items, "HIGHESTMODSEQ") {
		s.aware()
	}
	return reply{}, s.statusOf(name, items)
}

// statusItems takes the list of items, in the order in which they will be
// answered.
func (p *parser) statusItems(o *imap.StatusOptions) ([]string, error) {
	var items []string
	var id bool
	err := p.list(func() error {
		w, err := p.word()
		if err != nil {
			return err
		}
		flag := statusFlag(o, w)
		if w == "MAILBOXID" { // RFC 8474 §4.3
			flag = &id
		}
		if flag == nil {
			return p.fail("unknown STATUS item")
		}
		if w == "RECENT" {
			if err := p.noRecent(); err != nil {
				return err
			}
		}
		if !*flag {
			items = append(items, w)
		}
		*flag = true
		return nil
	})
	if err == nil && len(items) == 0 {
		return nil, p.fail("expected a STATUS item")
	}
	return items, err
}

func statusFlag(o *imap.StatusOptions, item string) *bool {
	switch item {
	case "MESSAGES":
		return &o.NumMessages
	case "RECENT":
		return &o.NumRecent
	case "UIDNEXT":
		return &o.UIDNext
	case "UIDVALIDITY":
		return &o.UIDValidity
	case "UNSEEN":
		return &o.NumUnseen
	case "DELETED":
		return &o.NumDeleted
	case "SIZE":
		return &o.Size
	case "HIGHESTMODSEQ":
		return &o.HighestModSeq
	case "DELETED-STORAGE": // RFC 9208 §4.1.4
		return &o.DeletedStorage
	case "APPENDLIMIT":
		return &o.AppendLimit
	}
	return nil
}

// statusOf sends the STATUS of one mailbox.
func (s *session) statusOf(name string, items []string) error {
	pl, err := s.place(name)
	if err != nil {
		return err
	}
	f, err := s.folderAt(pl, mailbox.RightRead)
	if err != nil {
		return err
	}
	defer f.Close()
	name = pl.name
	snap, err := f.RefreshReadOnly(s.ctx)
	if err != nil {
		return stored(err)
	}
	s.out = append(s.out, "* STATUS "...)
	s.out = s.on.appendName(s.out, name)
	sep := " ("
	for _, item := range items {
		s.out = append(append(s.out, sep...), item...)
		s.out = append(s.out, ' ')
		sep = " "
		if item == "MAILBOXID" {
			s.text("(", objectID(f), ")")
			continue
		}
		s.out = strconv.AppendInt(s.out, s.statusValue(snap, item), 10)
	}
	s.out = append(s.out, ")\r\n"...)
	return s.relieve()
}

func (s *session) statusValue(snap *mailbox.Snapshot, item string) int64 {
	switch item {
	case "APPENDLIMIT":
		return s.appendLimit() // RFC 7889 §5
	case "MESSAGES":
		return int64(snap.Messages.Len())
	case "UIDNEXT":
		return int64(snap.UIDNext)
	case "UIDVALIDITY":
		return int64(snap.UIDValidity)
	case "HIGHESTMODSEQ":
		return int64(snap.HighestModSeq)
	}
	var n int64
	for _, m := range snap.Messages.All() {
		n += statusShare(m, item)
	}
	return n
}

// statusShare is what one message adds to an item.
func statusShare(m *mailbox.Message, item string) int64 {
	var counts bool
	switch item {
	case "SIZE":
		return m.Size
	case "DELETED-STORAGE":
		if m.Flags&mailbox.Deleted != 0 {
			return m.FileSize
		}
		return 0
	case "RECENT":
		counts = m.Recent
	case "UNSEEN":
		counts = m.Flags&mailbox.Seen == 0
	case "DELETED":
		counts = m.Flags&mailbox.Deleted != 0
	}
	if counts {
		return 1
	}
	return 0
}

func isGone(err error) bool { return errors.Is(err, mailbox.ErrNoFolder) }
