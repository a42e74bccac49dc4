// Package oauth finds out whose an OAuth 2.0 access token is: by asking the
// identity provider (token introspection, RFC 7662), or by the provider's
// published keys (JWKS, RFC 7517) when the token is a signed JWT (RFC 7519).
// It also reads the messages of the SASL mechanisms that carry tokens,
// OAUTHBEARER (RFC 7628) and XOAUTH2.
//
// No error of this package holds a token or a secret.
package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limits.
const (
	MaxToken    = 6 << 10 // octets of a token
	maxAnswer   = 1 << 20 // octets of what a provider says
	maxCached   = 10000   // tokens that are remembered
	skew        = time.Minute
	askTime     = 10 * time.Second
	rememberFor = time.Minute
)

// ErrInvalid is a token that is not good: unknown, over, or for somebody else.
var ErrInvalid = errors.New("the token is not valid")

// ErrScope is a good token without the scope that is asked for.
var ErrScope = errors.New("the token lacks the scope")

// Options say whom to believe. One of Introspection and JWKS is needed; with
// both, a token that looks like a JWT is judged by the keys.
type Options struct {
	Introspection string // URL (RFC 7662)
	ClientID      string // our name at the provider, for introspection
	ClientSecret  string
	JWKS          string // URL, or the path of a file
	Issuer        string // that must have made the token; needed with JWKS
	Audience      string // that the token must be for; needed with JWKS
	Scope         string // words that the token's scope must have
	UserClaim     string // that holds the user's address
	Client        *http.Client
	Now           func() time.Time
}

// Verifier judges tokens.
type Verifier struct {
	o    Options
	keys keySet

	mu    sync.Mutex
	known map[[sha256.Size]byte]remembered
}

type remembered struct {
	user  string
	until time.Time
}

// New returns a verifier. Nothing is asked before there is a token.
func New(o Options) (*Verifier, error) {
	if o.Introspection == "" && o.JWKS == "" {
		return nil, errors.New("neither an introspection endpoint nor keys are given")
	}
	if o.JWKS != "" && (o.Issuer == "" || o.Audience == "") {
		return nil, errors.New("an issuer and an audience are needed with keys: otherwise a token made for anybody would do")
	}
	if o.UserClaim == "" {
		o.UserClaim = "email"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	client := http.Client{}
	if o.Client != nil {
		client = *o.Client
	}
	client.Timeout = askTime
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &client
	return &Verifier{o: o, keys: keySet{o: o}, known: make(map[[sha256.Size]byte]remembered)}, nil
}

// User returns the user whose a token is. ErrInvalid and ErrScope are
// refusals; any other error means that nobody can tell now.
func (v *Verifier) User(ctx context.Context, token string) (string, error) {
	if token == "" || len(token) > MaxToken {
		return "", ErrInvalid
	}
	key := sha256.Sum256([]byte(token))
	if user, ok := v.recall(key); ok {
		return user, nil
	}
	c, err := v.claims(ctx, token)
	if err != nil {
		return "", err
	}
	user, until, err := v.judge(c)
	if err == nil {
		v.remember(key, remembered{user, until})
	}
	return user, err
}

func (v *Verifier) claims(ctx context.Context, token string) (claims, error) {
	if v.o.JWKS != "" && (v.o.Introspection == "" || strings.Count(token, ".") == 2) {
		return v.keys.verify(ctx, token)
	}
	return v.introspect(ctx, token)
}

// claims are what a token says, or the provider of it.
type claims map[string]json.RawMessage

func (c claims) text(name string) string {
	var s string
	json.Unmarshal(c[name], &s) // "" when it is no text
	return s
}

// list reads a claim that is a text or several.
func (c claims) list(name string) []string {
	var many []string
	if json.Unmarshal(c[name], &many) == nil {
		return many
	}
	if one := c.text(name); one != "" {
		return []string{one}
	}
	return nil
}

// at reads NumericDate (RFC 7519 §2).
func (c claims) at(name string) (at time.Time, given bool, err error) {
	raw, given := c[name]
	if !given {
		return time.Time{}, false, nil
	}
	var seconds float64
	if err := json.Unmarshal(raw, &seconds); err != nil || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, true, ErrInvalid
	}
	return time.Unix(int64(seconds), 0), true, nil
}

// judge decides from the claims (RFC 7519 §4.1), and says until when.
func (v *Verifier) judge(c claims) (user string, until time.Time, err error) {
	now := v.o.Now()
	until = now.Add(rememberFor)
	end, given, err := c.at("exp")
	if err != nil || given && !now.Before(end.Add(skew)) {
		return "", until, ErrInvalid
	}
	if given && end.Before(until) {
		until = end
	}
	begin, given, err := c.at("nbf")
	if err != nil || given && now.Before(begin.Add(-skew)) {
		return "", until, ErrInvalid
	}
	if v.o.Issuer != "" && c.text("iss") != v.o.Issuer {
		return "", until, ErrInvalid
	}
	if v.o.Audience != "" && !slices.Contains(c.list("aud"), v.o.Audience) {
		return "", until, ErrInvalid
	}
	if !hasWords(append(strings.Fields(c.text("scope")), c.list("scp")...), v.o.Scope) {
		return "", until, ErrScope
	}
	if user = c.text(v.o.UserClaim); user == "" {
		return "", until, fmt.Errorf("%w: it has no claim %s", ErrInvalid, v.o.UserClaim)
	}
	return user, until, nil
}

func hasWords(have []string, want string) bool {
	for word := range strings.FieldsSeq(want) {
		if !slices.Contains(have, word) {
			return false
		}
	}
	return true
}

func (v *Verifier) recall(key [sha256.Size]byte) (string, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r, ok := v.known[key]
	return r.user, ok && v.o.Now().Before(r.until)
}

func (v *Verifier) remember(key [sha256.Size]byte, r remembered) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxCached {
		clear(v.known) // a minute of memory: not worth an order
	}
	v.known[key] = r
}
