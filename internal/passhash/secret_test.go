package passhash

import (
	"crypto/rand"
	"strings"
	"testing"
)

func TestSecret(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		s, err := NewSecret(rand.Reader, 5)
		if err != nil || len(s) != 24 || seen[s] {
			t.Fatalf("%q: %v", s, err)
		}
		seen[s] = true
		plain, ok := PlainSecret(" "+strings.ToUpper(s), 5)
		if !ok || plain != strings.ReplaceAll(s, "-", "") {
			t.Fatalf("%q is read as %q, %v", s, plain, ok)
		}
		hash, err := MakeSalted(rand.Reader, plain)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := Verify(hash, plain); !ok || err != nil {
			t.Fatalf("%s: %v, %v", hash, ok, err)
		}
		if ok, err := Verify(hash, plain[1:]+"a"); ok || err != nil {
			t.Fatalf("another secret: %v, %v", ok, err)
		}
	}
	for _, bad := range []string{"", "abcd", "abcd-efgh-ijkm-npqr-stu1", "abcd-efgh-ijkm-npqr-stuv-wxyz", strings.Repeat("-", 4000)} {
		if _, ok := PlainSecret(bad, 5); ok {
			t.Errorf("%q was taken for a secret", bad)
		}
	}
}
