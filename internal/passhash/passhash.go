// Package passhash makes and verifies password hashes in Dovecot's notation,
// {SCHEME}hash. It is pure: no files, no clock, randomness passed in.
package passhash

import "io"

// Make returns an {ARGON2ID} hash of a password.
func Make(rand io.Reader, password string) (string, error) { panic("not written yet") }

// Verify reports whether password belongs to hash. An error says that the
// hash cannot be used, or that the password is one that no hash may have.
func Verify(hash, password string) (bool, error) { panic("not written yet") }
