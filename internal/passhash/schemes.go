package passhash

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/crypto/bcrypt"
)

// Costs above these are refused: they would keep a core busy for seconds.
const (
	maxBcryptCost   = 16
	maxCryptRounds  = 5_000_000
	maxPBKDF2Rounds = 5_000_000
)

// bcryptMax is how much of a password bcrypt looks at. A longer one is
// refused instead of being compared by its beginning.
const bcryptMax = 72

// blowfish is a {BLF-CRYPT} hash: $2a$, $2b$ or $2y$.
type blowfish []byte

func parseBcrypt(s string) (verifier, error) {
	cost, err := bcrypt.Cost([]byte(s))
	if err != nil || len(s) != 60 {
		return nil, errFormat
	}
	if cost > maxBcryptCost {
		return nil, errors.New("cannot use the hash: a bcrypt cost above 16 takes seconds for each login")
	}
	return blowfish(s), nil
}

func (b blowfish) matches(password string) (bool, error) {
	if len(password) > bcryptMax {
		return false, nil
	}
	err := bcrypt.CompareHashAndPassword(b, []byte(password))
	if err == nil || errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return err == nil, nil
	}
	return false, errFormat
}

// crypted is a hash of crypt(3): $1$, $5$ or $6$.
type crypted struct{ digest algorithm.Digest }

func parseCrypt(s, prefix string) (verifier, error) {
	if !strings.HasPrefix(s, prefix) {
		return nil, errFormat
	}
	if rounds, ok := strings.CutPrefix(s[3:], "rounds="); ok {
		rounds, _, _ = strings.Cut(rounds, "$")
		n, err := strconv.Atoi(rounds)
		if err != nil || n > maxCryptRounds {
			return nil, errors.New("cannot use the hash: too many rounds")
		}
	}
	d, err := shacrypt.Decode(s)
	if err != nil {
		return nil, errFormat // the library's error may quote the hash
	}
	return crypted{d}, nil
}

// parseMD5Crypt reads $1$salt$hash, which is for reading only: MD5 with a
// thousand rounds.
func parseMD5Crypt(s string) (verifier, error) {
	if !strings.HasPrefix(s, "$1$") || len(s) > 3+8+1+22 {
		return nil, errFormat
	}
	d, err := md5crypt.DecodeVariant(md5crypt.VariantStandard)(s)
	if err != nil {
		return nil, errFormat
	}
	return crypted{d}, nil
}

func (c crypted) matches(password string) (bool, error) {
	ok, err := c.digest.MatchAdvanced(password)
	if err != nil {
		return false, errFormat
	}
	return ok, nil
}

// derived is a {PBKDF2} hash as Dovecot writes it: SHA-1, 20 octets.
type derived struct {
	salt   string
	rounds int
	key    []byte
}

// parsePBKDF2 reads $1$salt$rounds$hex.
func parsePBKDF2(s string) (verifier, error) {
	f := strings.Split(s, "$")
	if len(f) != 5 || f[0] != "" || f[1] != "1" || f[2] == "" || len(f[2]) > 128 {
		return nil, errFormat
	}
	rounds, err := strconv.Atoi(f[3])
	if err != nil || rounds < 1 || rounds > maxPBKDF2Rounds {
		return nil, errFormat
	}
	key, err := hex.DecodeString(f[4])
	if err != nil || len(key) != sha1.Size {
		return nil, errFormat
	}
	return derived{f[2], rounds, key}, nil
}

func (d derived) matches(password string) (bool, error) {
	key, err := pbkdf2.Key(sha1.New, password, []byte(d.salt), d.rounds, sha1.Size)
	if err != nil {
		return false, errFormat
	}
	return subtle.ConstantTimeCompare(key, d.key) == 1, nil
}

// plain is a {PLAIN} password, for test installations.
type plain string

func parsePlain(s string) (verifier, error) {
	if s == "" {
		return nil, errFormat
	}
	return plain(s), nil
}

func (p plain) matches(password string) (bool, error) {
	have, want := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(p))
	return subtle.ConstantTimeCompare(have[:], want[:]) == 1, nil
}
