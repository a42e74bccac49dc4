package imapd

import (
	"bytes"
	"time"

	"peyk/internal/guardconn"
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
	done := make(chan error, 1)
	go func() { done <- s.waitForDone() }()
	err, waiting := s.watch(done)
	if waiting {
		s.conn.Close() // ends the read: the session is over
		<-done
	}
	return reply{}, err
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

// watch sends news until the client says DONE. waiting tells that the reader
// still waits for that.
func (s *session) watch(done <-chan error) (err error, waiting bool) {
	var tick <-chan time.Time
	if s.limits.StillHere > 0 {
		t := time.NewTicker(s.limits.StillHere)
		defer t.Stop()
		tick = t.C
	}
	for {
		var changed <-chan struct{}
		if s.sel != nil {
			changed = s.sel.folder.Changed()
			if err := s.tellNews(); err != nil {
				return err, true
			}
		}
		select {
		case err := <-done:
			return err, false
		case <-changed:
		case <-tick:
			// So that both ends, and what stands between them, know of each other.
			s.untagged("OK still here")
			if err := s.send(); err != nil {
				return err, true
			}
		}
	}
}

func (s *session) tellNews() error {
	if err := s.announce(announcement{expunge: true}); err != nil {
		return err
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
