package mailctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"peyk/internal/sysexits"
)

func TestACL(t *testing.T) {
	s := newSession(t)
	s.must("domain", "add", "example.org")
	s.must("user", "add", "alice@example.org")
	mail := filepath.Join(s.dir, "mail", "example.org", "alice", "Maildir")
	for _, dir := range []string{"cur", "new", "tmp", ".Work/cur", ".Work/new", ".Work/tmp"} {
		if err := os.MkdirAll(filepath.Join(mail, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.must("acl", "set", "alice@example.org", "Work", "bob@example.org", "lrd")
	s.must("acl", "set", "alice@example.org", "Work", "-eve@example.org", "r")
	s.must("acl", "set", "alice@example.org", "INBOX", "$team", "l")
	if out := s.must("acl", "show", "alice@example.org", "Work"); out != "Work\tuser=bob@example.org\tlrte\nWork\t-user=eve@example.org\tr\n" {
		t.Errorf("show prints %q", out)
	}
	list := filepath.Join(s.dir, "mail", "peyk-shared")
	const want = "alice@example.org\tgroup=team\nalice@example.org\tuser=bob@example.org\n"
	if text, err := os.ReadFile(list); string(text) != want {
		t.Errorf("the list is %q, %v", text, err)
	}
	if err := os.WriteFile(list, []byte("nonsense\nnobody@example.org\tanyone\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must("acl", "rebuild")
	if text, err := os.ReadFile(list); string(text) != want {
		t.Errorf("the list is rebuilt as %q, %v", text, err)
	}
	s.must("acl", "remove", "alice@example.org", "INBOX", "$team")
	if out := s.must("acl", "show", "-json", "alice@example.org"); strings.Contains(out, "team") || !strings.Contains(out, `"rights":"lrte"`) {
		t.Errorf("show prints %q", out)
	}
	if _, err := os.Stat(filepath.Join(mail, "dovecot-acl")); !os.IsNotExist(err) {
		t.Errorf("an empty list is a file: %v", err)
	}
	for _, args := range [][]string{{"acl", "set", "alice@example.org", "Work", "bob", "lQ"}, {"acl", "set", "alice@example.org"},
		{"acl", "remove", "alice@example.org", "Work", "-"}, {"acl", "show"}} {
		if status, _, _ := s.do("", args...); status != sysexits.Usage {
			t.Errorf("%q exits %d", args, status)
		}
	}
	if status, _, errs := s.do("", "acl", "set", "alice@example.org", "Nowhere", "bob", "l"); status == sysexits.OK {
		t.Errorf("a folder that is not there: %s", errs)
	}
}
