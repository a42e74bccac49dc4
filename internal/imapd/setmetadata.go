package imapd

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// setMetadata: RFC 5464 §4.3. All of the entries are set, or none.
func (s *session) setMetadata(p *parser) (reply, error) {
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	raw, err := p.astring()
	if err != nil {
		return reply{}, err
	}
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	var changes []mailbox.MetaEntry
	if err := p.list(func() error {
		e, err := p.metaChange()
		if len(changes) >= maxEntries {
			return p.fail("more than %d entries", maxEntries)
		}
		changes = append(changes, e)
		return err
	}); err != nil {
		return reply{}, err
	}
	if len(changes) == 0 {
		return reply{}, p.fail("expected an entry")
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	t, err := s.metaTarget(raw)
	if err != nil {
		return reply{}, err
	}
	return reply{}, s.changeMetadata(t, changes)
}

func (p *parser) metaChange() (e mailbox.MetaEntry, err error) {
	name, err := p.astring()
	if err != nil {
		return e, err
	}
	if e.Name, err = p.metaEntry(name); err != nil {
		return e, err
	}
	if !settable(e.Name) {
		return e, p.fail("this entry cannot have a value")
	}
	if err := p.sp(); err != nil {
		return e, err
	}
	e.Value, err = p.metaValue()
	return e, err
}

// metaValue takes a string, a literal8 or NIL, which is nil.
func (p *parser) metaValue() ([]byte, error) {
	switch p.peek() {
	case '"':
		text, err := p.quoted()
		return []byte(text), err
	case '~':
		p.pos++
		return p.literalOctets()
	case '{':
		text, err := p.literal()
		return []byte(text), err
	}
	if w, err := p.word(); err != nil || w != "NIL" {
		return nil, p.fail("expected a string or NIL")
	}
	return nil, nil
}

// changeMetadata stores changes, each where it belongs.
func (s *session) changeMetadata(t *metaTarget, changes []mailbox.MetaEntry) error {
	if err := s.mayAnnotate(t, changes); err != nil {
		return err
	}
	var own, server []mailbox.MetaEntry
	use, setUse := "", false
	for _, c := range changes {
		switch {
		case c.Name == specialUseEntry && t.wire != "":
			setUse = true
			var err error
			if use, err = s.useFor(t, c.Value); err != nil {
				return err
			}
		case scopeOf(c.Name) == "/private":
			c.Scope = s.mineIn(t)
			own = append(own, c)
		case t.wire == "":
			c.Scope = mailbox.MetaShared
			server = append(server, c)
		default:
			c.Scope = mailbox.MetaShared
			own = append(own, c)
		}
	}
	if len(server) > 0 && (len(own) > 0 || t.shared == nil) {
		return no(imap.ResponseCodeCannot, "cannot set private and shared entries of the server at once")
	}
	if len(own) > 0 {
		if err := t.mine.Change(own); err != nil {
			return stored(err)
		}
	}
	if len(server) > 0 {
		if err := t.shared.Change(server); err != nil {
			return stored(err)
		}
	}
	if setUse {
		if err := t.pl.account.SetUse(t.pl.folder, use); err != nil {
			return stored(err)
		}
		t.mine.Tell([]mailbox.MetaEntry{{Scope: s.mineIn(t), Name: specialUseEntry}})
	}
	return nil
}

// mayAnnotate refuses what the user may not set: shared entries of a mailbox
// take the right w, those of the server an administrator.
func (s *session) mayAnnotate(t *metaTarget, changes []mailbox.MetaEntry) error {
	for _, c := range changes {
		switch {
		case scopeOf(c.Name) == "/private":
		case t.wire == "" && (c.Name == adminEntry || !s.isAdmin() || t.shared == nil):
			return no(imap.ResponseCodeNoPerm, "cannot set shared metadata of the server")
		case t.wire != "":
			rights, err := s.rightsAt(t.pl.account, t.pl.folder)
			if err != nil {
				return err
			}
			if !rights.Has(mailbox.RightWrite) {
				return no(imap.ResponseCodeNoPerm, "cannot set shared metadata of folder %q: your rights are %q", t.wire, rights)
			}
		}
	}
	return nil
}

// useFor reads the special use that an entry gives a mailbox (RFC 6154 §4).
func (s *session) useFor(t *metaTarget, value []byte) (string, error) {
	words := strings.Fields(string(value))
	if len(words) == 0 {
		return "", nil
	}
	use := canonicalUse(imap.MailboxAttr(words[0]))
	if len(words) > 1 || use == "" || !t.own || t.pl.folder == mailbox.Inbox {
		return "", no("USEATTR", "cannot give a mailbox this special use")
	}
	return use, nil
}
