package imapd

import (
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
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
	pl, err := s.newPlace(raw)
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
	if err := s.mayCreate(pl); err != nil {
		return reply{}, err
	}
	if err := pl.account.Create(pl.folder, use); err != nil {
		return reply{}, stored(err)
	}
	if given := s.given(raw); given != pl.name {
		if err := s.sendName(pl.name, given); err != nil {
			return reply{}, err
		}
	}
	return s.created(pl)
}

// created answers CREATE with the new mailbox's id (RFC 8474 §4.1), or without
// it: the mailbox is there.
func (s *session) created(pl place) (reply, error) {
	f, err := pl.account.Folder(pl.folder)
	if err != nil {
		return reply{}, nil
	}
	defer f.Close()
	if _, err := f.RefreshReadOnly(s.ctx); err != nil {
		return reply{}, nil
	}
	return reply{code: "MAILBOXID (" + objectID(f) + ")"}, nil
}

// objectID returns what names a mailbox for as long as it lives. A letter
// stands first, as RFC 8474 §8.1 advises.
func objectID(f *mailbox.Folder) string { return "F" + f.ID() }

// newPlace takes the name of a mailbox that is to be made. A trailing
// separator only says that children will follow.
func (s *session) newPlace(raw string) (place, error) {
	name, err := s.on.decodeName(strings.TrimSuffix(raw, separator))
	if err != nil {
		return place{}, err
	}
	if !s.isOthers(name) {
		return s.place(name)
	}
	pl, err := s.place(strings.TrimSuffix(name, othersSeparator))
	if isRefusal(err) {
		err = mayNotCreate() // whether there is such a user is not told
	}
	return pl, err
}

// mayNotCreate is the one answer wherever a user may not make a mailbox.
func mayNotCreate() error {
	return no(imap.ResponseCodeNoPerm, "cannot make a mailbox there: you have no right %q", mailbox.RightCreate)
}

// mayCreate wants the right k on the nearest mailbox above a new one
// (RFC 4314 §4); at the top an owner has it.
func (s *session) mayCreate(pl place) error {
	for name := parent(pl.folder); name != ""; name = parent(name) {
		f, err := pl.account.Folder(name)
		if isGone(err) {
			continue
		}
		if err != nil {
			return stored(err)
		}
		has, err := s.rightsIn(f)
		f.Close()
		if err == nil && !has.Has(mailbox.RightCreate) {
			err = mayNotCreate()
		}
		return err
	}
	if pl.owner != "" {
		return mayNotCreate()
	}
	return nil
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
	pl, err := s.placeFor(name, mailbox.RightRemove)
	if err != nil {
		return reply{}, err
	}
	if err := pl.account.Delete(pl.folder); err != nil {
		return reply{}, stored(err) // what is refused changes nothing
	}
	if s.sel != nil && s.sel.name == pl.name {
		s.deselect()
	}
	return reply{}, nil
}

// placeFor returns the place of a mailbox that exists and on which the user
// has all of the rights.
func (s *session) placeFor(name string, need mailbox.Rights) (place, error) {
	pl, err := s.place(name)
	if err != nil {
		return pl, err
	}
	f, err := s.folderAt(pl, need)
	if err != nil {
		return pl, err
	}
	f.Close()
	return pl, nil
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
	name, err := p.s.on.decodeName(rawOld)
	if err != nil {
		return reply{}, err
	}
	from, err := s.placeToRename(name)
	if err != nil {
		return reply{}, err
	}
	to, err := s.newPlace(rawNew)
	if err != nil {
		return reply{}, err
	}
	if err := s.mayCreate(to); err != nil {
		return reply{}, err
	}
	if from.account != to.account || from.owner != "" && from.folder == mailbox.Inbox {
		return reply{}, no(imap.ResponseCodeCannot, "cannot rename a mailbox into another account, or another user's INBOX")
	}
	gone := s.sel != nil && s.sel.folder.Account() == from.account && from.folder != mailbox.Inbox &&
		strings.HasPrefix(s.sel.folder.Name()+separator, from.folder+separator)
	if err := from.account.Rename(from.folder, to.folder); err != nil {
		return reply{}, stored(err)
	}
	if gone {
		s.deselect()
	}
	was := from.name
	if from.folder == mailbox.Inbox {
		was = to.name // INBOX is still there
	}
	return reply{}, s.sendName(to.name, was)
}

// placeToRename wants the right x on a mailbox (RFC 4314 §4). What is no
// mailbox itself may be the parent of some: only its owner can rename it.
func (s *session) placeToRename(name string) (place, error) {
	pl, err := s.placeFor(name, mailbox.RightRemove)
	if pl.owner == "" && isGone(err) {
		return pl, nil
	}
	return pl, err
}

func (p *parser) nextAstring() (string, error) {
	if err := p.sp(); err != nil {
		return "", err
	}
	return p.astring()
}

// subscribe: RFC 3501 §6.3.6. A name needs not exist, so no rights are asked
// for (RFC 4314 §4).
func (s *session) subscribe(p *parser) (reply, error) {
	name, err := p.oneName()
	if err != nil {
		return reply{}, err
	}
	if s.isOthers(name) {
		return reply{}, stored(s.account.SubscribeOther(name))
	}
	return reply{}, stored(s.account.Subscribe(name))
}

// unsubscribe: RFC 3501 §6.3.7.
func (s *session) unsubscribe(p *parser) (reply, error) {
	name, err := p.oneName()
	if err != nil {
		return reply{}, err
	}
	if s.isOthers(name) {
		return reply{}, stored(s.account.UnsubscribeOther(name))
	}
	return reply{}, stored(s.account.Unsubscribe(name))
}
