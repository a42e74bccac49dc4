package imapd

import (
	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// who is the user, towards an account.
func (s *session) who(a *mailbox.Account) mailbox.Who {
	return mailbox.Who{User: s.user, Groups: s.groups, Owner: a == s.account}
}

// rightsIn returns the rights that the user has on a folder now.
func (s *session) rightsIn(f *mailbox.Folder) (mailbox.Rights, error) {
	list, err := f.ACL()
	if err != nil {
		return 0, stored(err)
	}
	return list.RightsOf(s.who(f.Account())) & s.mask(), nil
}

// rightsAt returns the rights on a folder by its name; it need not exist.
func (s *session) rightsAt(a *mailbox.Account, folder string) (mailbox.Rights, error) {
	list, err := a.ACL(folder)
	if err != nil {
		return 0, stored(err)
	}
	return list.RightsOf(s.who(a)) & s.mask(), nil
}

// need refuses a command on the selected mailbox when the user lacks a right:
// they are looked up for each command, not only by SELECT.
func (s *session) need(rights mailbox.Rights) error {
	has, err := s.rightsIn(s.sel.folder)
	if err != nil {
		return err
	}
	if !has.Has(rights) {
		return no(imap.ResponseCodeNoPerm, "cannot do this: you have no right %q here", rights&^has)
	}
	return nil
}

// writeRights: without all of these a mailbox is opened read-only
// (RFC 4314 §5.2).
const writeRights = mailbox.RightInsert | mailbox.RightExpunge | mailbox.RightSeen | mailbox.RightWrite | mailbox.RightDelete

// leaves reports whether a command is allowed to one who may not read the
// selected mailbox any more: those that leave it, and EXPUNGE, which has a
// right of its own.
func leaves(name string) bool {
	return name == "CLOSE" || name == "UNSELECT"
}

// allowedFlags returns the flags that a new message in f may have.
// RFC 4314 §4: the others are dropped without a word.
func (s *session) allowedFlags(f *mailbox.Folder, flags mailbox.Flags, keywords []string) (mailbox.Flags, []string) {
	rights, err := s.rightsIn(f)
	if err != nil {
		rights = 0
	}
	may, words := rights.Settable()
	if !words {
		keywords = nil
	}
	return flags & may, keywords
}

// limitChange takes out of a STORE what the user may not change. RFC 4314 §4:
// it is refused only when nothing is left.
func (s *session) limitChange(c *mailbox.Change) error {
	has, err := s.rightsIn(s.sel.folder)
	if err != nil {
		return err
	}
	may, keywords := has.Settable()
	asked := c.Flags != 0 || len(c.Keywords) > 0
	if c.Op == mailbox.Replace {
		c.Keep, c.KeepKeywords = ^may, !keywords
	}
	c.Flags &= may
	if !keywords {
		c.Keywords = nil
	}
	if c.Flags == 0 && len(c.Keywords) == 0 && (asked || may == 0) {
		return no(imap.ResponseCodeNoPerm, "cannot change these flags: your rights here are %q", has)
	}
	return nil
}
