package table

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const print1 = "AB:CD:EF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:AB:CD:EF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC"

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "domains/example.org"), 0o755)
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("domains/example.org/certificates", "# phones\nAlice\tsha256="+print1+"\n\nbob subject=CN=Bob B, x,O=Ex\\, A\nzoe@example.org  name=zoe z\n")
	put("certificates", "alice@example.org name=alice\n")
	d := OpenDomains(dir)
	list, err := d.Certificates("example.org")
	if err != nil || len(list) != 3 {
		t.Fatalf("%v, %v", list, err)
	}
	want := []string{"alice@example.org sha256=" + strings.ToLower(strings.ReplaceAll(print1, ":", "")),
		"bob@example.org subject=CN=Bob B, x,O=Ex\\, A", "zoe@example.org name=zoe z"}
	for i, c := range list {
		if c.String() != want[i] {
			t.Errorf("line %d = %s, want %s", i, c, want[i])
		}
	}
	if list, err := d.Certificates(""); err != nil || len(list) != 1 || list[0].User.String() != "alice@example.org" {
		t.Errorf("of all domains: %v, %v", list, err)
	}
	if list, err := d.Certificates("../example.org"); list != nil || err != nil {
		t.Errorf("a path for a domain: %v, %v", list, err)
	}
	if errs := d.Check(); len(errs) != 0 {
		t.Errorf("Check = %v", errs)
	}
	put("domains/example.org/certificates", "alice\nalice sha256=12\nalice md5=x\nalice name=\na/b name=x\nalice@other.example name=x\nbob name=bob\n")
	put("certificates", "alice name=alice\n")
	if list, _ := d.Certificates("example.org"); len(list) != 1 {
		t.Errorf("of broken lines: %v", list)
	}
	if errs := d.Check(); len(errs) != 7 {
		t.Errorf("Check finds %d problems: %v", len(errs), errs)
	}
}

// FuzzCertificates holds that a line that is read is written as it was read.
func FuzzCertificates(f *testing.F) {
	f.Add("alice@example.org sha256=" + print1)
	f.Add("bob@example.org subject=CN=x")
	f.Fuzz(func(t *testing.T, line string) {
		c, err := parseCertificate("", []byte(line))
		if err != nil {
			return
		}
		again, err := parseCertificate("", []byte(c.String()))
		if err != nil || again != c {
			t.Fatalf("%q became %v, then %v, %v", line, c, again, err)
		}
	})
}
