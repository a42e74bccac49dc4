package imapd

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// store: RFC 3501 §6.4.6.
func (s *session) store(p *parser) (reply, error) {
	set, change, err := p.storeArguments()
	if err != nil {
		return reply{}, err
	}
	if err := s.needWritable(); err != nil {
		return reply{}, err
	}
	in, err := s.messages(p, set)
	if err != nil {
		return reply{}, err
	}
	uids := s.sel.uids(in)
	if len(uids) == 0 {
		return reply{}, nil
	}
	flags, keywords := split(change.Flags)
	if _, err := s.sel.folder.Store(uids, mailbox.Change{Op: opOf(change.Op), Flags: flags, Keywords: keywords}); err != nil {
		return reply{}, stored(err)
	}
	s.count.stored += len(uids)
	return reply{}, s.tellStored(uids, change, flags, keywords)
}

// tellStored sends the new flags; with .SILENT only those that are not what
// the client expects.
func (s *session) tellStored(uids []uint32, change imap.StoreFlags, flags mailbox.Flags, keywords []string) error {
	op := opOf(change.Op)
	quiet := func(was, is *mailbox.Message) bool {
		if _, ok := slices.BinarySearch(uids, is.UID); !ok {
			return false
		}
		if !change.Silent {
			return true // it will be sent below
		}
		bits, _ := keywordBits(s.sel.keywords, keywords)
		return is.Flags == apply(op, was.Flags, flags) && is.Keywords == apply(op, was.Keywords, bits)
	}
	if err := s.announce(announcement{quiet: quiet}); err != nil {
		return err
	}
	if change.Silent {
		return nil
	}
	for _, uid := range uids {
		if i, ok := s.sel.view.Index(uid); ok {
			s.sendFlags(i)
		}
		if err := s.relieve(); err != nil {
			return err
		}
	}
	return nil
}

func apply[T mailbox.Flags | uint64](op mailbox.Op, was, given T) T {
	switch op {
	case mailbox.Add:
		return was | given
	case mailbox.Remove:
		return was &^ given
	}
	return given
}

func opOf(op imap.StoreFlagsOp) mailbox.Op {
	switch op {
	case imap.StoreFlagsAdd:
		return mailbox.Add
	case imap.StoreFlagsDel:
		return mailbox.Remove
	}
	return mailbox.Replace
}

func (p *parser) storeArguments() (set imap.SeqSet, change imap.StoreFlags, err error) {
	if err = p.sp(); err != nil {
		return
	}
	if set, err = p.set(); err != nil {
		return
	}
	if err = p.sp(); err != nil {
		return
	}
	if change, err = p.storeItem(); err != nil {
		return
	}
	if err = p.sp(); err != nil {
		return
	}
	if change.Flags, err = p.flags(); err != nil {
		return
	}
	return set, change, p.end()
}

func (p *parser) storeItem() (imap.StoreFlags, error) {
	var change imap.StoreFlags
	w, err := p.word()
	if err != nil {
		return change, err
	}
	w, change.Silent = strings.CutSuffix(w, ".SILENT")
	switch w {
	case "FLAGS":
		change.Op = imap.StoreFlagsSet
	case "+FLAGS":
		change.Op = imap.StoreFlagsAdd
	case "-FLAGS":
		change.Op = imap.StoreFlagsDel
	default:
		return change, p.fail("expected FLAGS, +FLAGS or -FLAGS")
	}
	return change, nil
}

// messages finds the messages of a set, which holds UIDs for a UID command.
func (s *session) messages(p *parser, set imap.SeqSet) (indexes, error) {
	if p.uid {
		return byUID(s.sel.view, set), nil
	}
	return bySeq(s.sel.view, set)
}

// uids returns the UIDs of messages, ascending.
func (sel *selected) uids(in indexes) []uint32 {
	uids := make([]uint32, 0, in.count())
	in.each(func(i int) error {
		uids = append(uids, sel.view.At(i).UID)
		return nil
	})
	return uids
}
