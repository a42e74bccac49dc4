// Package internal_test holds the tests of the structure itself: which package
// may import which, and how long a function may grow.
package internal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// floors is the table of docs/ARCHITECTURE.md: an import may only point down.
var floors = [][]string{
	{"version", "sysexits", "commit", "eventlog"},
	{"address", "status", "header", "mimescan", "envelope", "dsn", "passhash", "casemap", "mailtext", "totp"},
	{"control", "table", "spool", "mailbox", "textindex", "authstate"},
	{"guardconn", "lmtp", "smtpclient", "dovecotauth", "checkpassword", "oauth", "mx", "nameserver"},
	{"daemon"},
	{"smtpd", "imapd", "pop3d", "deliver", "queuerun", "remote", "authd", "authremote", "sendmail", "mailctl"},
}

// Exceptions to the rule, each with its reason.
const (
	programs = 5 // never import one another
	wires    = 3 // no stores: each usable alone
	stores   = 2
)

// testOnly are packages that only tests may import.
var testOnly = []string{"dialog"}

// sameFloor are the edges inside one floor that are meant: an address that
// cannot be parsed has a reply, and a report is made of an envelope and of
// header fields; the text of a message is in its MIME parts, the text index is made of
// mailboxes, and tables name networks as settings do.
var sameFloor = []string{"address status", "dsn envelope", "dsn header", "mailtext mimescan", "textindex mailbox", "table control"}

// confined are modules that only the named packages may import, because the
// rest of the program must not depend on their types.
var confined = map[string][]string{
	"github.com/emersion/go-smtp":         {"smtpd", "remote", "smtpclient", "deliver", "lmtp"},
	"github.com/emersion/go-imap/v2":      {"imapd"},
	"github.com/emersion/go-maildir":      {"mailbox"},
	"github.com/fsnotify/fsnotify":        {"mailbox", "spool", "queuerun", "authd"},
	"github.com/urfave/cli/v2":            {"daemon", "mailctl", "smtpd", "imapd", "pop3d", "deliver", "queuerun", "remote", "authd"},
	"github.com/go-ldap/ldap/v3":          {"authremote"},
	"github.com/jackc/pgx/v5":             {"authremote"},
	"github.com/miekg/dns":                {"mx", "nameserver"},
	"github.com/landlock-lsm/go-landlock": {"daemon"},
	"github.com/go-crypt/crypt":           {"passhash"},
	"github.com/xdg-go/stringprep":        {"passhash"},
	"github.com/xdg-go/scram":             {}, // a client for tests
	"modernc.org/sqlite":                  {"textindex", "authremote"},
	"rsc.io/qr":                           {"mailctl"},
	"pgregory.net/rapid":                  {}, // tests only
}

type listed struct {
	ImportPath string
	Imports    []string
	Module     *struct{ GoMod string }
}

// packages asks the go command for every package of the module.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "peyk/...")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, errs.String())
	}
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p listed
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func floorOf(name string) int {
	for i, floor := range floors {
		if slices.Contains(floor, name) {
			return i
		}
	}
	return -1
}

func TestImportsPointDown(t *testing.T) {
	unused := slices.Clone(sameFloor)
	defer func() {
		if len(unused) > 0 {
			t.Errorf("no package needs these edges any more: %q", unused)
		}
	}()
	for _, p := range packages(t) {
		from, ok := strings.CutPrefix(p.ImportPath, "peyk/internal/")
		if !ok || slices.Contains(testOnly, from) {
			continue
		}
		if floorOf(from) < 0 {
			t.Errorf("package %s stands on no floor: add it to the table here and in docs/ARCHITECTURE.md", from)
			continue
		}
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, "peyk/internal/"); ours {
				checkEdge(t, from, to)
				unused = slices.DeleteFunc(unused, func(edge string) bool { return edge == from+" "+to })
			} else {
				checkModule(t, from, imp)
			}
		}
	}
}

// TestDocumentationShowsTheFloors compares the table of docs/ARCHITECTURE.md
// with the one above, and both with what is there.
func TestDocumentationShowsTheFloors(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| ([0-9]) \w+ \| ([^|]*) \|`).FindAllStringSubmatch(string(text), -1)
	if len(rows) != len(floors)+1 || rows[len(rows)-1][2] != "cmd/*" {
		t.Fatalf("the documentation has %d floors, want %d and cmd/*", len(rows), len(floors))
	}
	for i, floor := range floors {
		if want := strings.Join(floor, ", "); rows[i][1] != fmt.Sprint(i) || rows[i][2] != want {
			t.Errorf("floor %s of the documentation: %s; want %s", rows[i][1], rows[i][2], want)
		}
		for _, name := range floor {
			if _, err := os.Stat(name); err != nil {
				t.Errorf("floor %d: there is no package %s", i, name)
			}
		}
	}
}

func checkEdge(t *testing.T, from, to string) {
	t.Helper()
	a, b := floorOf(from), floorOf(to)
	switch {
	case slices.Contains(testOnly, to):
		t.Errorf("%s imports %s, which is for tests only", from, to)
	case a == b && !slices.Contains(sameFloor, from+" "+to):
		t.Errorf("%s imports %s on its own floor %d", from, to, a)
	case a < b:
		t.Errorf("%s (floor %d) imports %s (floor %d): an import may only point down", from, a, to, b)
	case a == wires && b == stores:
		t.Errorf("%s imports the store %s: a wire must be usable without any", from, to)
	}
}

func checkModule(t *testing.T, from, imp string) {
	t.Helper()
	for module, users := range confined {
		if imp != module && !strings.HasPrefix(imp, module+"/") {
			continue
		}
		if !slices.Contains(users, from) {
			t.Errorf("%s imports %s, which only %v may", from, module, users)
		}
	}
	if floorOf(from) == 0 && strings.Contains(imp, ".") && !strings.HasPrefix(imp, "golang.org/x/sys/") {
		t.Errorf("%s on the ground floor imports %s: standard library and golang.org/x/sys only", from, imp)
	}
}

func TestProgramsDoNotImportOneAnother(t *testing.T) {
	for _, p := range packages(t) {
		if name, ok := strings.CutPrefix(p.ImportPath, "peyk/cmd/"); ok {
			checkMain(t, name, p.Imports)
		}
	}
	for i, from := range floors[programs] {
		for _, to := range floors[programs][i+1:] {
			if slices.Contains(sameFloor, from+" "+to) || slices.Contains(sameFloor, to+" "+from) {
				t.Errorf("the table excuses %s and %s", from, to)
			}
		}
	}
}

// checkMain holds a main to its dozen lines over one program.
func checkMain(t *testing.T, name string, imports []string) {
	t.Helper()
	var ours []string
	for _, imp := range imports {
		if strings.HasPrefix(imp, "peyk/") {
			ours = append(ours, imp)
		}
	}
	if len(ours) != 1 || floorOf(strings.TrimPrefix(ours[0], "peyk/internal/")) != programs {
		t.Errorf("cmd/%s imports %v: one program and nothing else", name, ours)
	}
	src, err := os.ReadFile(filepath.Join("..", "cmd", name, "main.go"))
	if err != nil {
		t.Error(err)
	}
	if n := bytes.Count(src, []byte("\n")); n > 15 {
		t.Errorf("cmd/%s/main.go has %d lines, at most 15 are meant", name, n)
	}
}

// longest is the house limit on a function's lines.
const longest = 80

func TestFunctionsFitOnAScreen(t *testing.T) {
	var lengths []int
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		lengths = append(lengths, functionLengths(t, path)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lengths)
	if median := lengths[len(lengths)/2]; median > 12 {
		t.Errorf("the median function has %d lines, at most 12 are meant", median)
	}
	fmt.Printf("%d functions, median %d lines, p90 %d, longest %d\n", len(lengths), lengths[len(lengths)/2], lengths[len(lengths)*9/10], lengths[len(lengths)-1])
}

func functionLengths(t *testing.T, path string) []int {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		t.Error(err)
		return nil
	}
	var lengths []int
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		n := fset.Position(f.End()).Line - fset.Position(f.Pos()).Line + 1
		if n > longest {
			t.Errorf("%s: %s has %d lines, at most %d are meant", fset.Position(f.Pos()), f.Name.Name, n, longest)
		}
		lengths = append(lengths, n)
	}
	return lengths
}

func TestNoInitAndNoVagueNames(t *testing.T) {
	vague := []string{"util", "utils", "common", "helper", "helpers", "base", "types", "misc"}
	filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			t.Error(err)
			return nil
		}
		if slices.Contains(vague, strings.TrimSuffix(d.Name(), ".go")) {
			t.Errorf("%s: name it after what it holds", path)
		}
		if strings.HasSuffix(path, ".go") {
			if src, _ := os.ReadFile(path); bytes.Contains(src, []byte("\nfunc init()")) {
				t.Errorf("%s has an init function", path)
			}
		}
		return nil
	})
}
