package authd

import (
	"context"

	"peyk/internal/dovecotauth"
)

// A mechanism is one way to log in.
type mechanism struct {
	dovecotauth.Mechanism
	// run holds the dialogue, and notes in the attempt who logs in.
	run func(ctx context.Context, a *attempt, r *dovecotauth.Request) error
}

// mechanisms are those that are offered.
var mechanisms = []mechanism{
	{dovecotauth.Mechanism{Name: "PLAIN", Flags: []string{"plaintext"}}, byPassword(readPlain)},
	{dovecotauth.Mechanism{Name: "LOGIN", Flags: []string{"plaintext"}}, byPassword(readLogin)},
}

// byPassword is a mechanism that reads a name and a password.
func byPassword(read func(context.Context, *dovecotauth.Request) (credentials, error)) func(context.Context, *attempt, *dovecotauth.Request) error {
	return func(ctx context.Context, a *attempt, r *dovecotauth.Request) error {
		c, err := read(ctx, r)
		if err != nil {
			return err
		}
		return a.password(ctx, c)
	}
}
