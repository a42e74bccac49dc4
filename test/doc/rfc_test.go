package doc_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A row of docs/rfc.tsv: number, title, status, package, test, note.
type row struct {
	number, title, status, pkg, test, note string
}

func rfcTable(t *testing.T) map[string]row {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "rfc.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for i, line := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 6 {
			t.Errorf("docs/rfc.tsv:%d: %d fields, want 6", i+1, len(f))
			continue
		}
		if _, twice := rows[f[0]]; twice {
			t.Errorf("docs/rfc.tsv:%d: RFC %s stands there twice", i+1, f[0])
		}
		rows[f[0]] = row{f[0], f[1], f[2], f[3], f[4], f[5]}
	}
	return rows
}

var cited = regexp.MustCompile(`RFC[ -]?(\d{3,5})`)

func TestCodeCitesOnlyListedRFCs(t *testing.T) {
	rows := rfcTable(t)
	for _, dir := range []string{"internal", "cmd"} {
		sources(t, dir, func(path, text string) {
			for _, m := range cited.FindAllStringSubmatch(text, -1) {
				if _, ok := rows[m[1]]; !ok {
					t.Errorf("%s cites RFC %s, which docs/rfc.tsv does not list", path, m[1])
				}
			}
		})
	}
}

func TestRFCTableIsTrue(t *testing.T) {
	rows, functions := rfcTable(t), testFunctions(t)
	citations := map[string]int{}
	sources(t, "internal", func(path, text string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, m := range cited.FindAllStringSubmatch(text, -1) {
			citations[m[1]]++
		}
	})
	for n, r := range rows {
		switch r.status {
		case "full":
			if citations[n] == 0 {
				t.Errorf("RFC %s is said to be full, but no code cites it", n)
			}
			if r.test == "" || r.test == "-" {
				t.Errorf("RFC %s is said to be full, but names no test", n)
			}
		case "partial":
			if r.note == "" || r.note == "-" {
				t.Errorf("RFC %s is partial: its note must say what is missing", n)
			}
		case "none":
		default:
			t.Errorf("RFC %s: status %q, want full, partial or none", n, r.status)
		}
		for _, pkg := range strings.Fields(strings.ReplaceAll(r.pkg, ",", " ")) {
			if _, err := os.Stat(filepath.Join("..", "..", "internal", pkg)); pkg != "-" && err != nil {
				t.Errorf("RFC %s: there is no package %s", n, pkg)
			}
		}
		for _, test := range strings.Fields(strings.ReplaceAll(r.test, ",", " ")) {
			if test != "-" && !exists(test) && !slices.Contains(functions, test) {
				t.Errorf("RFC %s: there is no test %s", n, test)
			}
		}
	}
}

var testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// testFunctions returns the names of all tests and fuzz targets.
func testFunctions(t *testing.T) []string {
	t.Helper()
	var names []string
	sources(t, "internal", func(_, text string) {
		for _, m := range testFunction.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
	})
	return names
}

var (
	dialogue  = regexp.MustCompile("`([a-z0-9*-]+)`")
	namedTest = regexp.MustCompile(`\b(?:Test|Fuzz)\w+`)
)

// Each row of docs/VIOLATIONS.md ends with the tests that hold it, or says none.
func TestViolationsAreHeldByTests(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "VIOLATIONS.md"))
	if err != nil {
		t.Fatal(err)
	}
	functions := testFunctions(t)
	for i, line := range strings.Split(string(b), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 3 || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| Standard") {
			continue
		}
		last := cells[len(cells)-2]
		dialogues, tests := dialogue.FindAllStringSubmatch(last, -1), namedTest.FindAllString(last, -1)
		if len(cells) != 7 || len(dialogues)+len(tests) == 0 && strings.TrimSpace(last) != "none" {
			t.Errorf("docs/VIOLATIONS.md:%d: %d cells, %d tests; want five cells, the last with a test or none", i+1, len(cells)-2, len(dialogues)+len(tests))
		}
		for _, m := range dialogues {
			if !exists("test/e2e/*/" + m[1] + ".dlg") {
				t.Errorf("docs/VIOLATIONS.md:%d: there is no dialogue %s", i+1, m[1])
			}
		}
		for _, name := range tests {
			if !slices.Contains(functions, name) {
				t.Errorf("docs/VIOLATIONS.md:%d: there is no test %s", i+1, name)
			}
		}
	}
}

// TestRFCManualIsTheTable compares peyk-rfc.7 with docs/rfc.tsv; -update
// writes it.
func TestRFCManualIsTheTable(t *testing.T) {
	rows := slices.Collect(maps.Values(rfcTable(t)))
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(len(a.number)-len(b.number), strings.Compare(a.number, b.number)) })
	var b strings.Builder
	b.WriteString(rfcHead)
	for _, r := range rows {
		fmt.Fprintf(&b, ".It %s\n%s.\n.Em %s", r.number, roff(r.title), strings.ToUpper(r.status[:1])+r.status[1:])
		if r.note == "-" {
			b.WriteString(" .\n")
		} else {
			fmt.Fprintf(&b, " :\n%s.\n", roff(r.note))
		}
	}
	b.WriteString(rfcTail)
	path := filepath.Join("..", "..", "man", "peyk-rfc.7")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if page(t, "peyk-rfc.7") != b.String() {
		t.Error("peyk-rfc.7 is not docs/rfc.tsv: go test ./test/doc -run RFCManual -update")
	}
}

// roff escapes what would be a command, and the one sign that fonts lack.
func roff(text string) string {
	return strings.NewReplacer(`\`, `\e`, "§", "section ", `"`, `\(dq`).Replace(text)
}

const rfcHead = `.Dd November 23, 2026
.Dt PEYK-RFC 7
.Os Peyk
.Sh NAME
.Nm peyk-rfc
.Nd the standards of Peyk
.Sh DESCRIPTION
The RFCs that Peyk knows, and how much of each:
.Em Full
is all that applies to a server,
.Em partial
is followed by what is missing, and
.Em none
is only cited.
Where Peyk deviates on purpose is in
.Pa docs/VIOLATIONS.md
of the source, which packages and tests hold each RFC in
.Pa docs/rfc.tsv .
.Bl -tag -width 0000
`

const rfcTail = `.El
.Sh SEE ALSO
.Xr peyk 7
`

func exists(path string) bool {
	found, err := filepath.Glob(filepath.Join("..", "..", path))
	return err == nil && len(found) > 0
}
