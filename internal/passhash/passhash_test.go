package passhash

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// Hashes of "secret" that doveadm pw and crypt(3) made.
var foreign = []string{
	"{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$Xhcm8tOxd6y6VIq0qA5v7A$Th5S/6FMyon3MFeS7Km69odEwmrlZ7alWxoB1ac45Mo",
	"$argon2id$v=19$m=65536,t=3,p=1$Xhcm8tOxd6y6VIq0qA5v7A$Th5S/6FMyon3MFeS7Km69odEwmrlZ7alWxoB1ac45Mo",
	"{BLF-CRYPT}$2y$05$spQ70Hx8jOZ8RkeaZKbBOOiElENoYu5uHy5t/PrGoju7N5Z4SPi2S",
	"{CRYPT}$2y$05$X0X2ZEdUZKWao6bEhK1zteKOJPEVcncva7BqMrfzGY7zbi2Q6QN5q",
	"$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
	"{SHA512-CRYPT}$6$myNzh8Iiqbzfmrmd$dEsmzVGY2s.5X8Be5vOrqiHQqGCsBzhjZcHk2f4YSuZ2/7RA8cHT2ag2nV6WGEM/5dIRSCh.8nSMOxcu2vRzm/",
	"{SHA256-CRYPT}$5$xl3YwCzSvIqLwDrH$ORb1z15RJEKcnDPAqvFk72ee.Qgh3kBD4vk3AhIA562",
	"$5$rounds=1000$abcdefgh$XIppta5rT8zJUu4vAOKQXrwq9uY4Ijlz6VjyOmkx5i4",
	"{PBKDF2}$1$t06Canjtbfff1x9M$5000$cf0a9eb81c4eb4b97ad4ba3322a477cf9c075206",
	"{SSHA512}IQWXsPqOq2AxnFBImmAcwaI7L+XhTb4Kt5NJG8slkYRM1+zDNFhCkEsWBtjphQWuJ6Piwmj0XLc0/lTkLTpi0WMSM6o=",
	"{ssha256}yeN4bR2CmC61Ey6VGq0A6q99dFnIh/Mkzpl9r8nQLnldD2xu",
	"{SSHA512.HEX}c998d2cf6307f5b78390bda3e2e7cbce6c5cf46d180c8eae4e75c5b1601d30356a8283c420af2954e455398a826395e7a6b604191f38ca9d4d98956019b1c677b0060a30",
	"{PLAIN}secret",
	"{SCRAM-SHA-1}4096,Y4S/mlXruWsnCN+AsdeL0A==,jk0z+E2KH+E4r5FF+BKsDQCnHQQ=,Jc6KwiTX5FkWR/ywsUZRvInaA+w=",
	"{SCRAM-SHA-256}4096,pqX8qqLtVdXG2q12z8AguQ==,ybUkGjWR/BXSQfLDCg9JPz3WXX2ujWcgnYIk+2FUojs=,gWdaFJM7Kc8Kn3VwafcqnAN6mp6Cwy4lbOaQD0cfFxk=",
	"{SCRAM-SHA-256.HEX}343039362c3431414f6b6f41794a756b314c6d51347a3639632b673d3d2c3959433130656f63786b483149642f72576679436d4c484152556e48724e4f4668645678796850346e6e673d2c30596e577a5345396f6c7931764331544772367347777373763942586e476d614775355868466d654f44553d",
	"{SSHA}zs5Gm38h9xERdk4rzEimCMNEJGypk6hv", "{SSHA.HEX}b8a3174bf1e5905bdae5e70bc78e2fcda1cac32ae90e0de8", "{SMD5}mHQeNhocg11m7VixxenLNbnMHlQ=",
	"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "{SHA1}5en6G6MezRroT3XKqkdPOmY/BfQ=", "{SHA}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4",
	"{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==", "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69",
	"{MD5}$1$gKedzSB0$XsRlfFM.JnwhpEK0jCxWf1", "{MD5-CRYPT}$1$WAjOvwyK$.5WSXmUzuN/f63c69fde3/", "$1$WAjOvwyK$.5WSXmUzuN/f63c69fde3/",
	"{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$15JF9qmZDPcHyG0GxqgIzw$HPuU7Q4ZLr3kL5NHbFjfB0v+VU9V4tBsePwp1ViMpMo",
	"{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
	"{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg==",
	"{CRYPT}$2y$05$v8pkeXfbC8P.ib6DXRXmIezlaPlwQvH6gQN2DI8xw1i13Ajb1/cXe", "{CLEAR}secret",
}

// What doveadm(1) makes on this machine, with salts of today.
func TestVerifyReadsWhatDoveadmMakes(t *testing.T) {
	doveadm, err := exec.LookPath("doveadm")
	if err != nil {
		t.Skip("no doveadm on this machine")
	}
	for _, scheme := range []string{"ARGON2ID", "ARGON2I", "BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "MD5", "CRYPT", "PBKDF2",
		"SCRAM-SHA-1", "SCRAM-SHA-256", "SSHA", "SSHA256", "SSHA512", "SSHA256.HEX", "SMD5", "SHA", "SHA1", "SHA256", "SHA512", "SHA512.hex",
		"LDAP-MD5", "PLAIN-MD5", "PLAIN", "CLEAR", "CLEARTEXT", "ARGON2ID.B64", "SHA512-CRYPT.HEX"} {
		out, err := exec.Command(doveadm, "-c", "/dev/null", "pw", "-s", scheme, "-p", "secret").Output()
		hash := strings.TrimSpace(string(out))
		if err != nil {
			t.Logf("doveadm cannot make %s: %v", scheme, err)
			continue
		}
		if ok, err := Verify(hash, "secret"); !ok || err != nil {
			t.Errorf("Verify(%q, right) = %v, %v", hash, ok, err)
		}
		if ok, err := Verify(hash, "Secret"); ok || err != nil {
			t.Errorf("Verify(%q, wrong) = %v, %v", hash, ok, err)
		}
	}
}

// The examples of RFC 5802 §5 and RFC 7677 §3: what the server keeps must let
// the published proof in and give the published signature.
func TestSCRAMExamples(t *testing.T) {
	for _, c := range []struct {
		scram                           SCRAM
		salt, message, proof, signature string
	}{
		{SHA1(), "QSXCR+Q6sek8bf92", "n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
			"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ="},
		{SHA256(), "W22ZaJ0SNY7soEsUEjb6gQ==", "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
			"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
	} {
		salt, _ := base64.StdEncoding.DecodeString(c.salt)
		k, err := c.scram.Derive("pencil", salt, 4096)
		if err != nil {
			t.Fatal(err)
		}
		proof, _ := base64.StdEncoding.DecodeString(c.proof)
		signature := c.scram.HMAC(k.StoredKey, c.message)
		subtle.XORBytes(proof, proof, signature)
		if !bytes.Equal(c.scram.Sum(proof), k.StoredKey) {
			t.Errorf("%v: the published proof is refused", c.scram)
		}
		if got := base64.StdEncoding.EncodeToString(c.scram.HMAC(k.ServerKey, c.message)); got != c.signature {
			t.Errorf("%v: signature %s, want %s", c.scram, got, c.signature)
		}
		again, err := c.scram.Parse(k.String())
		if err != nil || again.String() != k.String() {
			t.Errorf("%v: %v does not survive a round trip: %v", c.scram, k, err)
		}
	}
}

// RFC 4013 §3: what looks alike gives the same keys, and what no client could
// send gives none.
func TestSCRAMPreparesPasswords(t *testing.T) {
	salt := []byte("saltsaltsalt")
	key := func(p string) string {
		k, err := SHA256().Derive(p, salt, 4096)
		if err != nil {
			return err.Error()
		}
		return k.String()
	}
	if key("I\u00adX") != key("IX") || key("\u2168") != key("IX") || key("\u00aa") != key("a") || key("user") == key("USER") {
		t.Error("the examples of RFC 4013 §3 differ")
	}
	for _, p := range []string{"\u0007", "\u0627\u0031", "\U0001fae8", "\u00ad", "a\xffb"} {
		if key(p) != ErrSASLprep.Error() {
			t.Errorf("%q: %v", p, key(p))
		}
		if ok, err := (scramHash{SHA256(), Keys{4096, salt, nil, nil}}).matches(p); ok || err != nil {
			t.Errorf("%q against SCRAM keys = %v, %v", p, ok, err)
		}
	}
}

// FuzzSCRAMKeys holds that keys that are read are within the limits and
// written as they were read.
func FuzzSCRAMKeys(f *testing.F) {
	f.Add("4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := SHA256().Parse(text)
		if err != nil {
			return
		}
		again, err := SHA256().Parse(k.String())
		if err != nil || again.String() != k.String() || k.Iterations < 4096 || k.Iterations > maxIterations || len(k.Salt) > maxSCRAMSalt {
			t.Fatalf("%q became %v, %v", text, again, err)
		}
	})
}

func TestVerifyReadsHashesOfOtherPrograms(t *testing.T) {
	for _, hash := range foreign {
		if ok, err := Verify(hash, "secret"); !ok || err != nil {
			t.Errorf("Verify(%.16s…, right) = %v, %v", hash, ok, err)
		}
		for _, wrong := range []string{"Secret", "secrets"} {
			if ok, err := Verify(hash, wrong); ok || err != nil {
				t.Errorf("Verify(%.16s…, %q) = %v, %v", hash, wrong, ok, err)
			}
		}
	}
}

func TestMakeVerifies(t *testing.T) {
	hash, err := Make(rand.Reader, "گذرواژه")
	if err != nil || !strings.HasPrefix(hash, "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("Make = %q, %v", hash, err)
	}
	if ok, err := Verify(hash, "گذرواژه"); !ok || err != nil {
		t.Fatalf("Verify = %v, %v", ok, err)
	}
	if _, err := Make(bytes.NewReader(nil), "x"); err == nil {
		t.Fatal("Make without randomness succeeded")
	}
}

func TestPasswordsThatNobodyMayHave(t *testing.T) {
	for _, p := range []string{"", "a\x00b", strings.Repeat("x", MaxPassword+1), strings.Repeat("x", 1<<20)} {
		if ok, err := Verify("{PLAIN}a", p); ok || !errors.Is(err, ErrPassword) {
			t.Errorf("Verify(%.10q) = %v, %v", p, ok, err)
		}
		if _, err := Make(rand.Reader, p); !errors.Is(err, ErrPassword) {
			t.Errorf("Make(%.10q) = %v", p, err)
		}
	}
}

// bcrypt would accept whatever follows the 72nd byte.
func TestBcryptRefusesWhatItCannotSee(t *testing.T) {
	const hash = "{BLF-CRYPT}$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
	if ok, _ := Verify(hash, "secret"+strings.Repeat("x", 100)); ok {
		t.Fatal("a password longer than 72 bytes was accepted")
	}
}

func TestUselessHashesAreErrorsWithoutTheirText(t *testing.T) {
	for _, hash := range []string{"", "{", "{}canary", "{canary", "{MD5}canary", "{ARGON2ID}canary", "{ARGON2ID}$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0",
		"{ARGON2ID}$argon2id$v=19$m=1024,t=1,p=300$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0", "{BLF-CRYPT}canary", "{BLF-CRYPT}$2y$30$spQ70Hx8jOZ8RkeaZKbBOOiElENoYu5uHy5t/PrGoju7N5Z4SPi2S",
		"{SHA512-CRYPT}$6$rounds=999999999$canary$canary", "{SHA512-CRYPT}canary", "{PBKDF2}$1$canary$5000$zz", "{SSHA512}canary", "{SSHA512.ROT13}canary", "canary", "{PLAIN}", "$6$canary"} {
		ok, err := Verify(hash, "secret")
		if ok || err == nil {
			t.Errorf("Verify(%q) = %v, %v", hash, ok, err)
			continue
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error for %q shows it: %v", hash, err)
		}
	}
}

// FuzzParse holds that reading a hash never panics, never costs more than the
// limits allow, and never shows the hash. The comparison itself is left out:
// its cost is what the limits bound.
func FuzzParse(f *testing.F) {
	for _, hash := range foreign {
		f.Add(hash)
	}
	f.Add("{SHA512-CRYPT}$6$rounds=1$$")
	f.Fuzz(func(t *testing.T, hash string) {
		v, err := parse(hash)
		if err == nil && v == nil {
			t.Fatal("neither a verifier nor an error")
		}
		if a, ok := v.(argon); ok && err == nil {
			again, err := parse(a.String())
			if err != nil || again.(argon).String() != a.String() {
				t.Fatalf("%q does not survive a round trip", hash)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	hash, _ := Make(rand.Reader, "secret")
	b.ReportAllocs()
	for b.Loop() {
		Verify(hash, "wrong")
	}
}
