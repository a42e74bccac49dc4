package passhash

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"strings"
)

// The letters of a random secret: none looks like another, and 32 of them hold
// five bits each.
const secretLetters = "abcdefghijkmnpqrstuvwxyz23456789"

// secretGroup is how many letters stand together.
const secretGroup = 4

// NewSecret makes a random secret that people can copy: groups of four letters
// with hyphens between them. Each group holds 20 bits.
func NewSecret(random io.Reader, groups int) (string, error) {
	b := make([]byte, groups*secretGroup)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", err
	}
	var s strings.Builder
	for i, c := range b {
		if i > 0 && i%secretGroup == 0 {
			s.WriteByte('-')
		}
		s.WriteByte(secretLetters[c%32])
	}
	return s.String(), nil
}

// PlainSecret returns what was typed for a secret of NewSecret as it was made
// but without hyphens, which people leave out, as they do capital letters; ok
// is false when it cannot be one of that many groups.
func PlainSecret(typed string, groups int) (secret string, ok bool) {
	if len(typed) > 4*groups*secretGroup {
		return "", false
	}
	plain := strings.NewReplacer("-", "", " ", "").Replace(strings.ToLower(typed))
	return plain, len(plain) == groups*secretGroup && strings.Trim(plain, secretLetters) == ""
}

// saltSize is the size of the salt of a secret's hash.
const saltSize = 16

// MakeSalted returns the {SSHA256} hash of a random secret. A password that a
// person made up needs Make instead: this one is quick to guess.
func MakeSalted(random io.Reader, secret string) (string, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(random, salt); err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(secret), salt...))
	return "{SSHA256}" + base64.StdEncoding.EncodeToString(append(sum[:], salt...)), nil
}
