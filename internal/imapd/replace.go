package imapd

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// replace: RFC 8508. A new message takes the place of one of the selected
// mailbox; the old one goes only once the new one is durable.
func (s *session) replace(p *parser) (reply, error) {
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	n, err := s.oneMessage(p)
	if err != nil {
		return reply{}, err
	}
	in := &intake{s: s, p: p}
	defer in.close()
	if err := in.readName(); err != nil {
		return reply{}, err
	}
	uid, err := s.replaceable(p, n)
	if err != nil {
		return reply{}, err
	}
	if err := in.message(); err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil { // one message only (§4.7)
		return reply{}, err
	}
	uids, err := in.add.Replace(s.sel.folder, uid)
	if errors.Is(err, mailbox.ErrGone) {
		return reply{}, no(codeExpungeIssued, "the message is gone, and nothing took its place")
	}
	if err != nil {
		return reply{}, stored(err)
	}
	s.count.appended++
	s.count.expunged++
	s.removed = true
	s.made(in.folder, uids...)
	s.untagged("OK [", appendUID(in.folder, uids), "] the new message is here") // §4.3
	return reply{}, nil
}

// oneMessage takes the number or UID of a message; "*" is the last one
// (RFC 3501 §9, seq-number). 0 is none.
func (s *session) oneMessage(p *parser) (uint32, error) {
	if !p.eat('*') {
		return p.number()
	}
	last := s.sel.view.Len()
	if p.uid && last > 0 {
		return s.sel.view.At(last - 1).UID, nil
	}
	return uint32(last), nil
}

// replaceable returns the UID of the message with this number, if it may be
// removed.
func (s *session) replaceable(p *parser, n uint32) (uint32, error) {
	if err := s.needWritable(); err != nil {
		return 0, err
	}
	if err := s.need(mailbox.RightDelete | mailbox.RightExpunge); err != nil { // §4.1
		return 0, err
	}
	view := s.sel.view
	if p.uid {
		if _, ok := view.Index(n); !ok {
			return 0, no(imap.ResponseCodeNonExistent, "there is no message with this UID")
		}
		return n, nil
	}
	if n == 0 || int64(n) > int64(view.Len()) {
		return 0, bad("there is no message %d: the mailbox holds %d", n, view.Len())
	}
	return view.At(int(n) - 1).UID, nil
}
