package authd

import (
	"context"
	"fmt"

	"peyk/internal/address"
	"peyk/internal/passhash"
	"peyk/internal/table"
)

// A backend knows accounts and judges their passwords. An error of either
// method means that nobody can tell now.
type backend interface {
	// account returns the account of an address. Its Password is the stored
	// hash, or "" where the backend does not show it.
	account(ctx context.Context, addr address.Address) (u table.User, found bool, err error)
	// verify reports whether the password is the account's. It is called for
	// a few accounts at a time, and takes as long as passhash.Dummy when there
	// is nothing to compare with.
	verify(ctx context.Context, u table.User, password string) (bool, error)
}

// files are the users files of the domains.
type files struct{ tables *table.Domains }

func (f files) account(_ context.Context, addr address.Address) (table.User, bool, error) {
	return f.tables.User(addr)
}

func (f files) verify(_ context.Context, u table.User, password string) (bool, error) {
	if u.Password == "" {
		passhash.Dummy(password)
		return false, nil
	}
	ok, err := passhash.Verify(u.Password, password)
	if err != nil {
		return false, fmt.Errorf("the hash in the users file: %w", err)
	}
	return ok, nil
}
