package imapd

import (
	"github.com/emersion/go-imap/v2"
)

// unauthenticate: RFC 8437. The connection, its TLS and its compression stay;
// whatever belongs to the user goes, and the limits of a stranger hold again.
func (s *session) unauthenticate(p *parser) (reply, error) {
	if err := p.end(); err != nil {
		return reply{}, err
	}
	if s.unauthenticateCap() == "" {
		return reply{}, bad("nobody has logged in here")
	}
	s.forgetUser()
	return reply{code: "CAPABILITY " + s.capabilities(), text: "who are you now?"}, nil
}

func (s *session) forgetUser() {
	s.deselect()
	s.stopWatches()
	s.closeOthers()
	s.account.Close()
	s.unlist()
	s.stand()
	s.rights = ""
	s.account, s.user, s.groups = nil, "", nil
	s.on, s.owes, s.cursor = 0, false, cursor{}
	s.log = s.o.Log.With("session", s.id)
	s.state = imap.ConnStateNotAuthenticated
}

// unauthenticateCap: a session that began logged in cannot log in again.
func (s *session) unauthenticateCap() imap.Cap {
	if s.o.Preauth != "" {
		return ""
	}
	return imap.CapUnauthenticate
}
