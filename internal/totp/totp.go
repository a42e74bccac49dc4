// Package totp makes and checks the six digits of a second factor (RFC 4226,
// RFC 6238): HMAC-SHA-1 over the number of half minutes since 1970, which is
// what every authenticator program knows. It is pure: the clock is passed in.
package totp

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"
)

// SecretSize is the size of a new secret, in octets: that of the hash
// (RFC 4226 §4, R6).
const SecretSize = sha1.Size

const (
	stepSeconds = 30 // RFC 6238 §4.1
	digits      = 6
	skew        = 1 // steps that a clock may be off, in both directions (RFC 6238 §5.2)
)

// Step returns the number of the time step that a moment is in.
func Step(now time.Time) int64 { return now.Unix() / stepSeconds }

// Code returns the digits of a step.
func Code(secret []byte, step int64) string {
	mac := hmac.New(sha1.New, secret)
	binary.Write(mac, binary.BigEndian, step)
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf // RFC 4226 §5.3: dynamic truncation
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", digits, n%1e6)
}

// Check looks for the step whose code this is, within one step of now and
// after the step last used: no code counts twice (RFC 6238 §5.2).
func Check(secret []byte, code string, now time.Time, last int64) (step int64, ok bool) {
	for s := Step(now) - skew; s <= Step(now)+skew; s++ {
		if subtle.ConstantTimeCompare([]byte(Code(secret, s)), []byte(code)) == 1 && s > last {
			step, ok = s, true
		}
	}
	return step, ok
}

// IsCode reports whether s has the form of a code.
func IsCode(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) == digits
}

// Base32 returns a secret as people type it.
func Base32(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// URI returns what an authenticator program scans. The issuer is the name of
// the mail server. It holds the secret.
func URI(issuer, account string, secret []byte) string {
	label := url.PathEscape(issuer + ":" + account)
	return "otpauth://totp/" + label + "?secret=" + Base32(secret) + "&issuer=" + url.QueryEscape(issuer)
}
