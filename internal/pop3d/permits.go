package pop3d

import (
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/status"
)

// take notes the rights of the login. Those that are not for POP3, or that we
// would not know how to obey, refuse it.
func (s *session) take(r dovecotauth.Rights) error {
	s.readOnly = r == dovecotauth.ReadOnly
	if r != "" && !s.readOnly {
		return status.New(535, "5.7.8", "cannot log in: this password is not for reading mail")
	}
	return nil
}

// over is the last line for a client whose login is not good any more.
const over = "-ERR [AUTH] this login is not good any more, please log in again"

// ender returns what ends this session from outside.
func (s *session) ender() func(reason string) {
	log, conn := s.log, s.conn
	return func(reason string) {
		log.Event(eventlog.SessionEnded, "reason", reason)
		conn.Dismiss(over)
	}
}
