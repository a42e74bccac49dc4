package e2e_test

import (
	"crypto/sha256"
	"testing"

	"peyk/test/corpus"
	"peyk/test/sandbox"
)

// Every message of the corpus goes in by SMTP, by DATA and by BDAT in turn,
// and comes out by IMAP and by POP3 with the same bytes behind the trace.
func TestCorpusComesOutAsItWentIn(t *testing.T) {
	s := sandbox.Start(t)
	smtp, err := hello(s.Env["PEYK_SMTP"])
	if err != nil {
		t.Fatal(err)
	}
	defer smtp.Close()
	user := s.Env["PEYK_USER2"] // alice has the welcome message
	names := map[[32]byte]string{}
	left := map[string]int{}
	n := 0
	for m := range corpus.Messages() {
		chunk := 0
		if n%2 == 1 {
			chunk = 1 + len(m.Text)/3
		}
		if _, err := smtp.send("sender@example.net", user, m.Text, chunk); err != nil {
			t.Fatalf("%s: %v", m.Name, err)
		}
		names[sha256.Sum256(m.Text)] = m.Name
		left[string(hash(m.Text))]++
		n++
	}
	s.Eventually("all delivered", func() bool { return len(sandbox.Mail(s.Env["PEYK_MAILDIR2"])) == n })

	byIMAP := map[string]int{}
	for _, body := range imapBodies(t, imapLogin(t, s, 2)) {
		byIMAP[string(hash(untraced(t, body)))]++
	}
	compare(t, "IMAP", left, byIMAP, names)

	pop := popLogin(t, s, 2)
	byPOP := map[string]int{}
	for i := 1; i <= n; i++ {
		byPOP[string(hash(untraced(t, pop.popBody(t, i))))]++
	}
	compare(t, "POP3", left, byPOP, names)
}

func hash(b []byte) []byte {
	h := sha256.Sum256(b)
	return h[:]
}

func compare(t *testing.T, by string, want, got map[string]int, names map[[32]byte]string) {
	t.Helper()
	for h, n := range want {
		if got[h] != n {
			t.Errorf("by %s: %s came out %d times unchanged, want %d", by, names[[32]byte([]byte(h))], got[h], n)
		}
	}
	total := 0
	for _, n := range got {
		total += n
	}
	if total < 300 {
		t.Errorf("by %s: only %d messages", by, total)
	}
}
