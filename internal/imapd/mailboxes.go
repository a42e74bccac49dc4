package imapd

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

// create: RFC 3501 §6.3.3, with a special use by RFC 6154 §3.
func (s *session) create(p *parser) (reply, error) {
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	raw, err := p.astring()
	if err != nil {
		return reply{}, err
	}
	o, err := p.createOptions()
	if err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	// A trailing separator only says that children will follow.
	name, err := decodeName(strings.TrimSuffix(raw, separator))
	if err != nil {
		return reply{}, err
	}
	if len(o.SpecialUse) > 1 {
		return reply{}, no("USEATTR", "cannot give a mailbox more than one special use")
	}
	use := ""
	for _, u := range o.SpecialUse {
		if use = canonicalUse(u); use == "" {
			return reply{}, no("USEATTR", "cannot give a mailbox this special use") // RFC 6154 §3
		}
	}
	return reply{}, stored(s.account.Create(name, use))
}

// createOptions takes " (USE (...))" if it is there.
func (p *parser) createOptions() (imap.CreateOptions, error) {
	var o imap.CreateOptions
	if !p.eat(' ') {
		return o, nil
	}
	err := p.list(func() error {
		w, err := p.word()
		if err != nil {
			return err
		}
		if w != "USE" {
			return p.fail("unknown parameter of CREATE")
		}
		if err := p.sp(); err != nil {
			return err
		}
		return p.list(func() error {
			if err := p.expect('\\'); err != nil {
				return err
			}
			use, err := p.atom()
			o.SpecialUse = append(o.SpecialUse, imap.MailboxAttr(`\`+use))
			return err
		})
	})
	return o, err
}

// specialUses are those that a folder may be given.
var specialUses = [...]imap.MailboxAttr{imap.MailboxAttrArchive, imap.MailboxAttrDrafts, imap.MailboxAttrJunk, imap.MailboxAttrSent, imap.MailboxAttrTrash}

// canonicalUse returns a special use as it is written, "" for one that we do
// not have.
func canonicalUse(use imap.MailboxAttr) string {
	for _, known := range specialUses {
		if strings.EqualFold(string(known), string(use)) {
			return string(known)
		}
	}
	return ""
}

// delete: RFC 3501 §6.3.4. Deleting the selected mailbox leaves it first.
func (s *session) delete(p *parser) (reply, error) {
	name, err := p.oneName()
	if err != nil {
		return reply{}, err
	}
	if s.sel != nil && s.sel.name == name {
		s.deselect()
	}
	return reply{}, stored(s.account.Delete(name))
}

// rename: RFC 3501 §6.3.5.
func (s *session) rename(p *parser) (reply, error) {
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	rawOld, err := p.astring()
	if err != nil {
		return reply{}, err
	}
	rawNew, err := p.nextAstring()
	if err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	from, err := decodeName(rawOld)
	if err != nil {
		return reply{}, err
	}
	to, err := decodeName(strings.TrimSuffix(rawNew, separator))
	if err != nil {
		return reply{}, err
	}
	if s.sel != nil && (s.sel.name == from || strings.HasPrefix(s.sel.name, from+separator)) && from != "INBOX" {
		s.deselect()
	}
	return reply{}, stored(s.account.Rename(from, to))
}

func (p *parser) nextAstring() (string, error) {
	if err := p.sp(); err != nil {
		return "", err
	}
	return p.astring()
}

// subscribe: RFC 3501 §6.3.6.
func (s *session) subscribe(p *parser) (reply, error) {
	name, err := p.oneName()
	if err != nil {
		return reply{}, err
	}
	return reply{}, stored(s.account.Subscribe(name))
}

// unsubscribe: RFC 3501 §6.3.7.
func (s *session) unsubscribe(p *parser) (reply, error) {
	name, err := p.oneName()
	if err != nil {
		return reply{}, err
	}
	return reply{}, stored(s.account.Unsubscribe(name))
}
