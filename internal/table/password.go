package table

import (
	"errors"
	"io"
	"maps"

	"peyk/internal/passhash"
)

// SetPassword gives the account a password: the hash, salted from rand, and
// with keys those of SCRAM beside it. Without, or if no client could use the
// password with SCRAM, none are left of the old password.
func (u *User) SetPassword(rand io.Reader, password string, keys bool) error {
	hash, err := passhash.Make(rand, password)
	if err != nil {
		return err
	}
	fields := maps.Clone(u.Fields)
	if fields == nil {
		fields = make(map[string]string)
	}
	for _, s := range []passhash.SCRAM{passhash.SHA256(), passhash.SHA1()} {
		delete(fields, SCRAMField(s))
		if !keys {
			continue
		}
		k, err := s.Make(rand, password)
		if errors.Is(err, passhash.ErrSASLprep) {
			continue
		}
		if err != nil {
			return err
		}
		fields[SCRAMField(s)] = k.String()
	}
	u.Password, u.Fields = hash, fields
	return nil
}
