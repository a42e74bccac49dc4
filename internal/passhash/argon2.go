package passhash

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The cost of new hashes: 19 MiB, two passes, one lane, the second choice of
// OWASP's list. A mail server checks a password for every connection of every
// client that is not in the cache, two at a time on two cores; the costlier
// choices (46 MiB and up) would let a hundred guesses a second take the memory
// that mail needs, and buy an attacker's slowdown of a few per cent.
const (
	argonMemory = 19456 // KiB
	argonTime   = 2
	argonLanes  = 1
	argonSalt   = 16 // octets
	argonKey    = 32 // octets
)

// Limits on the cost of hashes that are read: a slip in a users file must not
// take a gigabyte for each login.
const (
	maxArgonMemory = 1 << 20 // KiB
	maxArgonTime   = 64
	maxArgonLanes  = 64
)

// argon is an {ARGON2ID} hash, or an {ARGON2I} one.
type argon struct {
	independent  bool // ARGON2I
	memory, time uint32
	lanes        uint8
	salt, key    []byte
}

// Make returns an {ARGON2ID} hash of a password, salted from rand.
func Make(rand io.Reader, password string) (string, error) {
	if err := CheckPassword(password); err != nil {
		return "", err
	}
	a := argon{memory: argonMemory, time: argonTime, lanes: argonLanes, salt: make([]byte, argonSalt)}
	if _, err := io.ReadFull(rand, a.salt); err != nil {
		return "", fmt.Errorf("cannot make a salt: %w", err)
	}
	a.key = a.hash(password, argonKey)
	return a.String(), nil
}

// IsCurrent reports whether a hash costs as much as those of Make.
func IsCurrent(hash string) bool {
	v, err := parse(hash)
	a, ok := v.(argon)
	return err == nil && ok && !a.independent && a.memory >= argonMemory && a.time >= argonTime
}

// Dummy does the work of verifying a password of Make, for an account that
// does not exist: its answer takes as long as a wrong password.
func Dummy(password string) {
	a := argon{memory: argonMemory, time: argonTime, lanes: argonLanes, salt: make([]byte, argonSalt)}
	a.hash(password, argonKey)
}

// String returns the hash as it stands in a users file.
func (a argon) String() string {
	scheme, name := "ARGON2ID", "argon2id"
	if a.independent {
		scheme, name = "ARGON2I", "argon2i"
	}
	return fmt.Sprintf("{%s}$%s$v=%d$m=%d,t=%d,p=%d$%s$%s", scheme, name, argon2.Version, a.memory, a.time, a.lanes,
		base64.RawStdEncoding.EncodeToString(a.salt), base64.RawStdEncoding.EncodeToString(a.key))
}

func (a argon) hash(password string, size int) []byte {
	if a.independent {
		return argon2.Key([]byte(password), a.salt, a.time, a.memory, a.lanes, uint32(size))
	}
	return argon2.IDKey([]byte(password), a.salt, a.time, a.memory, a.lanes, uint32(size))
}

func (a argon) matches(password string) (bool, error) {
	return subtle.ConstantTimeCompare(a.hash(password, len(a.key)), a.key) == 1, nil
}

// parseArgon2 reads $argon2id$v=19$m=19456,t=2,p=1$salt$key.
func parseArgon2(s string) (verifier, error) {
	f := strings.Split(s, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" && f[1] != "argon2i" || f[2] != "v=19" {
		return nil, errFormat
	}
	a, err := parseArgonCost(f[3])
	if err != nil {
		return nil, err
	}
	a.independent = f[1] == "argon2i"
	a.salt, err = unbase64(f[4], 8)
	if err != nil {
		return nil, err
	}
	a.key, err = unbase64(f[5], 12)
	return a, err
}

func parseArgonCost(s string) (argon, error) {
	f := strings.Split(s, ",")
	if len(f) != 3 {
		return argon{}, errFormat
	}
	var n [3]uint32
	for i, limit := range []struct {
		name string
		max  uint64
	}{{"m=", maxArgonMemory}, {"t=", maxArgonTime}, {"p=", maxArgonLanes}} {
		text, ok := strings.CutPrefix(f[i], limit.name)
		v, err := strconv.ParseUint(text, 10, 32)
		if !ok || err != nil || v == 0 || v > limit.max {
			return argon{}, fmt.Errorf("cannot use the hash: expected %s1 to %d", limit.name, limit.max)
		}
		n[i] = uint32(v)
	}
	return argon{memory: n[0], time: n[1], lanes: uint8(n[2])}, nil
}

// unbase64 decodes base64 with or without padding, at least min and at most
// 128 octets.
func unbase64(s string, min int) ([]byte, error) {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil || len(b) < min || len(b) > 128 {
		return nil, errFormat
	}
	return b, nil
}
