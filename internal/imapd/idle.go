package imapd

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
)

// maxIdleLine is the longest line that may end IDLE: DONE is four octets.
const maxIdleLine = 1024

// idle: RFC 2177. A second goroutine waits for DONE while this one sends what
// is new; both end before idle returns.
func (s *session) idle(p *parser) (reply, error) {
	if err := p.end(); err != nil {
		return reply{}, err
	}
	s.text("+ idling\r\n")
	if err := s.flush(); err != nil {
		return reply{}, err
	}
	s.conn.SetPhase(guardconn.Phase{Idle: s.limits.Autologout, Whole: commandTime, Command: true})
	return reply{}, s.tellUntil(s.waitForDone, true)
}

// tellUntil sends news until reading ends.
func (s *session) tellUntil(read func() error, idle bool) error {
	done := make(chan error, 1)
	go func() { done <- read() }()
	err, waiting := s.attend(done, idle)
	if waiting {
		s.conn.Close() // ends the read: the session is over
		<-done
	}
	return err
}

// waitForDone reads the line that ends IDLE.
func (s *session) waitForDone() error {
	line, err := s.in.ReadSlice('\n')
	if len(line) > maxIdleLine {
		return &drainError{int64(len(line))}
	}
	if err != nil {
		return err
	}
	if !bytes.EqualFold(trimEnd(line), []byte("DONE")) {
		return bad("expected DONE")
	}
	return nil
}

// attend sends news until the client says something. waiting tells that the
// reader still waits for that.
func (s *session) attend(done <-chan error, idle bool) (err error, waiting bool) {
	var tick <-chan time.Time
	if idle && s.limits.StillHere > 0 {
		t := time.NewTicker(s.limits.StillHere)
		defer t.Stop()
		tick = t.C
	}
	for {
		var changed <-chan struct{}
		if s.sel != nil {
			changed = s.sel.folder.Changed()
		}
		if err := s.tellNews(idle); err != nil {
			return err, true
		}
		select {
		case err := <-done:
			return err, false
		case <-changed:
		case <-s.kicks():
		case <-tick:
			// So that both ends, and what stands between them, know of each other.
			s.untagged("OK still here")
			if err := s.send(); err != nil {
				return err, true
			}
		}
	}
}

// kicks is the channel of news from mailboxes that are not selected.
func (s *session) kicks() <-chan struct{} {
	if s.watches == nil {
		return nil
	}
	return s.watches.kick
}

func (s *session) tellNews(idle bool) error {
	if s.sel != nil {
		// RFC 5465 §6.1.1: with NOTIFY (SELECTED ...) at any time.
		expunge := idle || s.watches != nil && s.watches.selected.filter == "SELECTED"
		if err := s.announce(announcement{expunge: expunge}); err != nil {
			return err
		}
	}
	if s.watches != nil {
		if err := s.watches.tell(); err != nil {
			return err
		}
	}
	s.settle(nil)
	return s.send()
}

// send is flush for the time of a blocked read.
func (s *session) send() error {
	if err := s.flush(); err != nil {
		return err
	}
	return s.conn.Flush()
}

// notifyUntilCommand sends what NOTIFY asks for until the client begins a
// command (RFC 5465 §3.1).
func (s *session) notifyUntilCommand() error {
	if s.watches == nil || s.in.Buffered() > 0 {
		return nil
	}
	return s.tellUntil(func() error {
		_, err := s.in.Peek(1)
		return err
	}, false)
}

// hears returns what the client wants to hear of the selected mailbox.
func (s *session) hears() events {
	if s.watches == nil {
		return messageEvents
	}
	return s.watches.selected.events
}

// sendNew sends what a client wants to know of messages that are new at the
// end of the view, unless it made them itself (RFC 5465 §5.2).
func (s *session) sendNew(n int) error {
	own := s.sel.own
	s.sel.own = nil
	if s.watches == nil || s.watches.selected.items == nil || n == 0 {
		return nil
	}
	all := s.sel.view.Len()
	var in indexes
	for i := all - n; i < all; i++ {
		if !slices.Contains(own, s.sel.view.At(i).UID) {
			in = append(in, struct{ from, to int }{i, i + 1})
		}
	}
	return s.sendItems(in, s.watches.selected.items)
}

// sendItems sends what the client wants to know of messages that it hears of
// as news.
func (s *session) sendItems(in indexes, items *request) error {
	if items == nil || len(in) == 0 {
		return nil
	}
	r := *items
	if s.on.has(condstore) {
		r.UID, r.ModSeq = !s.on.has(uidOnly), true // RFC 7162 §3.2.4
	}
	return s.eachFetched(in, &r, func(i int, a *mailbox.Facts, err error) error {
		if err == nil {
			err = s.fetchOne(i, a, &r)
		}
		if errors.Is(err, mailbox.ErrGone) {
			return nil
		}
		return err
	})
}

// made notes messages that this session has put into a mailbox, so that it is
// not told of them as news (RFC 5465 §5).
func (s *session) made(f *mailbox.Folder, uids ...uint32) {
	if s.watches == nil {
		return
	}
	if s.sel != nil && s.sel.folder == f {
		s.sel.own = append(s.sel.own, uids...)
	}
	for _, one := range s.watches.boxes {
		if one.folder == f {
			one.own = append(one.own, uids...)
		}
	}
}
