package imapd

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// knownRights refuses a login with rights that are not for IMAP, or that we
// would not know how to obey.
func knownRights(r dovecotauth.Rights) error {
	switch r {
	case "", dovecotauth.ReadOnly, dovecotauth.AppendOnly:
		return nil
	}
	return status.New(535, "5.7.8", "cannot log in: this password is not for reading mail")
}

// permits refuses the commands that the password of the login is not for. What
// is not named here is not permitted.
func (s *session) permits(name string) error {
	if s.rights == "" {
		return nil
	}
	switch strings.TrimPrefix(name, "UID ") {
	case "CAPABILITY", "NOOP", "LOGOUT", "ID", "ENABLE", "NAMESPACE", "COMPRESS", "UNAUTHENTICATE":
		return nil
	case "APPEND":
		if s.rights == dovecotauth.AppendOnly {
			return nil
		}
	case "CHECK", "SELECT", "EXAMINE", "CLOSE", "UNSELECT", "LIST", "LSUB", "STATUS", "IDLE", "NOTIFY",
		"FETCH", "SEARCH", "ESEARCH", "SORT", "THREAD", "CANCELUPDATE",
		"MYRIGHTS", "GETQUOTA", "GETQUOTAROOT", "GETMETADATA":
		if s.rights == dovecotauth.ReadOnly {
			return nil
		}
	}
	return no(imap.ResponseCodeNoPerm, "cannot do this: the password of this login is %s", string(s.rights))
}

// mask is what the password leaves of the rights on any mailbox, so that
// nothing changes behind a command that is permitted either.
func (s *session) mask() mailbox.Rights {
	switch s.rights {
	case "":
		return mailbox.AllRights
	case dovecotauth.ReadOnly:
		return mailbox.RightLookup | mailbox.RightRead
	case dovecotauth.AppendOnly:
		return mailbox.RightLookup | mailbox.RightInsert | mailbox.RightSeen | mailbox.RightWrite | mailbox.RightDelete
	}
	return 0
}

// over is the last line for a client whose login is not good any more.
const over = "* BYE this login is not good any more, please log in again"

// ender returns what ends this session from outside.
func (s *session) ender(user string) func(reason string) {
	log, conn := s.log.With("user", user), s.conn
	return func(reason string) {
		log.Event(eventlog.SessionEnded, "reason", reason)
		conn.Dismiss(over)
	}
}
