package deliver

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"

	"peyk/internal/address"
	"peyk/internal/dovecotauth"
	"peyk/internal/envelope"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// A recipient is one whom a transaction accepted.
type recipient struct {
	envelope.Recipient
	addr    address.Address // as given
	user    address.Address // without the detail
	detail  string          // after the separator; "" without one
	home    string          // "" if the account has none
	root    string          // the Maildir
	uid     int             // owner of the home; -1 unknown
	quota   mailbox.Quota
	account string // canonical name
}

var errNoUser = status.New(550, "5.1.1", "no such user here")

// find looks a recipient up: the address as it is, then without its detail.
func (a *Agent) find(ctx context.Context, r envelope.Recipient) (*recipient, error) {
	addr, err := address.Parse(r.Address, true)
	if err != nil {
		return nil, err
	}
	found := &recipient{Recipient: r, addr: addr, user: addr}
	user, ok, err := a.o.Users.Lookup(ctx, service, addr.Key())
	if err != nil {
		return nil, err
	}
	if !ok {
		name, detail := addr.Detail(a.policy().Subaddress)
		if detail == "" {
			return nil, errNoUser
		}
		found.user, found.detail = addr.WithLocal(name), detail
		user, ok, err = a.o.Users.Lookup(ctx, service, found.user.Key())
	}
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errNoUser
	}
	return found, found.take(user, a.policy().Quota)
}

// take copies what is needed from the account.
func (r *recipient) take(u dovecotauth.User, quota mailbox.Quota) error {
	r.account, r.uid, r.home = u.Name, u.UID, ""
	if filepath.IsAbs(u.Home) {
		r.home = filepath.Clean(u.Home)
	}
	r.root = maildirOf(u.Mail, r.home)
	if r.root == "" {
		return status.New(451, "4.3.5", "cannot tell where the mail of this account is kept")
	}
	r.quota = quotaOf(u.Quota, quota)
	return nil
}

// maildirOf returns the directory of a mail location such as
// maildir:~/Maildir:INDEX=/x, Maildir in the home where there is none, and ""
// for what is no Maildir at an absolute path.
func maildirOf(mail, home string) string {
	dir := "~/Maildir"
	if mail != "" {
		kind, rest, ok := strings.Cut(mail, ":")
		if !ok || kind != "maildir" {
			return ""
		}
		dir, _, _ = strings.Cut(rest, ":")
	}
	if rest, ok := strings.CutPrefix(dir, "~/"); ok && home != "" {
		dir = filepath.Join(home, rest)
	}
	if !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Clean(dir)
}

// quotaOf understands Dovecot's quota rule for all folders together, such as
// *:bytes=1073741824, *:storage=1G:messages=1000, or a plain size. Without
// one, or with one that cannot be read, the default holds.
func quotaOf(rule string, otherwise mailbox.Quota) mailbox.Quota {
	limits, ok := strings.CutPrefix(rule, "*:")
	if !ok {
		return otherwise
	}
	q := otherwise
	for limit := range strings.SplitSeq(limits, ":") {
		name, value, _ := strings.Cut(limit, "=")
		switch name {
		case "bytes":
			setSize(&q.Bytes, value, 1)
		case "storage": // in KiB unless it says otherwise
			setSize(&q.Bytes, value, 1<<10)
		case "messages":
			setSize(&q.Messages, value, 1)
		}
	}
	return q
}

// setSize sets *to to a number with an optional suffix B, K, M, G or T.
func setSize(to *int64, text string, unit int64) {
	digits := strings.TrimRight(text, "bBkKmMgGtT")
	switch strings.ToUpper(text[len(digits):]) {
	case "":
	case "B":
		unit = 1
	case "K":
		unit = 1 << 10
	case "M":
		unit = 1 << 20
	case "G":
		unit = 1 << 30
	case "T":
		unit = 1 << 40
	default:
		return
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err == nil && n >= 0 && n <= (1<<62)/unit {
		*to = n * unit
	}
}
