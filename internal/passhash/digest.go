package passhash

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
)

// digest is one of the schemes that hash a password once: fast for whoever
// guesses, and read only so that accounts can move here.
type digest struct {
	sum  func([]byte) []byte
	key  []byte
	salt []byte // "" of a scheme without
}

// digestOf returns the function of a scheme by its name, nil for the other
// schemes.
func digestOf(name string) (sum func([]byte) []byte, size int, salted bool) {
	switch name {
	case "SSHA512", "SHA512":
		return func(b []byte) []byte { h := sha512.Sum512(b); return h[:] }, sha512.Size, name[1] == 'S'
	case "SSHA256", "SHA256":
		return func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }, sha256.Size, name[1] == 'S'
	case "SSHA", "SHA", "SHA1":
		return func(b []byte) []byte { h := sha1.Sum(b); return h[:] }, sha1.Size, name[1] == 'S'
	case "SMD5", "LDAP-MD5", "PLAIN-MD5":
		return func(b []byte) []byte { h := md5.Sum(b); return h[:] }, md5.Size, name == "SMD5"
	}
	return nil, 0, false
}

// parseDigest reads the digest, and the salt that follows it in a salted
// scheme.
func parseDigest(name, encoding, s string) (verifier, error) {
	sum, size, salted := digestOf(name)
	if encoding == "" && (name == "PLAIN-MD5" || !salted && len(s) == 2*size) {
		encoding = "HEX" // as in Dovecot
	}
	b, err := decodeDigest(encoding, s, size)
	if err != nil || salted != (len(b) > size) || len(b) < size {
		return nil, errFormat
	}
	return digest{sum, b[:size], b[size:]}, nil
}

// decodeDigest undoes the encoding: base64 unless a suffix says otherwise.
func decodeDigest(encoding, s string, size int) ([]byte, error) {
	switch encoding {
	case "", "B64", "BASE64":
		return unbase64(s, size)
	case "HEX":
		return hex.DecodeString(s)
	}
	return nil, errFormat
}

func (d digest) matches(password string) (bool, error) {
	return subtle.ConstantTimeCompare(d.sum(append([]byte(password), d.salt...)), d.key) == 1, nil
}
