package imapd

import (
	"errors"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// copy: RFC 3501 §6.4.7, with COPYUID (RFC 4315 §3).
func (s *session) copy(p *parser) (reply, error) {
	uids, dst, err := s.transfer(p)
	if err != nil || len(uids) == 0 {
		return reply{}, err
	}
	defer dst.Close()
	rights, err := s.rightsIn(dst)
	if err != nil {
		return reply{}, err
	}
	data, err := s.moved(dst, uids, func(uids []uint32, dst *mailbox.Folder) ([]uint32, []uint32, error) {
		return s.sel.folder.CopyFor(rights, uids, dst)
	})
	if err != nil {
		return reply{}, err
	}
	return reply{code: copyUID(data)}, nil
}

// move: RFC 6851. COPYUID comes before the EXPUNGEs, which come with the
// news.
func (s *session) move(p *parser) (reply, error) {
	uids, dst, err := s.transfer(p)
	if err != nil || len(uids) == 0 {
		return reply{}, err
	}
	defer dst.Close()
	if err := s.needWritable(); err != nil {
		return reply{}, err
	}
	// RFC 6851 §5: as for STORE \Deleted and EXPUNGE.
	if err := s.need(mailbox.RightDelete | mailbox.RightExpunge); err != nil {
		return reply{}, err
	}
	rights, err := s.rightsIn(dst)
	if err != nil {
		return reply{}, err
	}
	s.removed = true
	data, err := s.moved(dst, uids, func(uids []uint32, dst *mailbox.Folder) ([]uint32, []uint32, error) {
		return s.sel.folder.MoveFor(rights, uids, dst)
	})
	if err != nil {
		return reply{}, err
	}
	s.untagged("OK [", copyUID(data), "] moved")
	return reply{}, nil
}

// transfer takes the arguments and opens the destination, unless there is
// nothing to transfer.
func (s *session) transfer(p *parser) ([]uint32, *mailbox.Folder, error) {
	if err := p.sp(); err != nil {
		return nil, nil, err
	}
	set, err := p.set()
	if err != nil {
		return nil, nil, err
	}
	raw, err := p.nextAstring()
	if err != nil {
		return nil, nil, err
	}
	if err := p.end(); err != nil {
		return nil, nil, err
	}
	name, err := p.s.on.decodeName(raw)
	if err != nil {
		return nil, nil, err
	}
	in, err := s.messages(p, set)
	if err != nil {
		return nil, nil, err
	}
	uids := s.sel.uids(in)
	if len(uids) == 0 {
		return nil, nil, nil
	}
	dst, err := s.destination(name)
	return uids, dst, err
}

// destination opens a mailbox that messages are put into.
func (s *session) destination(name string) (*mailbox.Folder, error) {
	f, err := s.folder(name, mailbox.RightInsert)
	if errors.Is(err, mailbox.ErrNoFolder) {
		return nil, no(imap.ResponseCodeTryCreate, "there is no such mailbox") // RFC 3501 §6.3.11
	}
	return f, err
}

func (s *session) moved(dst *mailbox.Folder, uids []uint32, do func([]uint32, *mailbox.Folder) ([]uint32, []uint32, error)) (copied, error) {
	var from, to []uint32
	if err := s.doing.during(len(uids), func() (err error) {
		from, to, err = do(uids, dst)
		return stored(err)
	}); err != nil {
		return copied{}, err
	}
	s.count.moved += len(from)
	s.made(dst, to...)
	return copied{dst.UIDValidity(), from, to}, nil // nothing that can fail: it is done
}

// copied is what COPYUID tells.
type copied struct {
	validity uint32
	from, to []uint32
}

func copyUID(d copied) string {
	b := []byte("COPYUID ")
	b = strconv.AppendUint(b, uint64(d.validity), 10)
	b = append(b, ' ')
	b = appendSet(b, d.from)
	b = append(b, ' ')
	return string(appendSet(b, d.to))
}
