package doc_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"peyk/internal/control"
	"peyk/internal/table"
)

const sample = "../../etc/control"

// With -update the test writes the sample files of new settings.
var update = flag.Bool("update", false, "write etc/control from the declared settings")

// sampleOf returns the sample file of a setting: its help as a comment, and
// its default.
func sampleOf(s *control.Setting) string {
	var b strings.Builder
	line := "#"
	for _, word := range strings.Fields(s.Help) {
		if len(line)+1+len(word) > 79 {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
	for _, value := range strings.Split(s.Default, "\n") {
		if value != "" {
			b.WriteString(value + "\n")
		}
	}
	return b.String()
}

// Each setting has a sample file made from its declaration, and every file
// there is a setting.
func TestSampleConfigurationIsComplete(t *testing.T) {
	names := map[string]bool{"domains": true, "certs": true, table.AccessFile: true}
	for _, s := range control.All() {
		names[s.Name] = true
		if *update {
			if err := os.WriteFile(filepath.Join(sample, s.Name), []byte(sampleOf(s)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(filepath.Join(sample, s.Name))
		if err != nil {
			t.Errorf("the sample lacks %s", s.Name)
			continue
		}
		if string(b) != sampleOf(s) {
			t.Errorf("etc/control/%s does not hold the setting's help and default: go test ./test/doc -run Sample -update", s.Name)
		}
	}
	entries, err := os.ReadDir(sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !names[e.Name()] {
			t.Errorf("etc/control/%s is no setting", e.Name())
		}
	}
}

// A copy of the sample changes nothing, but for a domain that nobody owns.
func TestSampleConfigurationLoads(t *testing.T) {
	c, err := control.Load(sample, control.All(), nil)
	if err != nil {
		t.Error(err)
	}
	for _, s := range control.All() {
		if got := c.Raw(s); got != s.Default {
			t.Errorf("etc/control/%s says %q, the default is %q", s.Name, got, s.Default)
		}
	}
	domains := table.OpenDomains(sample)
	for _, err := range domains.Check() {
		t.Error(err)
	}
	names, err := domains.List()
	if err != nil || len(names) != 1 {
		t.Errorf("the sample has the domains %q, %v; want one", names, err)
	}
}
