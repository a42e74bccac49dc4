package table

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"

	"peyk/internal/address"
	"peyk/internal/passhash"
)

func TestSetPassword(t *testing.T) {
	u := User{Addr: address.Address{Local: "alice", Domain: "example.org"}, UID: -1, GID: -1, Fields: map[string]string{"scram_sha1": "old", "nologin": ""}}
	before := u.Fields
	if err := u.SetPassword(rand.Reader, "secret", true); err != nil {
		t.Fatal(err)
	}
	line, err := u.format("", "")
	if err != nil {
		t.Fatal(err)
	}
	back, _, err := parseUser("example.org", []byte(line))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []passhash.SCRAM{passhash.SHA256(), passhash.SHA1()} {
		k, err := s.Parse(back.Fields[SCRAMField(s)])
		if err != nil {
			t.Fatalf("%s: %v", SCRAMField(s), err)
		}
		if again, err := s.Derive("secret", k.Salt, k.Iterations); err != nil || again.String() != k.String() {
			t.Errorf("%s: other keys than those of the password", SCRAMField(s))
		}
	}
	if _, kept := back.Fields["nologin"]; !kept || before["scram_sha1"] != "old" {
		t.Errorf("fields %v, before %v", back.Fields, before)
	}
	for password, keys := range map[string]bool{"a\u0007b": true, "other": false} {
		if err := u.SetPassword(rand.Reader, password, keys); err != nil {
			t.Fatal(err)
		}
		if u.Fields["scram_sha256"] != "" || u.Fields["scram_sha1"] != "" {
			t.Errorf("%q: keys are left: %v", password, u.Fields)
		}
	}
	if err := u.SetPassword(rand.Reader, "", true); err == nil {
		t.Error("an empty password was set")
	}
}

// mailctl config check tells of what nobody could log in with, without its
// text, and mail goes on.
func TestSecretsThatCannotBeUsed(t *testing.T) {
	users := parseUsers("users", "example.org", []byte("alice:{ROT13}canary\nbob:{PLAIN}x::::::scram_sha256=1,canary\ncarol:{PLAIN}x::::::scram_sha1=canary\ndave:\n"))
	errs := users.all()
	if len(users.list) != 4 || len(errs) != 3 {
		t.Fatalf("%d users, problems %v", len(users.list), errs)
	}
	for i, err := range errs {
		if strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), fmt.Sprint("users:", i+1, ":")) {
			t.Errorf("problem %d: %v", i, err)
		}
	}
	if err := users.doubt("alice"); err != nil {
		t.Errorf("mail for alice: %v", err)
	}
}
