package passhash

import (
	"bytes"
	"crypto/rand"
	"errors"
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
