package imapd

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"

	"peyk/internal/dovecotauth"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// service is our name in the authentication protocol.
const service = "imap"

// Dovecot asks an authentication service that speaks Dovecot's protocol.
type Dovecot struct {
	Auth  *dovecotauth.Auth
	Users *dovecotauth.UserDB
	Quota int64 // octets, of an account whose entry names none; 0 is none
}

// Login checks the response of a SASL PLAIN exchange.
func (d Dovecot) Login(ctx context.Context, plain []byte, c Client) (string, error) {
	login, err := d.Auth.Authenticate(ctx, service, "PLAIN", plain, dovecotauth.AuthInfo{
		Secured: c.Secured, RemoteIP: c.Remote, LocalIP: c.Local, Session: c.Session})
	return login.User, err
}

// Mailbox looks up where the mail of a user lies.
func (d Dovecot) Mailbox(ctx context.Context, name string) (string, mailbox.Quota, error) {
	quota := mailbox.Quota{Bytes: d.Quota}
	user, found, err := d.Users.Lookup(ctx, service, name)
	if err != nil {
		return "", quota, err
	}
	if !found {
		return "", quota, status.New(454, "4.7.0", "cannot find the mailbox of this login")
	}
	root := maildirOf(user.Mail, user.Home)
	if root == "" {
		return "", quota, status.New(454, "4.7.0", "cannot tell where the mail of this login is kept")
	}
	if user.Quota != "" {
		quota = quotaOf(user.Quota)
	}
	return root, quota, nil
}

// maildirOf returns the directory that a mail location such as
// maildir:~/Maildir:INDEX=x names, or Maildir in the home where there is none;
// "" where neither is an absolute path of a Maildir.
func maildirOf(location, home string) string {
	dir := "~/Maildir"
	if location != "" {
		var ok bool
		if dir, ok = strings.CutPrefix(location, "maildir:"); !ok {
			return ""
		}
		dir, _, _ = strings.Cut(dir, ":")
	}
	if rest, ok := strings.CutPrefix(dir, "~/"); ok && home != "" {
		dir = filepath.Join(home, rest)
	}
	if !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Clean(dir)
}

// quotaOf reads a quota rule of Dovecot's: *:bytes=N or *:storage=N (KiB),
// each with an optional unit, and :messages=N. What it cannot read is no
// limit.
func quotaOf(rule string) mailbox.Quota {
	var q mailbox.Quota
	for word := range strings.FieldsFuncSeq(rule, func(r rune) bool { return r == ':' || r == ',' }) {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "bytes":
			q.Bytes = amount(value, 1)
		case "storage":
			q.Bytes = amount(value, 1<<10)
		case "messages":
			q.Messages = amount(value, 1)
		}
	}
	return q
}

// amount reads a number with an optional unit B, K, M, G or T; without one it
// counts in units of unit.
func amount(text string, unit int64) int64 {
	if n := len(text) - 1; n > 0 {
		if i := strings.IndexByte("BKMGT", text[n]&^0x20); i >= 0 {
			text, unit = text[:n], 1<<(10*i)
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return 0
	}
	return n * unit
}
