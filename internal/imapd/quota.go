package imapd

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/mailbox"
)

// quotaRoots begin with this: each account has one root, for all its
// mailboxes, and who shares them fills it.
const rootPrefix = "#user/"

// quotaUnit is the unit of STORAGE, in octets (RFC 9208 §5.1).
const quotaUnit = 1024

// rootOf returns the name of an account's quota root.
func rootOf(owner string) string {
	if owner == "" {
		return ""
	}
	return rootPrefix + owner
}

// isAdmin reports whether the user may set limits and the server's shared
// metadata.
func (s *session) isAdmin() bool { return s.user != "" && slices.Contains(s.o.Admins, s.user) }

// getQuota: RFC 9208 §4.1.1. Whose quota it is, and who administers the
// server, may know.
func (s *session) getQuota(p *parser) (reply, error) {
	root, err := p.quotaRoot()
	if err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	account, err := s.quotaAccount(root)
	if err != nil {
		return reply{}, err
	}
	return reply{}, s.sendQuota(root, account)
}

func (p *parser) quotaRoot() (string, error) {
	if err := p.sp(); err != nil {
		return "", err
	}
	raw, err := p.astring()
	if err != nil {
		return "", err
	}
	root, ok := p.s.on.decodePattern(raw)
	if !ok {
		return "", p.fail("this is no quota root")
	}
	return root, nil
}

// quotaAccount finds the account of a root.
func (s *session) quotaAccount(root string) (*mailbox.Account, error) {
	if root == rootOf(s.user) {
		return s.account, nil
	}
	owner, ok := strings.CutPrefix(root, rootPrefix)
	if !ok || !s.isAdmin() || s.directory() == nil {
		return nil, no(imap.ResponseCodeNoPerm, "cannot tell of this quota root") // whether it exists is not told
	}
	_, account, err := s.other(owner)
	if isGone(err) {
		return nil, no(imap.ResponseCodeNonExistent, "there is no such quota root")
	}
	return account, stored(err)
}

// sendQuota sends what is limited (RFC 9208 §4.2.1).
func (s *session) sendQuota(root string, a *mailbox.Account) error {
	limits, err := a.Limits()
	if err != nil {
		return stored(err)
	}
	var items []string
	add := func(name string, used, limit int64) {
		items = append(items, name+" "+strconv.FormatInt(used, 10)+" "+strconv.FormatInt(limit, 10))
	}
	if limits.Bytes > 0 || limits.Messages > 0 {
		bytes, messages, err := a.Usage()
		if err != nil {
			return stored(err)
		}
		if limits.Bytes > 0 {
			add("STORAGE", (bytes+quotaUnit-1)/quotaUnit, limits.Bytes/quotaUnit)
		}
		if limits.Messages > 0 {
			add("MESSAGE", messages, limits.Messages)
		}
	}
	if limits.Mailboxes > 0 {
		n, err := a.Mailboxes()
		if err != nil {
			return stored(err)
		}
		add("MAILBOX", n, limits.Mailboxes)
	}
	s.text("* QUOTA ")
	s.out = s.on.appendName(s.out, root)
	s.text(" (", strings.Join(items, " "), ")\r\n")
	return nil
}

// getQuotaRoot: RFC 9208 §4.1.2. One's own mailboxes need not exist; in
// others' the right r is needed, since the answer tells how much is there.
func (s *session) getQuotaRoot(p *parser) (reply, error) {
	name, err := p.oneName()
	if err != nil {
		return reply{}, err
	}
	pl, err := s.place(name)
	if err != nil {
		return reply{}, err
	}
	if pl.owner != "" {
		f, err := s.folderAt(pl, mailbox.RightRead)
		if err != nil {
			return reply{}, err
		}
		f.Close()
	}
	root := rootOf(s.ownerOf(pl))
	s.text("* QUOTAROOT ")
	s.out = s.on.appendName(s.out, pl.name)
	s.text(" ")
	s.out = s.on.appendName(s.out, root)
	s.text("\r\n")
	return reply{}, s.sendQuota(root, pl.account)
}

// setQuota: RFC 9208 §4.1.3. All limits are replaced.
func (s *session) setQuota(p *parser) (reply, error) {
	root, err := p.quotaRoot()
	if err != nil {
		return reply{}, err
	}
	if err := p.sp(); err != nil {
		return reply{}, err
	}
	var q mailbox.Quota
	if err := p.list(func() error { return p.quotaLimit(&q) }); err != nil {
		return reply{}, err
	}
	if err := p.end(); err != nil {
		return reply{}, err
	}
	if !s.isAdmin() {
		return reply{}, no(imap.ResponseCodeNoPerm, "cannot set a quota: you do not administer this server")
	}
	account, err := s.quotaAccount(root)
	if err != nil {
		return reply{}, err
	}
	if err := account.SaveQuota(q); err != nil {
		return reply{}, stored(err)
	}
	return reply{}, s.sendQuota(root, account)
}

// quotaLimit takes one resource and its limit. A limit of 0 cannot be told
// from none in maildirsize: the smallest is 1.
func (p *parser) quotaLimit(q *mailbox.Quota) error {
	name, err := p.word()
	if err != nil {
		return err
	}
	if err := p.sp(); err != nil {
		return err
	}
	n, err := p.number64()
	if err != nil {
		return err
	}
	switch name {
	case "STORAGE":
		q.Bytes = max(min(n, math.MaxInt64/quotaUnit)*quotaUnit, 1)
	case "MESSAGE":
		q.Messages = max(n, 1)
	case "MAILBOX":
		q.Mailboxes = max(n, 1)
	default:
		return no(imap.ResponseCodeCannot, "cannot limit this resource")
	}
	return nil
}

// warnFull tells that what was selected belongs to an account that holds more
// than it may (RFC 9208 §4.3.1).
func (s *session) warnFull() {
	if s.sel.folder.Account().Full() {
		s.untagged("NO [OVERQUOTA] this mailbox is over its quota")
	}
}
