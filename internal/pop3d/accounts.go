package pop3d

import (
	"context"

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
	dir := user.Maildir()
	if dir == "" {
		return Account{}, status.Newf(454, "4.7.0", "cannot tell where the mail of this login is kept").Because("userdb of "+login.User, nil)
	}
	return Account{User: login.User, Maildir: dir}, nil
}
