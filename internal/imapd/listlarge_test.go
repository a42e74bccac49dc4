package imapd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// makeFolders makes empty folders as another program would.
func makeFolders(t testing.TB, root string, names ...string) {
	t.Helper()
	for _, name := range names {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(root, name, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestListSurvivesNames: folders on disk whose names cannot be used neither
// break a LIST nor hide the others.
func TestListSurvivesNames(t *testing.T) {
	ts := startServer(t, map[string]string{"imap-plaintext-login": "127.0.0.0/8"})
	root := filepath.Join(ts.dir, "alice")
	makeFolders(t, root, ".", ".Good", ".a..b", "..", ".bad.", ".\xff\xfe", ".&bad", ".&AAA-", ".new\nline", ".tab\t", ".inbox", ".ctl\x7f",
		".quote\"", ".back\\slash", ".star*", ".per%cent", ".Good.Sub", ".\u202eevil", "."+strings.Repeat("x", 254), ".Raw Ünïcode", strings.Repeat(".d", 100))
	if err := os.Symlink("/", filepath.Join(root, ".link")); err != nil {
		t.Fatal(err)
	}
	c := sharer(t, ts, "alice secret")
	for _, command := range []string{`LIST "" *`, `LIST "" * RETURN (STATUS (MESSAGES) MYRIGHTS METADATA (/private/comment))`, `LSUB "" *`, `LIST (SUBSCRIBED RECURSIVEMATCH) "" *`} {
		lines := c.must(command)
		if strings.HasPrefix(command, "LSUB") || strings.Contains(command, "SUBSCRIBED") {
			continue
		}
		all := strings.Join(lines, "\n")
		for _, name := range []string{" INBOX", " Good", " Good.Sub", `"quote\""`, `"back\\slash"`, `"star*"`, `"per%cent"`, "Raw &ANw-n&AO8-code"} {
			if !strings.Contains(all, name) {
				t.Errorf("%s does not show %s:\n%s", command, name, all)
			}
		}
		if strings.Contains(all, "link") || strings.Contains(all, "evil") || strings.Contains(all, "\xff") {
			t.Errorf("%s shows what is no folder:\n%s", command, all)
		}
	}
}

// TestMailboxNamesAtTheLimits: names that are too long or too deep are
// refused in words, and the connection lives on.
func TestMailboxNamesAtTheLimits(t *testing.T) {
	ts := startServer(t, map[string]string{"imap-plaintext-login": "127.0.0.0/8"})
	c := sharer(t, ts, "alice secret")
	for name, works := range map[string]bool{
		strings.Repeat("x", 240):                        true,
		strings.Repeat("x", 241):                        false,
		strings.Repeat("x", 255):                        false,
		strings.Repeat("x", 1024):                       false,
		strings.Repeat("a.", 31) + "a":                  true,
		strings.Repeat("a.", 32) + "a":                  false,
		strings.Repeat("a.", 999) + "a":                 false,
		"user/alice/" + strings.Repeat("a/", 999) + "a": false,
		"user/" + strings.Repeat("x", 1024) + "/a":      false,
	} {
		for _, command := range []string{"CREATE ", "RENAME there ", "SUBSCRIBE ", "SELECT ", "DELETE "} {
			if command == "RENAME there " && works {
				continue
			}
			tagged, _ := c.do(command + name)
			if ok := strings.HasPrefix(tagged, "OK"); ok != works && !(command == "SUBSCRIBE " && strings.HasPrefix(name, "user/")) || strings.HasPrefix(tagged, "BAD") {
				t.Errorf("%s%.20s… of %d octets: %s", command, name, len(name), tagged)
			}
		}
	}
	c.must("NOOP")
}

// TestManyFolders: each of many folders is listed once.
func TestManyFolders(t *testing.T) {
	ts := startServer(t, map[string]string{"imap-plaintext-login": "127.0.0.0/8"})
	c := sharer(t, ts, "alice secret")
	var names []string
	for i := range 1_000 {
		names = append(names, fmt.Sprintf(".A%02d.B%02d", i/10, i%10))
	}
	makeFolders(t, filepath.Join(ts.dir, "alice"), names...)
	for command, want := range map[string]int{`LIST "" *`: 1_101, `LIST "" %`: 101, `LIST "" A50.*`: 10, `LIST "" *09`: 101} {
		if got := len(c.must(command)) - 1; got != want {
			t.Errorf("%s: %d lines, want %d", command, got, want)
		}
	}
}
