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

// info is what the authentication service may know of a login.
func (c Credentials) info() dovecotauth.AuthInfo {
	info := dovecotauth.AuthInfo{Secured: c.Secured, RemoteIP: c.RemoteIP, LocalIP: c.LocalIP, Session: c.Session}
	return info.WithTLS(c.TLS, c.Config)
}

// Mechanisms asks what may be offered.
func (d Dovecot) Mechanisms(ctx context.Context, c Credentials) []string {
	return d.Auth.Offer(ctx, c.info())
}

// Login holds the dialogue of the mechanism and looks up where the mail lies.
func (d Dovecot) Login(ctx context.Context, c Credentials) (Account, error) {
	login, err := d.Auth.Exchange(ctx, service, c.Mechanism, c.Response, c.info(), c.Next)
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
	return Account{User: login.User, Maildir: dir, Login: login}, nil
}
