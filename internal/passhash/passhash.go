// Package passhash makes and verifies password hashes in Dovecot's notation,
// {SCHEME}hash. It is pure: no files, no clock, randomness passed in.
//
// No error of this package holds a password, a hash or a part of one.
package passhash

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// MaxPassword is the longest password that is hashed, in bytes: a limit on
// what a stranger can make the server work through.
const MaxPassword = 1024

// ErrPassword is the error for a password that no account may have: empty,
// too long, or holding a NUL, at which half of the world's programs would cut
// it.
var ErrPassword = fmt.Errorf("cannot use this password: it must have 1 to %d bytes and no NUL", MaxPassword)

// errFormat is a hash that does not have the shape of its scheme.
var errFormat = errors.New("cannot read the hash: it does not have the format of its scheme")

// CheckPassword returns ErrPassword for a password that no account may have.
func CheckPassword(password string) error {
	if password == "" || len(password) > MaxPassword || strings.IndexByte(password, 0) >= 0 {
		return ErrPassword
	}
	return nil
}

// Verify reports whether password belongs to hash. An error says that the
// hash cannot be used, or that the password is one that no account may have.
//
// The schemes are those of Dovecot's: ARGON2ID, ARGON2I, BLF-CRYPT,
// SHA512-CRYPT, SHA256-CRYPT, MD5-CRYPT, CRYPT (any of these by its own prefix,
// and the meaning of a hash without a scheme), PBKDF2, SCRAM-SHA-256 and -1,
// SSHA512, SSHA256, SSHA and SMD5, the same without salt, and PLAIN. Not among
// them are those that no crypt(3) of today makes or that keep the password
// readable: DES-CRYPT, PLAIN-MD4, CRAM-MD5, DIGEST-MD5, OTP, LANMAN, NTLM.
func Verify(hash, password string) (bool, error) {
	if err := CheckPassword(password); err != nil {
		return false, err
	}
	v, err := parse(hash)
	if err != nil {
		return false, err
	}
	return v.matches(password)
}

// Check returns an error when hash is one that Verify cannot use.
func Check(hash string) error {
	_, err := parse(hash)
	return err
}

// IsFast reports whether a password is compared with a hash in no time: then a
// server that wants to hide whether an account exists does Dummy besides. PLAIN,
// which is for tests and hides nothing, is not among them.
func IsFast(hash string) bool {
	switch name := Scheme(hash); name {
	case "MD5", "MD5-CRYPT":
		return true
	default:
		sum, _, _ := digestOf(name)
		return sum != nil
	}
}

// Scheme returns the scheme of a hash in upper case, without an encoding
// suffix.
func Scheme(hash string) string {
	name, _, err := split(hash)
	if err != nil {
		return ""
	}
	name, _, _ = strings.Cut(name, ".")
	return name
}

// A verifier is a hash that was read and can be compared with passwords.
type verifier interface {
	matches(password string) (bool, error)
}

// parse reads a hash with its scheme.
func parse(hash string) (verifier, error) {
	scheme, rest, err := split(hash)
	if err != nil {
		return nil, err
	}
	name, encoding, _ := strings.Cut(scheme, ".")
	if sum, _, _ := digestOf(name); sum != nil {
		return parseDigest(name, encoding, rest)
	}
	if rest, err = decodeText(encoding, rest); err != nil {
		return nil, err
	}
	switch name {
	case "ARGON2ID", "ARGON2I":
		return parseArgon2(rest)
	case "BLF-CRYPT":
		return parseBcrypt(rest)
	case "SHA512-CRYPT":
		return parseCrypt(rest, "$6$")
	case "SHA256-CRYPT":
		return parseCrypt(rest, "$5$")
	case "MD5-CRYPT", "MD5":
		return parseMD5Crypt(rest)
	case "CRYPT":
		return parseAnyCrypt(rest)
	case "PBKDF2":
		return parsePBKDF2(rest)
	case "SCRAM-SHA-256":
		return parseSCRAM(SHA256(), rest)
	case "SCRAM-SHA-1":
		return parseSCRAM(SHA1(), rest)
	case "PLAIN", "CLEARTEXT", "CLEAR":
		return parsePlain(rest)
	}
	return nil, fmt.Errorf("cannot use the password scheme {%s}: expected ARGON2ID, BLF-CRYPT, SHA512-CRYPT, PBKDF2, SCRAM-SHA-256, SSHA512 or another one of peyk-tables(5)", scheme)
}

// decodeText undoes the encoding that a suffix of the scheme names; a hash is
// text in itself.
func decodeText(encoding, s string) (string, error) {
	var b []byte
	var err error
	switch encoding {
	case "":
		return s, nil
	case "B64", "BASE64":
		b, err = base64.StdEncoding.DecodeString(s)
	case "HEX":
		b, err = hex.DecodeString(s)
	default:
		err = errFormat
	}
	if err != nil {
		return "", errFormat
	}
	return string(b), nil
}

// split takes the scheme off a hash. Without one it is CRYPT, as in Dovecot's
// passwd-files.
func split(hash string) (scheme, rest string, err error) {
	if hash == "" {
		return "", "", errors.New("cannot use an empty hash: the account has no password")
	}
	inner, ok := strings.CutPrefix(hash, "{")
	if !ok {
		return "CRYPT", hash, nil
	}
	scheme, rest, ok = strings.Cut(inner, "}")
	if !ok || !isSchemeName(scheme) {
		return "", "", errors.New("cannot read the hash: expected {SCHEME} before it")
	}
	return strings.ToUpper(scheme), rest, nil
}

// isSchemeName keeps anything that could be part of a password out of errors.
func isSchemeName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

func parseAnyCrypt(hash string) (verifier, error) {
	switch {
	case strings.HasPrefix(hash, "$argon2"):
		return parseArgon2(hash)
	case strings.HasPrefix(hash, "$2"):
		return parseBcrypt(hash)
	case strings.HasPrefix(hash, "$5$"):
		return parseCrypt(hash, "$5$")
	case strings.HasPrefix(hash, "$1$"):
		return parseMD5Crypt(hash)
	}
	return parseCrypt(hash, "$6$")
}
