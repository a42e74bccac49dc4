package table

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"peyk/internal/address"
	"peyk/internal/status"
)

const aliasesFile = `# aliases of example.org
Postmaster: alice
info:	alice,
	bob@example.org ,   # is not a comment here
# a comment between
    carol@Elsewhere.Example
"john doe": bob
`

func TestAliasesSyntax(t *testing.T) {
	dir := tree(t, map[string]string{
		"domains/example.org/aliases": "# head\nPostmaster: alice\ninfo:\talice,\n\tbob@example.org ,\n# between\n\n    carol@Elsewhere.Example\n\"john doe\": bob\nme@example.org: \\me, \"a b\"@x.example\n",
		"domains/example.org/users":   "alice:x\nbob:x\nme:x\n",
	})
	d := OpenDomains(dir)
	for name, want := range map[string]string{
		"postmaster@example.org":   "alice@example.org",
		"INFO@example.org":         "alice@example.org bob@example.org carol@elsewhere.example",
		`"john doe"@example.org`:   "bob@example.org",
		"me@example.org":           `me@example.org "a b"@x.example`,
		"nobody@example.org":       "",
		"postmaster@other.example": "postmaster@other.example",
	} {
		got, err := d.Resolve(addr(t, name), "+", nil)
		if err != nil || list(got) != want {
			t.Errorf("Resolve(%s) = %q, %v; want %q", name, list(got), err, want)
		}
	}
	all, err := d.Aliases("example.org")
	if err != nil || len(all) != 4 || all[1].Line != 3 || len(all[1].Targets) != 3 {
		t.Errorf("Aliases = %+v, %v", all, err)
	}
	if errs := d.Check(); len(errs) != 0 {
		t.Errorf("Check = %v", errs)
	}
}

func TestResolve(t *testing.T) {
	dir := tree(t, map[string]string{
		"domains/a.example/users":   "alice:x\nbob:x\n",
		"domains/a.example/aliases": "alice+sales: sales@far.example\nself: self\nbob: bob, copy@far.example\nx: y\ny: x\nalice-too: alice+detail\ndead: gone\nhalf: gone, alice\nall: alice, bob, info\ninfo: alice\nexact: \\bob\ncross: x@b.example\n",
		"domains/b.example/users":   "x:x\n",
		"domains/b.example/aliases": "*: alice@a.example\nnone: \\none\n",
		"domains/c.example/aliases": "*: ghost\n",
		"domains/d.example/aliases": "*: everybody@far.example\n",
		"domains/d.example/users":   "dora:x\n",
	})
	d := OpenDomains(dir)
	for name, want := range map[string]string{
		"alice@a.example":           "alice@a.example",
		"Alice+Detail@a.example":    "Alice+Detail@a.example",
		"alice+sales@a.example":     "sales@far.example",
		"alice+SALES@a.example":     "sales@far.example",
		"info+x@a.example":          "alice@a.example",
		"list@a.example":            "",
		"+x@a.example":              "",
		"self@a.example":            "",
		"bob@a.example":             "bob@a.example copy@far.example",
		"x@a.example":               "",
		"alice-too@a.example":       "alice+detail@a.example",
		"dead@a.example":            "",
		"half@a.example":            "alice@a.example gone@a.example",
		"all@a.example":             "alice@a.example bob@a.example copy@far.example",
		"exact@a.example":           "bob@a.example",
		"cross@a.example":           "x@b.example",
		"anyone@b.example":          "alice@a.example",
		"none@b.example":            "",
		"*@b.example":               "alice@a.example",
		"x@c.example":               "",
		"dora@d.example":            "dora@d.example",
		"dora+a/b@d.example":        "dora+a/b@d.example",
		"nora@d.example":            "everybody@far.example",
		"u%evil@a.example":          "",
		"evil!u@a.example":          "",
		`"u@far.example"@a.example`: "",
	} {
		got, err := d.Resolve(addr(t, name), "+", nil)
		if err != nil || list(got) != want {
			t.Errorf("Resolve(%s) = %q, %v; want %q", name, list(got), err, want)
		}
	}
	if got, err := d.Resolve(addr(t, "alice+x@a.example"), "", nil); len(got) != 0 || err != nil {
		t.Errorf("without a separator alice+x = %v, %v", got, err)
	}
}

func TestResolveAsksWhoExists(t *testing.T) {
	dir := tree(t, map[string]string{"domains/a.example/aliases": "info: remote-user\n"})
	asked := ""
	got, err := OpenDomains(dir).Resolve(addr(t, "info@a.example"), "+", func(a address.Address) (bool, error) {
		asked += a.Local + " "
		return a.Local == "remote-user", nil
	})
	if err != nil || list(got) != "remote-user@a.example" || asked != "remote-user " {
		t.Fatalf("Resolve = %v, %v; asked %q", got, err, asked)
	}
	down := status.New(451, "4.3.0", "down")
	if _, err := OpenDomains(dir).Resolve(addr(t, "x@a.example"), "+", func(address.Address) (bool, error) { return false, down }); err != down {
		t.Fatalf("err = %v", err)
	}
}

func TestIncludes(t *testing.T) {
	dir := tree(t, map[string]string{
		"members": "# members\nalice, bob@far.example\n\ncarol@far.example\n",
		"bad":     "alice\n|/bin/sh\n",
		"nested":  "alice\n:include:/etc/passwd\n",
		"open":    "alice\n",
	})
	os.Chmod(filepath.Join(dir, "open"), 0o666)
	write(t, filepath.Join(dir, "domains/a.example/users"), "alice:x\n")
	write(t, filepath.Join(dir, "domains/a.example/aliases"), fmt.Sprintf(
		"list: :include:%[1]s/members, dora@far.example\nquoted: \":include:%[1]s/members\"\nbad: :include:%[1]s/bad\nnested: :include:%[1]s/nested\nopen: :include:%[1]s/open\nmissing: :include:%[1]s/missing\ndots: :include:%[1]s/../x\nrelative: :include:members\nok: alice\n", dir))
	d := OpenDomains(dir)
	for _, name := range []string{"bad", "nested", "open", "missing", "dots", "relative"} {
		if got, err := d.Resolve(addr(t, name+"@a.example"), "", nil); err == nil || !status.Of(err).Temporary() {
			t.Errorf("%s = %v, %v; want a temporary failure", name, got, err)
		}
	}
	for name, want := range map[string]string{
		"list":   "alice@a.example bob@far.example carol@far.example dora@far.example",
		"quoted": "alice@a.example bob@far.example carol@far.example",
		"ok":     "alice@a.example",
	} {
		if got, err := d.Resolve(addr(t, name+"@a.example"), "", nil); err != nil || list(got) != want {
			t.Errorf("%s = %q, %v", name, list(got), err)
		}
	}
}

// Twenty levels that double would be 2^20 targets if each were followed.
func TestFanOutIsBounded(t *testing.T) {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, "a%d: a%d, b%d\nb%d: a%d, b%d\n", i, i+1, i+1, i, i+1, i+1)
	}
	b.WriteString("a20: one@far.example\nb20: two@far.example\nmany: ")
	for i := range 1 << 12 {
		fmt.Fprintf(&b, "u%d@far.example,\n  ", i)
	}
	b.WriteString("last\ndeep0: deep1\n")
	for i := range 100 {
		fmt.Fprintf(&b, "deep%d: deep%d\n", i+1, i+2)
	}
	b.WriteString("deep101: one@far.example\n")
	d := OpenDomains(tree(t, map[string]string{"domains/a.example/aliases": b.String()}))
	got, err := d.Resolve(addr(t, "a0@a.example"), "+", nil)
	if err != nil || list(got) != "one@far.example two@far.example" {
		t.Fatalf("fan-out = %q, %v", list(got), err)
	}
	for _, name := range []string{"many", "deep0"} {
		got, err := d.Resolve(addr(t, name+"@a.example"), "+", nil)
		if err == nil || !status.Of(err).Temporary() {
			t.Errorf("%s = %d results, %v; want a temporary failure", name, len(got), err)
		}
	}
	if got, err := d.Resolve(addr(t, "deep60@a.example"), "+", nil); err != nil || len(got) != 1 {
		t.Errorf("deep60 = %v, %v", got, err)
	}
}

// FuzzAliases holds that any file is read without a panic, that whatever is
// understood resolves within the limits, and that an entry which is written
// again means the same.
func FuzzAliases(f *testing.F) {
	f.Add(aliasesFile)
	f.Add("a: b\nb: a\n*: a\n")
	f.Add("\"x:y\": z, \"|x\"\n :include:/etc/passwd")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		parsed := parseAliases("aliases", "a.example", []byte(text))
		for _, e := range parsed.list {
			line := quotedName(address.Address{Local: e.Name}) + ": " + strings.Join(e.Targets, ", ")
			again, err := parseAlias("a.example", line)
			if err != nil || again.Name != e.Name || fmt.Sprint(again.targets) != fmt.Sprint(e.targets) {
				t.Fatalf("%q → %q: %+v, %v", text, line, again, err)
			}
		}
	})
}
