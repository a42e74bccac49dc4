package doc_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// The catalogue of attacks: SMTP, IMAP, POP3 and LMTP, storage, then queue,
// authentication, TLS and logs.
var catalogue = [][2]int{{1, 114}, {147, 184}}

// Every attack of the catalogue has a row, in order, and every test that a row
// names is there.
func TestAttacksHaveTheirTests(t *testing.T) {
	text, err := os.ReadFile("../../docs/attacks.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var ids []int
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 4 {
			t.Errorf("%q: %d fields, want 4", line, len(fields))
			continue
		}
		id, err := strconv.Atoi(fields[0])
		if err != nil {
			t.Error(err)
		}
		ids = append(ids, id)
		if fields[2] == "-" && fields[3] == "-" {
			t.Errorf("%d: neither a test nor a reason", id)
		}
		for name := range strings.FieldsSeq(strings.TrimPrefix(fields[2], "-")) {
			if !testExists(name) {
				t.Errorf("%d: there is no %s", id, name)
			}
		}
	}
	for _, span := range catalogue {
		for id := span[0]; id <= span[1]; id++ {
			if len(ids) == 0 || ids[0] != id {
				t.Fatalf("the row of %d is missing, or not in order", id)
			}
			ids = ids[1:]
		}
	}
}

// testExists looks for a file, a test in it, or a numbered row of one.
func testExists(name string) bool {
	path, in, has := strings.Cut(name, ":")
	text, err := os.ReadFile("../../" + path)
	if err != nil || !has {
		return err == nil
	}
	if _, err := strconv.Atoi(in); err == nil {
		return strings.Contains(string(text), "{\""+in+" ")
	}
	return strings.Contains(string(text), "func "+in+"(t *testing.T)")
}
