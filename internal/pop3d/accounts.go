package pop3d

import (
	"context"
	"path/filepath"
	"strings"

	"peyk/internal/dovecotauth"
	"peyk/internal/status"
)

// service is our name in the authentication protocol.
const service = "pop3"

// Dovecot asks an authentication service that speaks Dovecot's protocol.
type Dovecot struct {
	Auth  *dovecotauth.Auth
	Users *dovecotauth.UserDB
}

// Login checks the password and looks up where the mail lies.
func (d Dovecot) Login(ctx context.Context, c Credentials) (Account, error) {
	login, err := d.Auth.Authenticate(ctx, service, "PLAIN", c.Response, dovecotauth.AuthInfo{
		Secured: c.Secured, RemoteIP: c.RemoteIP, LocalIP: c.LocalIP, Session: c.Session})
	if err != nil {
		return Account{}, err
	}
	user, found, err := d.Users.Lookup(ctx, service, login.User)
	if err != nil {
		return Account{}, err
	}
	if !found {
		return Account{}, status.Newf(454, "4.7.0", "cannot find the mailbox of this login")
	}
	dir := maildirOf(user.Mail, user.Home)
	if dir == "" {
		return Account{}, status.Newf(454, "4.7.0", "cannot tell where the mail of this login is kept").Because("userdb of "+login.User, nil)
	}
	return Account{User: login.User, Maildir: dir}, nil
}

// maildirOf returns the directory that a mail location such as
// maildir:~/Maildir:INDEX=x names, or Maildir in the home where there is none;
// "" where neither is an absolute path of a Maildir.
func maildirOf(mail, home string) string {
	dir := "~/Maildir"
	if mail != "" {
		var ok bool
		if dir, ok = strings.CutPrefix(mail, "maildir:"); !ok {
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
