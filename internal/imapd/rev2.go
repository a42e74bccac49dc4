package imapd

import (
	"slices"

	"peyk/internal/mailbox"
)

// IMAP4rev2 (RFC 9051) begins with ENABLE IMAP4rev2; until then we speak
// IMAP4rev1. What a client of the former does not know any more and is never
// sent unless it asks, such as LSUB, stays.

// sendName sends LIST of one mailbox, which a client in IMAP4rev2 is told when
// it selects one (RFC 9051 §6.3.2) and when a name changes (§6.3.9.7). given
// is what the client called it, or its name until now.
func (s *session) sendName(name, given string) error {
	if !s.on.has(rev2) {
		return nil
	}
	l := &listing{extended: true, patterns: []string{name}}
	if !s.isOthers(name) {
		info, ok, err := s.account.FolderInfo(name)
		if err != nil || !ok {
			return stored(err)
		}
		s.sendRenamed(l, &listed{FolderInfo: info, exists: true}, given)
		return nil
	}
	all, err := s.mailboxes(l)
	if err != nil {
		return stored(err)
	}
	m := listed{FolderInfo: mailbox.FolderInfo{Name: name, Selectable: true}, exists: true} // without the right l it is not listed
	if i := slices.IndexFunc(all, func(m listed) bool { return m.Name == name }); i >= 0 {
		m = all[i]
	}
	s.sendRenamed(l, &m, given)
	return nil
}

func (s *session) sendRenamed(l *listing, m *listed, given string) {
	if given != m.Name {
		m.oldName = given
	}
	s.sendListed("LIST", l, m)
}

// given is a name as the client wrote it.
func (s *session) given(raw string) string {
	name, _ := s.on.decodePattern(raw)
	return name
}

// noRecent refuses to speak of \Recent in IMAP4rev2, where it does not exist
// (RFC 9051 Appendix E).
func (p *parser) noRecent() error {
	if p.s.on.has(rev2) {
		return p.fail("expected nothing about \\Recent, which IMAP4rev2 does not have")
	}
	return nil
}
