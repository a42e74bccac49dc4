package imapd

import (
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// storing is a parsed STORE.
type storing struct {
	imap.StoreFlags
	imap.StoreOptions
	conditional bool // UNCHANGEDSINCE was given (RFC 7162 §3.1.3)
}

func (c *storing) change() mailbox.Change {
	flags, keywords := split(c.Flags)
	return mailbox.Change{Op: opOf(c.Op), Flags: flags, Keywords: keywords}
}

// store: RFC 3501 §6.4.6, RFC 7162 §3.1.3.
func (s *session) store(p *parser) (reply, error) {
	set, change, err := p.storeArguments()
	if err != nil {
		return reply{}, err
	}
	if change.conditional {
		s.aware() // RFC 7162 §3.1: by asking, whatever the answer is
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
	var modified []uint32
	err = s.doing.during(len(uids), func() (err error) {
		modified, err = s.storeUnchanged(uids, change)
		return err
	})
	if err != nil && !errors.Is(err, mailbox.ErrGone) {
		return reply{}, stored(err)
	}
	s.count.stored += len(uids)
	if e := s.tellStored(uids, modified, change); e != nil {
		return reply{}, e
	}
	if len(modified) == 0 {
		return reply{}, stored(err)
	}
	code := s.modifiedCode(p, modified)
	if err != nil {
		return reply{}, no(imap.ResponseCode(code), "some of the messages are gone")
	}
	return reply{code: code, text: "some of the messages were changed meanwhile"}, nil
}

// tellStored sends the new flags; with .SILENT only those that are not what
// the client expects.
func (s *session) tellStored(uids, modified []uint32, change storing) error {
	c := change.change()
	quiet := func(was, is *mailbox.Message) bool {
		if _, ok := slices.BinarySearch(uids, is.UID); !ok {
			return false
		}
		if !change.Silent {
			return true // it will be sent below
		}
		bits, _ := keywordBits(s.sel.keywords, c.Keywords)
		return is.Flags == apply(c.Op, was.Flags, c.Flags) && is.Keywords == apply(c.Op, was.Keywords, bits)
	}
	before := s.sel.view
	if err := s.announce(announcement{quiet: quiet}); err != nil {
		return err
	}
	for _, uid := range uids {
		i, ok := s.sel.view.Index(uid)
		if _, there := s.sel.snap.Messages.Index(uid); !ok || !there {
			continue
		}
		was, _ := before.Index(uid)
		changed := before.At(was).ModSeq != s.sel.view.At(i).ModSeq
		switch {
		case !change.Silent || slices.Contains(modified, uid):
			s.sendFlags(i)
		case change.conditional || changed && s.on.has(condstore):
			s.sendModSeq(i) // RFC 7162 §3.1.3: even with .SILENT
		}
		if err := s.relieve(); err != nil {
			return err
		}
	}
	return nil
}

// sendModSeq sends the mod-sequence of the message at index i.
func (s *session) sendModSeq(i int) {
	m := s.sel.view.At(i)
	s.beginNews(i)
	s.appendModSeq(m)
	s.out = append(s.out, ")\r\n"...)
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

func (p *parser) storeArguments() (set imap.SeqSet, change storing, err error) {
	if err = p.sp(); err != nil {
		return
	}
	if set, err = p.set(); err != nil {
		return
	}
	if err = p.sp(); err != nil {
		return
	}
	if err = p.storeModifiers(&change); err != nil {
		return
	}
	if change.StoreFlags, err = p.storeItem(); err != nil {
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
