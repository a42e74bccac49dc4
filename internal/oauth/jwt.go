package oauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// How long keys are believed, and how often they are asked for at most when a
// token names one that we do not know.
const (
	keysFor    = time.Hour
	keysAtMost = time.Minute
	minRSA     = 2048 // bits
	maxRSA     = 8192
	maxKeys    = 100
)

// keySet are the keys that a provider has published.
type keySet struct {
	o Options

	mu    sync.Mutex // held while asking: others wait for the same answer
	keys  []key
	asked time.Time
	why   error // of the last failure
}

// key is one of them.
type key struct {
	id     string
	public crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// jwtHeader is the first part of a JWT (RFC 7515 §4.1).
type jwtHeader struct {
	Algorithm string          `json:"alg"`
	KeyID     string          `json:"kid"`
	Critical  json.RawMessage `json:"crit"`
}

// verify checks the signature of a token and returns what it says. The key's
// kind decides which algorithm is right, not the token (RFC 8725 §3.1).
func (s *keySet) verify(ctx context.Context, token string) (claims, error) {
	signed, signature, header, err := cutToken(token)
	if err != nil {
		return nil, err
	}
	keys, err := s.named(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if k.signed(header.Algorithm, signed, signature) {
			return body(signed)
		}
	}
	return nil, ErrInvalid
}

func cutToken(token string) (signed string, signature []byte, header jwtHeader, err error) {
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return "", nil, header, ErrInvalid
	}
	head, err1 := base64.RawURLEncoding.DecodeString(part[0])
	signature, err2 := base64.RawURLEncoding.DecodeString(part[2])
	if err1 != nil || err2 != nil || json.Unmarshal(head, &header) != nil || header.Critical != nil {
		return "", nil, header, ErrInvalid // RFC 7515 §4.1.11: nothing critical is known to us
	}
	return part[0] + "." + part[1], signature, header, nil
}

// body reads the claims. A token without an end is never good.
func body(signed string) (claims, error) {
	_, text, _ := strings.Cut(signed, ".")
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, ErrInvalid
	}
	var c claims
	if json.Unmarshal(b, &c) != nil || c["exp"] == nil {
		return nil, ErrInvalid
	}
	return c, nil
}

// signed reports whether the key has made the signature.
func (k key) signed(algorithm, text string, signature []byte) bool {
	sum := sha256.Sum256([]byte(text))
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return algorithm == "RS256" && rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) == nil
	case *ecdsa.PublicKey:
		if algorithm != "ES256" || len(signature) != 64 { // RFC 7518 §3.4: r and s, not ASN.1
			return false
		}
		return ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	case ed25519.PublicKey:
		return algorithm == "EdDSA" && ed25519.Verify(public, []byte(text), signature)
	}
	return false
}

// named returns the keys that a token may be signed with: the one that it
// names, or all. An unknown name makes us ask anew, now and then.
func (s *keySet) named(ctx context.Context, id string) ([]key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := s.o.Now().Sub(s.asked)
	found := s.pick(id)
	if s.asked.IsZero() || age >= keysFor || len(found) == 0 && age >= keysAtMost {
		s.asked = s.o.Now()
		keys, err := s.load(ctx)
		if s.why = err; err == nil {
			s.keys = keys
		}
		found = s.pick(id)
	}
	if len(found) == 0 && s.why != nil {
		return nil, s.why
	}
	return found, nil
}

func (s *keySet) pick(id string) []key {
	if id == "" {
		return s.keys
	}
	var found []key
	for _, k := range s.keys {
		if k.id == id {
			found = append(found, k)
		}
	}
	return found
}

func (s *keySet) load(ctx context.Context) ([]key, error) {
	b, err := s.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot read the keys of the identity provider: %w", err)
	}
	return parseKeys(b)
}

func (s *keySet) read(ctx context.Context) ([]byte, error) {
	if strings.HasPrefix(s.o.JWKS, "/") {
		f, err := os.Open(s.o.JWKS)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, maxAnswer))
	}
	r, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, s.o.JWKS, nil) // others wait for it too
	if err != nil {
		return nil, errors.New("cannot use their address")
	}
	return fetch(s.o.Client, r)
}

// jwk is one key as RFC 7517 §4 and RFC 7518 §6 write it.
type jwk struct {
	Type  string `json:"kty"`
	Use   string `json:"use"`
	ID    string `json:"kid"`
	Curve string `json:"crv"`
	N     string `json:"n"`
	E     string `json:"e"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// parseKeys reads a set of keys. Those of kinds that we do not know are passed
// over (RFC 7517 §5).
func parseKeys(b []byte) ([]key, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil || set.Keys == nil {
		return nil, errors.New("the keys of the identity provider are not a JSON Web Key Set")
	}
	var keys []key
	for _, raw := range set.Keys[:min(len(set.Keys), maxKeys)] {
		var j jwk
		if json.Unmarshal(raw, &j) != nil || j.Use != "" && j.Use != "sig" {
			continue
		}
		if public := j.public(); public != nil {
			keys = append(keys, key{j.ID, public})
		}
	}
	return keys, nil
}

// public returns the key, nil when it is of another kind or none.
func (j jwk) public() crypto.PublicKey {
	number := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
		if err != nil {
			return nil
		}
		return b
	}
	switch {
	case j.Type == "RSA":
		return rsaKey(new(big.Int).SetBytes(number(j.N)), new(big.Int).SetBytes(number(j.E)))
	case j.Type == "EC" && j.Curve == "P-256":
		x, y := number(j.X), number(j.Y)
		if len(x) != 32 || len(y) != 32 {
			return nil
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
		if err != nil {
			return nil
		}
		return public
	case j.Type == "OKP" && j.Curve == "Ed25519":
		if x := number(j.X); len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x)
		}
	}
	return nil
}

func rsaKey(n, e *big.Int) crypto.PublicKey {
	if n.BitLen() < minRSA || n.BitLen() > maxRSA || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || e.Bit(0) == 0 {
		return nil
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}
}
