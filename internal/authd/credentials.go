package authd

import (
	"context"
	"strings"

	"peyk/internal/address"
	"peyk/internal/dovecotauth"
	"peyk/internal/passhash"
)

// maxResponse is the longest SASL response that is looked at, in octets: two
// names and a password (RFC 4616 §2).
const maxResponse = 2*255 + passhash.MaxPassword + 2

// credentials are what a login claims.
type credentials struct {
	authzid, authcid string
	password         string
}

// String keeps the password out of anything that is printed.
func (c credentials) String() string { return c.authcid }

// GoString is String, for the same reason.
func (c credentials) GoString() string { return c.authcid }

// readPlain reads PLAIN: one response of three parts (RFC 4616 §2).
func readPlain(ctx context.Context, r *dovecotauth.Request) (credentials, error) {
	response := r.Initial
	if response == nil {
		var err error
		if response, err = r.Challenge(ctx, nil); err != nil {
			return credentials{}, err
		}
	}
	return parsePlain(response)
}

// parsePlain cuts the response at its two NULs. A third one would be part of
// the password, where RFC 4616 forbids it.
func parsePlain(response []byte) (credentials, error) {
	if len(response) > maxResponse {
		return credentials{}, malformed
	}
	f := strings.Split(string(response), "\x00")
	if len(f) != 3 {
		return credentials{}, malformed
	}
	return credentials{f[0], f[1], f[2]}, nil
}

// readLogin reads LOGIN: two questions, of which a client may answer the first
// at once (draft-murchison-sasl-login-00).
func readLogin(ctx context.Context, r *dovecotauth.Request) (c credentials, err error) {
	name := r.Initial
	if name == nil {
		if name, err = r.Challenge(ctx, []byte("Username:")); err != nil {
			return c, err
		}
	}
	password, err := r.Challenge(ctx, []byte("Password:"))
	if err != nil {
		return c, err
	}
	if len(name)+len(password) > maxResponse || strings.ContainsRune(string(name)+string(password), 0) {
		return c, malformed
	}
	return credentials{authcid: string(name), password: string(password)}, nil
}

// normalise turns a login name into an address: lower case, NFC, with the
// default domain where it has none.
func normalise(name, defaultDomain string) (address.Address, error) {
	if !strings.Contains(name, "@") && defaultDomain != "" {
		name += "@" + defaultDomain
	}
	a, err := address.Parse(name, true)
	if err != nil {
		return address.Address{}, err
	}
	return a.WithLocal(address.KeyLocal(a.Local)), nil
}
