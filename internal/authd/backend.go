package authd

import (
	"context"
	"errors"
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
	// a few accounts at a time.
	verify(ctx context.Context, u table.User, password string) (bool, error)
	// pretend does the work of verify for an account that does not exist.
	pretend(ctx context.Context, addr address.Address, password string) error
	// keys returns the SCRAM keys of an account; ok is false when it has none.
	// salt is for keys that are made now.
	keys(ctx context.Context, u table.User, hash passhash.SCRAM, salt []byte) (k passhash.Keys, ok bool, err error)
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
	if passhash.IsFast(u.Password) {
		passhash.Dummy(password) // or its haste would tell that the account exists
	}
	return ok, nil
}

func (f files) pretend(_ context.Context, _ address.Address, password string) error {
	passhash.Dummy(password)
	return nil
}

func (f files) keys(_ context.Context, u table.User, hash passhash.SCRAM, salt []byte) (passhash.Keys, bool, error) {
	if text := u.Fields[table.SCRAMField(hash)]; text != "" && u.Password != "" {
		k, err := hash.Parse(text)
		if err != nil {
			return k, false, fmt.Errorf("the field %s in the users file: %w", table.SCRAMField(hash), err)
		}
		return k, true, nil
	}
	if !mayHaveKeys(u, hash) || u.Password == "" {
		return passhash.Keys{}, false, nil
	}
	k, ok, err := hash.KeysOf(u.Password, salt)
	if errors.Is(err, passhash.ErrSASLprep) {
		return k, false, nil
	}
	return k, ok, err
}
