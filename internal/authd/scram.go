package authd

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"

	"peyk/internal/dovecotauth"
	"peyk/internal/passhash"
	"peyk/internal/table"
)

// nonceSize is how much of the nonce is ours, in octets before base64.
const nonceSize = 18

// bySCRAM is a mechanism of the SCRAM family; plus means with channel binding.
func bySCRAM(hash passhash.SCRAM, plus bool) func(context.Context, *attempt, *dovecotauth.Request) error {
	return func(ctx context.Context, a *attempt, r *dovecotauth.Request) error {
		first, err := readFirst(ctx, r)
		if err != nil {
			return err
		}
		if err := a.bind(r, first.gs2, hash, plus); err != nil {
			return err
		}
		if err := a.claim(first.user, first.authzid); err != nil {
			return err
		}
		return a.scram(ctx, r, hash, first)
	}
}

// readFirst reads the client's first message, asking for it if it did not come
// with the request.
func readFirst(ctx context.Context, r *dovecotauth.Request) (clientFirst, error) {
	text := r.Initial
	if text == nil {
		var err error
		if text, err = r.Challenge(ctx, nil); err != nil {
			return clientFirst{}, err
		}
	}
	first, ok := parseFirst(string(text))
	if !ok {
		return clientFirst{}, malformed
	}
	return first, nil
}

// bind holds the client's word on channel binding against what there is
// (RFC 5802 §6). One that says that we have none, where we do, was lied to by
// somebody between us.
func (a *attempt) bind(r *dovecotauth.Request, h gs2, hash passhash.SCRAM, plus bool) error {
	switch {
	case plus && (h.flag != 'p' || r.Bindings[h.binding] == nil):
		return noBinding
	case !plus && h.flag == 'p':
		return malformed
	case !plus && h.flag == 'y' && len(r.Bindings) > 0 && a.set.allows(hash.String()+"-PLUS"):
		return noBinding
	}
	return nil
}

// scram holds the dialogue after the client's first message. It is the same,
// to the end, for an account that does not exist or has no keys.
func (a *attempt) scram(ctx context.Context, r *dovecotauth.Request, hash passhash.SCRAM, first clientFirst) error {
	if err := a.wait(ctx); err != nil {
		return err
	}
	account, found, err := a.server.accounts.account(ctx, a.user)
	if err != nil {
		return err
	}
	keys, known, err := a.keys(ctx, account, found, hash)
	if err != nil {
		return err
	}
	nonce := first.nonce + newNonce()
	challenge := "r=" + nonce + ",s=" + base64.StdEncoding.EncodeToString(keys.Salt) + ",i=" + strconv.Itoa(keys.Iterations)
	text, err := r.Challenge(ctx, []byte(challenge))
	if err != nil {
		return err
	}
	final, ok := parseFinal(string(text))
	if !ok || subtle.ConstantTimeCompare([]byte(final.nonce), []byte(nonce)) != 1 {
		return malformed
	}
	message := first.bare + "," + challenge + "," + final.withoutProof
	right := final.proves(hash, keys, message)
	if !bytes.Equal(final.binding, append([]byte(first.gs2.text), r.Bindings[first.gs2.binding]...)) {
		return noBinding
	}
	if found && !known {
		return noKeys
	}
	err = a.judge(account, found, right && known)
	if err == nil {
		err = a.admit(ctx) // before our proof, which would tell that the password is right
	}
	if err != nil {
		return err
	}
	return prove(ctx, r, hash.HMAC(keys.ServerKey, message))
}

// prove sends the server's proof; the client agrees by an empty response.
func prove(ctx context.Context, r *dovecotauth.Request, signature []byte) error {
	answer, err := r.Challenge(ctx, []byte("v="+base64.StdEncoding.EncodeToString(signature)))
	if err == nil && len(answer) > 0 {
		return malformed
	}
	return err
}

// proves reports whether the proof is that of the keys' password (RFC 5802 §3).
func (f clientFinal) proves(hash passhash.SCRAM, k passhash.Keys, message string) bool {
	signature := hash.HMAC(k.StoredKey, message)
	if len(f.proof) != len(signature) {
		return false
	}
	clientKey := make([]byte, len(signature))
	subtle.XORBytes(clientKey, f.proof, signature)
	return subtle.ConstantTimeCompare(hash.Sum(clientKey), k.StoredKey) == 1
}

func newNonce() string {
	var b [nonceSize]byte
	rand.Read(b[:]) // does not fail: crypto/rand crashes the process instead
	return base64.StdEncoding.EncodeToString(b[:])
}

// keys returns the SCRAM keys of an account, and invented ones, always the
// same, where there are none.
func (a *attempt) keys(ctx context.Context, account table.User, found bool, hash passhash.SCRAM) (k passhash.Keys, known bool, err error) {
	invented := a.server.invented(hash, a.user.Key())
	if found {
		k, known, err = a.server.accounts.keys(ctx, account, hash, invented.Salt)
	}
	if !known {
		k = invented
	}
	return k, known, err
}

// invented are the keys of an account that has none. Their salt looks like a
// real one, and nobody without the server's secret can tell that it is not.
func (s *Server) invented(hash passhash.SCRAM, user string) passhash.Keys {
	part := func(what string, size int) []byte {
		mac := hmac.New(sha256.New, s.secret)
		mac.Write([]byte(what + "\x00" + hash.String() + "\x00" + user))
		return mac.Sum(nil)[:size]
	}
	size := len(hash.Sum(nil))
	return passhash.Keys{Iterations: passhash.SCRAMIterations, Salt: part("salt", 16), StoredKey: part("stored", size), ServerKey: part("server", size)}
}
