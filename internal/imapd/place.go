package imapd

import (
	"context"
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// A Directory finds the mail of other users, so that their folders can be
// shared. Users that do not implement it have no shared folders.
type Directory interface {
	// Find looks a user up by any form of the name.
	Find(ctx context.Context, name string) (account Account, found bool, err error)
}

// An Account is what a Directory knows of a user.
type Account struct {
	Name   string // canonical
	Root   string // the Maildir
	Quota  mailbox.Quota
	Groups []string // for access control lists
}

// othersSeparator stands between the levels of names of other users'
// mailboxes: user names hold dots, so the personal separator will not do
// (RFC 2342 §5: a namespace has a delimiter of its own).
const othersSeparator = "/"

// maxOthers is how many other users' accounts a session holds open.
const maxOthers = 1000

// A place is a mailbox as a session means it.
type place struct {
	name    string // as clients write it, in UTF-8
	owner   string // "" for one's own
	account *mailbox.Account
	folder  string // its name in the account
}

// prefix is what names of other users' mailboxes begin with, "" if there are
// none.
func (s *session) prefix() string {
	if s.user == "" || s.directory() == nil {
		return ""
	}
	return s.o.Others
}

func (s *session) directory() Directory {
	d, _ := s.o.Users.(Directory)
	return d
}

// isOthers reports whether a name is in the namespace of other users.
func (s *session) isOthers(name string) bool {
	prefix := s.prefix()
	return prefix != "" && (strings.HasPrefix(name, prefix) || name+othersSeparator == prefix)
}

// place finds out whose mailbox a name means. The mailbox need not exist.
func (s *session) place(name string) (place, error) {
	if !s.isOthers(name) {
		return place{name: name, account: s.account, folder: name}, nil
	}
	owner, folder, _ := strings.Cut(strings.TrimPrefix(name, s.prefix()), othersSeparator)
	if folder == "" || strings.Contains(folder, separator) { // it would have two names
		return place{}, nonexistent(name)
	}
	canonical, account, err := s.other(owner)
	if err != nil {
		if isGone(err) {
			return place{}, nonexistent(name)
		}
		return place{}, stored(err)
	}
	folder = mailbox.CanonicalName(strings.ReplaceAll(folder, othersSeparator, separator))
	return place{name: s.nameOf(canonical, folder), owner: canonical, account: account, folder: folder}, nil
}

// nameOf returns the name of another user's folder.
func (s *session) nameOf(owner, folder string) string {
	return s.prefix() + owner + othersSeparator + strings.ReplaceAll(folder, separator, othersSeparator)
}

// other opens the account of another user. The error wraps ErrNoFolder when
// there is none, or it has no mail.
func (s *session) other(owner string) (canonical string, a *mailbox.Account, err error) {
	if a := s.others[owner]; a != nil {
		return owner, a, nil
	}
	if owner == "" || len(owner) > maxIdentifier || len(s.others) >= maxOthers {
		return "", nil, mailbox.ErrNoFolder
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.limits.LoginTime)
	defer cancel()
	found, ok, err := s.directory().Find(ctx, owner)
	if err != nil {
		return "", nil, err
	}
	if !ok || found.Name == s.user || strings.Contains(found.Name, othersSeparator) {
		return "", nil, mailbox.ErrNoFolder
	}
	if a := s.others[found.Name]; a != nil {
		return found.Name, a, nil
	}
	a, err = s.o.Host.OpenExisting(found.Root)
	if err != nil {
		return "", nil, err
	}
	a.SetQuota(found.Quota)
	if s.others == nil {
		s.others = make(map[string]*mailbox.Account)
	}
	s.others[found.Name] = a
	return found.Name, a, nil
}

// closeOthers gives other users' accounts back.
func (s *session) closeOthers() {
	for _, a := range s.others {
		a.Close()
	}
	s.others = nil
}

// folder opens a mailbox on which the user has all of the rights.
func (s *session) folder(name string, need mailbox.Rights) (*mailbox.Folder, error) {
	pl, err := s.place(name)
	if err != nil {
		return nil, err
	}
	return s.folderAt(pl, need)
}

func (s *session) folderAt(pl place, need mailbox.Rights) (*mailbox.Folder, error) {
	f, err := pl.account.FolderForNow(pl.folder)
	switch {
	case err == nil:
	case pl.owner != "" && (isGone(err) || errors.Is(err, mailbox.ErrName)):
		return nil, nonexistent(pl.name)
	default:
		return nil, stored(err)
	}
	rights, err := s.rightsIn(f)
	if err == nil {
		err = permit(pl.name, rights, need)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// nonexistent refuses a mailbox that is not there, or that the user must not
// know of: the answers are the same (RFC 4314 §6).
func nonexistent(name string) error {
	return no(imap.ResponseCodeNonExistent, "cannot find folder %q", name)
}

// permit refuses one who lacks a right.
func permit(name string, has, need mailbox.Rights) error {
	switch {
	case has.Has(need):
		return nil
	case has&mailbox.RightLookup == 0:
		return nonexistent(name)
	}
	return no(imap.ResponseCodeNoPerm, "cannot do this: you have no right %q on folder %q", need&^has, name)
}
