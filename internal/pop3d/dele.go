package pop3d

import (
	"context"
	"strconv"

	"peyk/internal/eventlog"
)

// dele marks a message; QUIT removes it.
func (s *session) dele(_ context.Context, arg string) {
	if s.readOnly {
		s.fail("[SYS/PERM] this password may only read") // RFC 3206 §4
		return
	}
	i, ok := s.message(arg)
	if !ok {
		return
	}
	if s.gone == nil {
		s.gone = make([]bool, s.messages.Len())
	}
	s.gone[i] = true
	s.goneCount++
	s.goneSize += s.messages.At(i).Size
	s.ok("message " + arg + " will be removed at QUIT")
}

// rset takes all marks back.
func (s *session) rset(context.Context, string) {
	s.gone, s.goneCount, s.goneSize = nil, 0, 0
	s.ok(strconv.Itoa(s.messages.Len()) + " messages")
}

// quit ends the session; after a login this is the UPDATE state, the only
// moment in which messages are removed (RFC 1939 §6).
func (s *session) quit(context.Context, string) {
	s.reason = "quit"
	if s.goneCount == 0 {
		s.bye("+OK bye")
		return
	}
	if err := s.drop.Expunge(s.marked()); err != nil {
		s.log.Event(eventlog.Trouble, "reason", "expunge", "error", err)
		s.bye("-ERR [SYS/TEMP] some messages were not removed")
		return
	}
	s.deleted = int64(s.goneCount)
	s.bye("+OK " + strconv.Itoa(s.goneCount) + " messages removed, bye")
}

func (s *session) marked() []uint32 {
	uids := make([]uint32, 0, s.goneCount)
	for i := range s.messages.Len() {
		if s.gone[i] {
			uids = append(uids, s.messages.At(i).UID)
		}
	}
	return uids
}
