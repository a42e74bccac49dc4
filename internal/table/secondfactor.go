package table

import (
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"peyk/internal/address"
)

// secondFactorFile is the file of a domain that holds the second factors.
const secondFactorFile = "second-factor"

// minSecret is the shortest secret of a second factor, in octets
// (RFC 4226 §4, R6).
const minSecret = 16

// SecondFactor is one line of a second-factor file:
//
//	user:secret in base32:hash,hash,...:created
type SecondFactor struct {
	User     address.Address
	Secret   []byte
	Recovery []string // hashes of the recovery codes
	Created  time.Time
}

// String returns the account alone, so that no log can show the secret.
func (f SecondFactor) String() string { return f.User.String() }

// GoString is String, for the same reason.
func (f SecondFactor) GoString() string { return "table.SecondFactor{" + f.User.String() + "}" }

// SecondFactor returns the second factor of an account. The first of two lines
// counts.
func (d *Domains) SecondFactor(addr address.Address) (f SecondFactor, found bool, err error) {
	all, err := lookup(d, &d.seconds, addr, secondFactorFile, parseSecondFactor)
	if len(all) == 0 || err != nil {
		return f, false, err
	}
	return all[0], true, nil
}

var secretEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// parseSecondFactor reads a line behind its user.
func parseSecondFactor(user address.Address, rest string) (SecondFactor, error) {
	f := SecondFactor{User: user}
	words := strings.Split(rest, ":")
	if len(words) != 3 {
		return f, errors.New("expected user:secret:recovery codes:created")
	}
	var err error
	f.Secret, err = secretEncoding.DecodeString(strings.ToUpper(strings.TrimRight(words[0], "=")))
	if err != nil || len(f.Secret) < minSecret {
		return f, errors.New("cannot use the secret: expected base32 of at least 128 bits")
	}
	if words[1] != "" {
		f.Recovery = strings.Split(words[1], ",")
	}
	f.Created, err = ParseDate(words[2])
	return f, err
}

func (f SecondFactor) format() (string, error) {
	line := strings.Join([]string{f.User.Local, secretEncoding.EncodeToString(f.Secret), strings.Join(f.Recovery, ","),
		f.Created.UTC().Format(momentForm)}, ":")
	user, rest, err := splitOwner(f.User.Domain, []byte(line))
	if err == nil && isComment([]byte(line)) {
		err = errors.New("the line would be a comment")
	}
	if err == nil {
		_, err = parseSecondFactor(user, rest)
	}
	if err != nil {
		return "", fmt.Errorf("cannot write the second factor: %w", err)
	}
	return line, nil
}

// SetSecondFactor adds a second factor or replaces the user's one.
func (e *Editor) SetSecondFactor(f SecondFactor) error {
	line, err := f.format()
	if err != nil {
		return err
	}
	return e.edit(f.User.Domain, secondFactorFile, usersPerm, func(t *text) error {
		t.replace(t.ownedBy(f.User, whichever), line)
		return nil
	})
}

// RemoveSecondFactor removes a second factor; found is false when there was
// none.
func (e *Editor) RemoveSecondFactor(addr address.Address) (found bool, err error) {
	return e.drop(addr, secondFactorFile, whichever)
}
