package passhash

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// SCRAMIterations is the cost of new SCRAM keys. Whoever steals the users file
// may guess against them instead of against the ARGON2ID hash, so the 4,096
// that RFC 7677 §4 asks for at least are too few; the client pays for more,
// at each connection, a telephone too.
const SCRAMIterations = 65536

// Limits on SCRAM keys that are read: fewer iterations than RFC 5802 §5.1
// allows are no protection, and more keep a client busy for seconds.
const (
	minIterations = 4096
	maxIterations = 5_000_000
	scramSalt     = 16 // octets of a new salt
	maxSCRAMSalt  = 64
)

// ErrSASLprep is the error for a password that SASLprep (RFC 4013) does not
// allow, so that no client could use it with SCRAM: with an unassigned or
// forbidden character, or with letters of both directions mixed.
var ErrSASLprep = errors.New("cannot make SCRAM keys of this password: it holds a character that SASLprep forbids")

// A SCRAM is one hash function of the SCRAM mechanisms.
type SCRAM struct {
	name string
	new  func() hash.Hash
	size int
}

// SHA1 and SHA256 are the functions of SCRAM-SHA-1 (RFC 5802) and of
// SCRAM-SHA-256 (RFC 7677).
func SHA1() SCRAM   { return SCRAM{"SCRAM-SHA-1", sha1.New, sha1.Size} }
func SHA256() SCRAM { return SCRAM{"SCRAM-SHA-256", sha256.New, sha256.Size} }

// String returns the name of the mechanism, which is that of the scheme too.
func (s SCRAM) String() string { return s.name }

// Keys are what a server keeps of a password for SCRAM (RFC 5802 §3): enough
// to check a login, not to make one.
type Keys struct {
	Iterations           int
	Salt                 []byte
	StoredKey, ServerKey []byte
}

// Make returns new keys of a password, salted from rand.
func (s SCRAM) Make(rand io.Reader, password string) (Keys, error) {
	salt := make([]byte, scramSalt)
	if _, err := io.ReadFull(rand, salt); err != nil {
		return Keys{}, fmt.Errorf("cannot make a salt: %w", err)
	}
	return s.Derive(password, salt, SCRAMIterations)
}

// Derive returns the keys of a password with a salt (RFC 5802 §3).
func (s SCRAM) Derive(password string, salt []byte, iterations int) (Keys, error) {
	if err := CheckPassword(password); err != nil {
		return Keys{}, err
	}
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil || prepared == "" {
		return Keys{}, ErrSASLprep
	}
	saltedPassword, err := pbkdf2.Key(s.new, prepared, salt, iterations, s.size)
	if err != nil {
		return Keys{}, errFormat
	}
	return Keys{iterations, salt, s.Sum(s.HMAC(saltedPassword, "Client Key")), s.HMAC(saltedPassword, "Server Key")}, nil
}

// Sum is H of RFC 5802 §2.2.
func (s SCRAM) Sum(b []byte) []byte {
	h := s.new()
	h.Write(b)
	return h.Sum(nil)
}

// HMAC is HMAC of RFC 5802 §2.2.
func (s SCRAM) HMAC(key []byte, text string) []byte {
	mac := hmac.New(s.new, key)
	io.WriteString(mac, text)
	return mac.Sum(nil)
}

// String returns keys as they stand in a users file, which is Dovecot's
// notation: iterations, salt, StoredKey and ServerKey.
func (k Keys) String() string {
	text := base64.StdEncoding.EncodeToString
	return strconv.Itoa(k.Iterations) + "," + text(k.Salt) + "," + text(k.StoredKey) + "," + text(k.ServerKey)
}

// Parse reads what Keys.String writes.
func (s SCRAM) Parse(text string) (Keys, error) {
	f := strings.Split(text, ",")
	if len(f) != 4 {
		return Keys{}, errFormat
	}
	n, err := strconv.Atoi(f[0])
	if err != nil || n < minIterations || n > maxIterations {
		return Keys{}, fmt.Errorf("cannot use the SCRAM keys: expected %d to %d iterations", minIterations, maxIterations)
	}
	k := Keys{Iterations: n}
	for i, to := range []*[]byte{&k.Salt, &k.StoredKey, &k.ServerKey} {
		if *to, err = base64.StdEncoding.DecodeString(f[i+1]); err != nil {
			return Keys{}, errFormat
		}
	}
	if len(k.Salt) == 0 || len(k.Salt) > maxSCRAMSalt || len(k.StoredKey) != s.size || len(k.ServerKey) != s.size {
		return Keys{}, errFormat
	}
	return k, nil
}

// scramHash is a {SCRAM-SHA-…} hash: it serves PLAIN too.
type scramHash struct {
	SCRAM
	Keys
}

func parseSCRAM(s SCRAM, text string) (verifier, error) {
	k, err := s.Parse(text)
	if err != nil {
		return nil, err
	}
	return scramHash{s, k}, nil
}

func (h scramHash) matches(password string) (bool, error) {
	k, err := h.Derive(password, h.Salt, h.Iterations)
	if errors.Is(err, ErrSASLprep) {
		return false, nil
	}
	return err == nil && subtle.ConstantTimeCompare(k.ServerKey, h.ServerKey) == 1, err
}

// String keeps the keys out of anything that is printed by accident.
func (h scramHash) String() string { return h.name }

// KeysOf returns the SCRAM keys that a hash gives: those of a {SCRAM-SHA-…}
// hash, and those of a {PLAIN} password with a salt. ok is false for every
// other hash.
func (s SCRAM) KeysOf(hash string, salt []byte) (k Keys, ok bool, err error) {
	v, err := parse(hash)
	if err != nil {
		return Keys{}, false, err
	}
	switch v := v.(type) {
	case scramHash:
		return v.Keys, v.name == s.name, nil
	case plain:
		k, err := s.Derive(string(v), salt, SCRAMIterations)
		return k, err == nil, err
	}
	return Keys{}, false, nil
}
