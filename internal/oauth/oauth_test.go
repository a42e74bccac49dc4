package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const canary = "c4n4ry-t0ken"

// provider is an identity provider with one key of each kind.
type provider struct {
	*httptest.Server
	rsa     *rsa.PrivateKey
	ec      *ecdsa.PrivateKey
	ed      ed25519.PrivateKey
	hidden  atomic.Bool // the keys are not published yet
	broken  atomic.Bool
	asked   atomic.Int64
	answers map[string]string // by token
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{answers: map[string]string{}}
	var err [2]error
	p.rsa, err[0] = rsa.GenerateKey(rand.Reader, 2048)
	p.ec, err[1] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, p.ed, _ = ed25519.GenerateKey(rand.Reader)
	if e := errors.Join(err[:]...); e != nil {
		t.Fatal(e)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.asked.Add(1)
		if p.broken.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Write(p.keys())
	})
	mux.HandleFunc("/introspect", func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		id, secret, _ := r.BasicAuth()
		if r.Method != "POST" || id != "peyk" || secret != "s%3A+x" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		switch token := r.FormValue("token"); token {
		case "huge":
			w.Header().Set("Content-Type", "application/json")
			w.Write(make([]byte, 2<<20))
		case "moved":
			http.Redirect(w, r, "/keys", http.StatusFound)
		case "page":
			fmt.Fprint(w, "<html>")
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, p.answers[token])
		}
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (p *provider) keys() []byte {
	point, _ := p.ec.PublicKey.Bytes()
	keys := []map[string]string{
		{"kty": "oct", "kid": "secret", "k": "AAAA"},
		{"kty": "RSA", "kid": "weak", "n": b64([]byte{1, 2, 3}), "e": "AQAB"},
		{"kty": "RSA", "kid": "enc", "use": "enc", "n": b64(p.rsa.N.Bytes()), "e": "AQAB"},
		{"kty": "RSA", "kid": "rsa", "use": "sig", "n": b64(p.rsa.N.Bytes()), "e": "AQAB"},
		{"kty": "EC", "kid": "ec", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
	}
	if !p.hidden.Load() {
		keys = append(keys, map[string]string{"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(p.ed.Public().(ed25519.PublicKey))})
	}
	b, _ := json.Marshal(map[string]any{"keys": keys})
	return b
}

// token makes a signed token.
func (p *provider) token(header, body map[string]any) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(body)
	text := b64(h) + "." + b64(c)
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	switch header["alg"] {
	case "RS256":
		signature, _ = rsa.SignPKCS1v15(nil, p.rsa, crypto.SHA256, sum[:])
	case "ES256":
		r, s, _ := ecdsa.Sign(rand.Reader, p.ec, sum[:])
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case "EdDSA":
		signature = ed25519.Sign(p.ed, []byte(text))
	case "HS256": // CVE-2015-9235: the public key as the secret
		mac := hmac.New(sha256.New, p.rsa.N.Bytes())
		mac.Write([]byte(text))
		signature = mac.Sum(nil)
	}
	return text + "." + b64(signature)
}

var now = time.Unix(2e9, 0)

func claimsWith(change map[string]any) map[string]any {
	c := map[string]any{"iss": "https://id.example", "aud": []string{"other", "mail"}, "exp": now.Unix() + 600, "scope": "openid mail.read", "email": "alice@example.org"}
	for name, v := range change {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

func TestSignedTokens(t *testing.T) {
	p := newProvider(t)
	v, err := New(Options{JWKS: p.URL + "/keys", Issuer: "https://id.example", Audience: "mail", Scope: "mail.read", Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	header := func(alg, kid string) map[string]any { return map[string]any{"alg": alg, "kid": kid} }
	for _, c := range []struct {
		name   string
		header map[string]any
		body   map[string]any
		want   error
	}{
		{"RS256", header("RS256", "rsa"), nil, nil}, {"ES256", header("ES256", "ec"), nil, nil}, {"EdDSA", header("EdDSA", "ed"), nil, nil},
		{"no kid", map[string]any{"alg": "ES256"}, nil, nil},
		{"another's kid", header("RS256", "ec"), nil, ErrInvalid}, {"unknown kid", header("RS256", "new"), nil, ErrInvalid},
		{"a key for encryption", header("RS256", "enc"), nil, ErrInvalid},
		{"none", header("none", "rsa"), nil, ErrInvalid}, {"HS256", header("HS256", "rsa"), nil, ErrInvalid}, {"symmetric", header("HS256", "secret"), nil, ErrInvalid},
		{"critical", map[string]any{"alg": "RS256", "kid": "rsa", "crit": []string{"x"}}, nil, ErrInvalid},
		{"over", header("RS256", "rsa"), map[string]any{"exp": now.Unix() - 61}, ErrInvalid}, {"no end", header("RS256", "rsa"), map[string]any{"exp": nil}, ErrInvalid},
		{"odd end", header("RS256", "rsa"), map[string]any{"exp": "tomorrow"}, ErrInvalid},
		{"a clock that is late", header("RS256", "rsa"), map[string]any{"exp": now.Unix() - 30}, nil},
		{"not yet", header("RS256", "rsa"), map[string]any{"nbf": now.Unix() + 120}, ErrInvalid},
		{"another issuer", header("RS256", "rsa"), map[string]any{"iss": "https://evil.example"}, ErrInvalid}, {"no issuer", header("RS256", "rsa"), map[string]any{"iss": nil}, ErrInvalid},
		{"for another", header("RS256", "rsa"), map[string]any{"aud": "other"}, ErrInvalid}, {"for us alone", header("RS256", "rsa"), map[string]any{"aud": "mail"}, nil},
		{"scope", header("RS256", "rsa"), map[string]any{"scope": "mail.readonly"}, ErrScope}, {"scp", header("RS256", "rsa"), map[string]any{"scope": nil, "scp": []string{"mail.read"}}, nil},
		{"nobody", header("RS256", "rsa"), map[string]any{"email": nil}, ErrInvalid}, {"a number for a name", header("RS256", "rsa"), map[string]any{"email": 7}, ErrInvalid},
	} {
		user, err := v.User(t.Context(), p.token(c.header, claimsWith(c.body)))
		if !errors.Is(err, c.want) || err == nil && user != "alice@example.org" {
			t.Errorf("%s: %q, %v; want %v", c.name, user, err, c.want)
		}
	}
	good := p.token(header("RS256", "rsa"), claimsWith(nil))
	for _, bad := range []string{"", "x", "..", good + "x", good[:len(good)-8], strings.Replace(good, ".", ".e30", 1), "." + good, strings.Repeat("x", MaxToken+1)} {
		if user, err := v.User(t.Context(), bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.20q: %q, %v", bad, user, err)
		}
	}
	if n := p.asked.Load(); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
}

func TestKeysChange(t *testing.T) {
	p := newProvider(t)
	clock := now
	v, err := New(Options{JWKS: p.URL + "/keys", Issuer: "https://id.example", Audience: "mail", Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	p.hidden.Store(true)
	token := func(n int) string {
		return p.token(map[string]any{"alg": "EdDSA", "kid": "ed"}, claimsWith(map[string]any{"n": n, "exp": now.Unix() + 100000}))
	}
	ask := func(n int, want error) {
		t.Helper()
		if _, err := v.User(t.Context(), token(n)); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	ask(1, ErrInvalid)
	p.hidden.Store(false)
	ask(2, ErrInvalid) // asked a moment ago
	clock = clock.Add(keysAtMost)
	ask(3, nil)
	p.broken.Store(true)
	clock = clock.Add(keysFor)
	ask(4, nil) // the old keys are better than none
	if n := p.asked.Load(); n != 3 {
		t.Errorf("the keys were asked for %d times", n)
	}
	v, _ = New(Options{JWKS: p.URL + "/keys", Issuer: "https://id.example", Audience: "mail", Now: func() time.Time { return clock }})
	for n := range 2 {
		if _, err := v.User(t.Context(), token(5+n)); err == nil || errors.Is(err, ErrInvalid) {
			t.Errorf("without keys: %v", err)
		}
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	os.WriteFile(file, p.keys(), 0o644)
	v, _ = New(Options{JWKS: file, Issuer: "https://id.example", Audience: "mail", Now: func() time.Time { return clock }})
	ask(9, nil)
}

func TestIntrospection(t *testing.T) {
	p := newProvider(t)
	clock := now
	v, err := New(Options{Introspection: p.URL + "/introspect", ClientID: "peyk", ClientSecret: "s: x", UserClaim: "username", Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	p.answers[canary] = `{"active":true,"username":"alice@example.org","exp":` + fmt.Sprint(now.Unix()+10) + `}`
	p.answers["inactive"] = `{"active":false,"username":"alice@example.org"}`
	p.answers["over"] = `{"active":true,"username":"alice@example.org","exp":1}`
	p.answers["anonymous"] = `{"active":true}`
	for token, want := range map[string]error{canary: nil, "inactive": ErrInvalid, "over": ErrInvalid, "anonymous": ErrInvalid} {
		if _, err := v.User(t.Context(), token); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", token, err, want)
		}
	}
	for _, token := range []string{"huge", "moved", "page", "", "unknown"} {
		if user, err := v.User(t.Context(), token); err == nil || token != "" && errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %q, %v", token, user, err)
		}
	}
	before := p.asked.Load()
	if _, err := v.User(t.Context(), canary); err != nil || p.asked.Load() != before {
		t.Errorf("a token that is known: %v, asked %d times", err, p.asked.Load()-before)
	}
	clock = clock.Add(10 * time.Second)
	if v.User(t.Context(), canary); p.asked.Load() != before+1 {
		t.Error("a token is remembered beyond its end")
	}
	wrong, _ := New(Options{Introspection: p.URL + "/introspect?secret=" + canary, ClientID: "peyk", ClientSecret: canary, Now: func() time.Time { return clock }})
	if _, err := wrong.User(t.Context(), "x"); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("with the wrong secret: %v", err)
	}
	p.Close()
	if _, err := wrong.User(t.Context(), canary); err == nil || errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), canary) {
		t.Errorf("nobody at home: %v", err)
	}
	for _, o := range []Options{{}, {JWKS: "/x"}, {JWKS: "/x", Issuer: "y"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestMessages(t *testing.T) {
	for text, want := range map[string]Message{
		// RFC 7628 §4.1
		"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01": {"user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="},
		"n,,\x01auth=Bearer abc\x01\x01":           {"", "abc"},
		"y,a=a=2Cb=3D,\x01auth=bearer abc\x01\x01": {"a,b=", "abc"},
	} {
		if m, ok := ParseBearer(text); !ok || m != want {
			t.Errorf("%q: %#v, %v", text, m, ok)
		}
	}
	if m, ok := ParseXOAUTH2("user=alice@example.org\x01auth=Bearer ya29.abc\x01\x01"); !ok || m.User != "alice@example.org" || m.Token != "ya29.abc" || fmt.Sprint(m) != m.User || fmt.Sprintf("%#v", m) != m.User {
		t.Errorf("XOAUTH2: %v, %v", m, ok)
	}
	for _, text := range []string{"", "n,,", "n,,\x01\x01", "n,,\x01auth=Bearer \x01\x01", "n,,\x01auth=Basic abc\x01\x01", "n,,\x01auth=Bearer abc\x01", "n,,\x01auth=Bearer a b\x01\x01", "n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
		"p=tls-exporter,,\x01auth=Bearer abc\x01\x01", "n,a=,\x01auth=Bearer abc\x01\x01", "n,a=a=b,\x01auth=Bearer abc\x01\x01", "n,x,\x01auth=Bearer abc\x01\x01", "n,,\x01auth=Bearer abc\x01\x01x", "n,,\x01auth=Bearer " + strings.Repeat("x", MaxToken+1) + "\x01\x01"} {
		if m, ok := ParseBearer(text); ok {
			t.Errorf("%.40q: %#v", text, m)
		}
	}
	for _, text := range []string{"", "user=\x01auth=Bearer abc\x01\x01", "alice\x01auth=Bearer abc\x01\x01", "user=alice\x01\x01", "user=alice auth=Bearer abc\x01\x01"} {
		if m, ok := ParseXOAUTH2(text); ok {
			t.Errorf("%.40q: %#v", text, m)
		}
	}
	v := &Verifier{o: Options{Scope: "a b"}}
	if got := string(v.Challenge("OAUTHBEARER", ErrScope)); got != `{"scope":"a b","status":"insufficient_scope"}` {
		t.Error(got)
	}
	if got := string(v.Challenge("XOAUTH2", ErrInvalid)); got != `{"schemes":"bearer","scope":"a b","status":"401"}` {
		t.Error(got)
	}
}

// FuzzMessages holds that a message that is read has a token fit for a request.
func FuzzMessages(f *testing.F) {
	f.Add("n,a=user@example.com,\x01host=x\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01")
	f.Add("user=alice@example.org\x01auth=Bearer ya29\x01\x01")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (Message, bool){ParseBearer, ParseXOAUTH2} {
			if m, ok := parse(text); ok && (m.Token == "" || len(m.Token) > MaxToken || strings.ContainsAny(m.Token, " \x01\r\n")) {
				t.Fatalf("%q became %q", text, m.Token)
			}
		}
	})
}

// FuzzKeys holds that no key set makes us panic or believe a weak key.
func FuzzKeys(f *testing.F) {
	p := newProvider(f)
	f.Add(string(p.keys()), p.token(map[string]any{"alg": "RS256"}, claimsWith(nil)))
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`, "e30.e30.AAAA")
	f.Fuzz(func(t *testing.T, set, token string) {
		keys, _ := parseKeys([]byte(set))
		signed, signature, header, err := cutToken(token)
		for _, k := range keys {
			if r, ok := k.public.(*rsa.PublicKey); ok && (r.N.BitLen() < minRSA || r.E < 3) {
				t.Fatalf("a key of %d bits", r.N.BitLen())
			}
			if err == nil {
				k.signed(header.Algorithm, signed, signature)
			}
		}
	})
}
