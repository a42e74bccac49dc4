package imapd

import (
	"context"
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
	// Mailboxes is how many an account may have; 0 is no limit.
	Mailboxes int64
}

// info is what the authentication service may know about a client.
func (c Client) info() dovecotauth.AuthInfo {
	info := dovecotauth.AuthInfo{Secured: c.Secured, RemoteIP: c.Remote, LocalIP: c.Local, Session: c.Session}
	return info.WithTLS(c.TLS, c.Config)
}

// Mechanisms asks what may be offered.
func (d Dovecot) Mechanisms(ctx context.Context, c Client) []string {
	return d.Auth.Offer(ctx, c.info())
}

// Login holds a SASL exchange.
func (d Dovecot) Login(ctx context.Context, mechanism string, initial []byte, c Client, next func([]byte) ([]byte, error)) (dovecotauth.Login, error) {
	return d.Auth.Exchange(ctx, service, mechanism, initial, c.info(), next)
}

// Find looks up another user. The field acl_groups names the groups, with
// commas between them.
func (d Dovecot) Find(ctx context.Context, name string) (Account, bool, error) {
	user, found, err := d.Users.Lookup(ctx, service, name)
	root := user.Maildir()
	if err != nil || !found || root == "" {
		return Account{}, false, err
	}
	groups := strings.FieldsFunc(user.Fields["acl_groups"], func(r rune) bool { return r == ',' || r == ' ' })
	quota := mailbox.ParseQuotaRule(user.Quota, mailbox.Quota{Bytes: d.Quota, Mailboxes: d.Mailboxes})
	return Account{Name: user.Name, Root: root, Quota: quota, Groups: groups}, true, nil
}

// Mailbox looks up where the mail of a user lies.
func (d Dovecot) Mailbox(ctx context.Context, name string) (string, mailbox.Quota, error) {
	quota := mailbox.Quota{Bytes: d.Quota, Mailboxes: d.Mailboxes}
	user, found, err := d.Users.Lookup(ctx, service, name)
	if err != nil {
		return "", quota, err
	}
	if !found {
		return "", quota, status.New(454, "4.7.0", "cannot find the mailbox of this login")
	}
	root := user.Maildir()
	if root == "" {
		return "", quota, status.New(454, "4.7.0", "cannot tell where the mail of this login is kept")
	}
	return root, mailbox.ParseQuotaRule(user.Quota, quota), nil
}
