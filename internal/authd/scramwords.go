package authd

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// maxSCRAM is the longest message of a SCRAM client, in octets, and maxNonce
// the longest nonce of it.
const (
	maxSCRAM = 2048
	maxNonce = 512
)

// gs2 is what a client says of channel binding (RFC 5802 §7: gs2-header).
type gs2 struct {
	text    string // as it stands, with the comma at its end
	flag    byte   // n: cannot, y: could but thinks that we cannot, p: does
	binding string // kind of the binding, when the flag is p
}

// clientFirst is client-first-message of RFC 5802 §7.
type clientFirst struct {
	gs2     gs2
	authzid string
	bare    string
	user    string
	nonce   string
}

// parseFirst reads the client's first message.
func parseFirst(text string) (f clientFirst, ok bool) {
	if len(text) > maxSCRAM || !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		return f, false
	}
	part := strings.SplitN(text, ",", 3)
	if len(part) != 3 {
		return f, false
	}
	if f.gs2, ok = parseFlag(part[0]); !ok {
		return f, false
	}
	f.gs2.text = part[0] + "," + part[1] + ","
	f.bare = part[2]
	if part[1] != "" {
		if f.authzid, ok = saslName(part[1], "a="); !ok {
			return f, false
		}
	}
	// A message that begins with m= has an extension that we must know, and do
	// not (RFC 5802 §5.1).
	word := strings.Split(f.bare, ",")
	if len(word) < 2 {
		return f, false
	}
	if f.user, ok = saslName(word[0], "n="); !ok {
		return f, false
	}
	f.nonce, ok = parseNonce(word[1])
	return f, ok && len(f.nonce) <= maxNonce
}

func parseFlag(s string) (g gs2, ok bool) {
	if s == "n" || s == "y" {
		return gs2{flag: s[0]}, true
	}
	kind, ok := strings.CutPrefix(s, "p=")
	if !ok || kind == "" || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" {
		return gs2{}, false
	}
	return gs2{flag: 'p', binding: kind}, true
}

// saslName reads saslname: =2C is a comma and =3D an equals sign, which do not
// stand for themselves.
func saslName(s, prefix string) (name string, ok bool) {
	s, ok = strings.CutPrefix(s, prefix)
	if !ok || s == "" {
		return "", false
	}
	if n := strings.Count(s, "="); n != strings.Count(s, "=2C")+strings.Count(s, "=3D") {
		return "", false
	}
	return strings.NewReplacer("=2C", ",", "=3D", "=").Replace(s), true
}

// parseNonce reads r=: printable ASCII.
func parseNonce(s string) (nonce string, ok bool) {
	nonce, ok = strings.CutPrefix(s, "r=")
	for i := 0; i < len(nonce); i++ {
		if nonce[i] <= ' ' || nonce[i] > '~' {
			return "", false
		}
	}
	return nonce, ok && nonce != ""
}

// clientFinal is client-final-message of RFC 5802 §7.
type clientFinal struct {
	binding      []byte
	nonce        string
	proof        []byte
	withoutProof string
}

// parseFinal reads the client's last message. Extensions that we do not know
// are passed over: they are part of what is signed.
func parseFinal(text string) (f clientFinal, ok bool) {
	if len(text) > maxSCRAM {
		return f, false
	}
	i := strings.LastIndex(text, ",p=")
	if i < 0 {
		return f, false
	}
	f.withoutProof = text[:i]
	word := strings.Split(f.withoutProof, ",")
	binding, ok := strings.CutPrefix(word[0], "c=")
	if !ok || len(word) < 2 {
		return f, false
	}
	var err error
	if f.binding, err = base64.StdEncoding.Strict().DecodeString(binding); err != nil {
		return f, false
	}
	if f.proof, err = base64.StdEncoding.Strict().DecodeString(text[i+len(",p="):]); err != nil {
		return f, false
	}
	f.nonce, ok = parseNonce(word[1])
	return f, ok
}
