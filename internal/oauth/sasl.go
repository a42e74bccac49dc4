package oauth

import (
	"encoding/json"
	"strings"
)

// maxMessage is the longest message of a client, in octets.
const maxMessage = MaxToken + 1024

// Message is what a client says in either mechanism.
type Message struct {
	User  string // "" = whose the token is
	Token string
}

// String keeps the token out of anything that is printed.
func (m Message) String() string { return m.User }

// GoString is String, for the same reason.
func (m Message) GoString() string { return m.User }

// ParseBearer reads the message of OAUTHBEARER (RFC 7628 §3.1): a GS2 header,
// and key=value pairs between octets of 1.
func ParseBearer(text string) (m Message, ok bool) {
	if len(text) > maxMessage {
		return m, false
	}
	header, pairs, ok := strings.Cut(text, "\x01")
	part := strings.Split(header, ",")
	if !ok || len(part) != 3 || part[2] != "" || part[0] != "n" && part[0] != "y" { // no channel binding
		return m, false
	}
	if part[1] != "" {
		name, ok := strings.CutPrefix(part[1], "a=")
		if !ok || name == "" || strings.Count(name, "=") != strings.Count(name, "=2C")+strings.Count(name, "=3D") {
			return m, false
		}
		m.User = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name)
	}
	m.Token, ok = token(pairs, "")
	return m, ok
}

// ParseXOAUTH2 reads the message of XOAUTH2, as Google and Microsoft describe
// it: the user, then the token.
func ParseXOAUTH2(text string) (m Message, ok bool) {
	if len(text) > maxMessage {
		return m, false
	}
	first, pairs, _ := strings.Cut(text, "\x01")
	if m.User, ok = strings.CutPrefix(first, "user="); !ok || m.User == "" {
		return Message{}, false
	}
	m.Token, ok = token(pairs, "")
	return m, ok
}

// token finds the credentials among pairs that end in an empty one.
func token(pairs, found string) (string, bool) {
	for {
		pair, rest, ok := strings.Cut(pairs, "\x01")
		if !ok {
			return "", false
		}
		if pair == "" {
			return found, found != "" && rest == ""
		}
		if value, is := strings.CutPrefix(pair, "auth="); is {
			scheme, bearer, _ := strings.Cut(value, " ") // RFC 6750 §2.1; the scheme in any case
			if !strings.EqualFold(scheme, "Bearer") || found != "" || !isToken(bearer) {
				return "", false
			}
			found = bearer
		}
		pairs = rest
	}
}

// isToken takes b64token of RFC 6750 §2.1.
func isToken(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/"
	return s != "" && len(s) <= MaxToken && strings.Trim(strings.TrimRight(s, "="), letters) == ""
}

// Challenge is the answer to a token that is not good, in JSON: that of
// OAUTHBEARER (RFC 7628 §3.2.2), or that of XOAUTH2. The client answers it, and
// then the login is refused.
func (v *Verifier) Challenge(mechanism string, err error) []byte {
	answer := map[string]string{"status": "invalid_token"}
	if err == ErrScope {
		answer["status"] = "insufficient_scope"
	}
	if mechanism == "XOAUTH2" {
		answer = map[string]string{"status": "401", "schemes": "bearer"}
	}
	if v.o.Scope != "" {
		answer["scope"] = v.o.Scope
	}
	b, _ := json.Marshal(answer) // of texts: it does not fail
	return b
}
