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
// its default commented out, so that a copy of the sample changes nothing.
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
			b.WriteString("#" + value + "\n")
		}
	}
	return b.String()
}

func TestSampleConfigurationLoads(t *testing.T) {
	if _, err := control.Load(sample, control.All(), nil); err != nil {
		t.Error(err)
	}
	for _, err := range table.OpenDomains(sample).Check() {
		t.Error(err)
	}
}

// Each setting has a sample file whose comment is its help, and every file
// there is a setting.
func TestSampleConfigurationIsComplete(t *testing.T) {
	names := map[string]bool{"domains": true, "certs": true}
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
		words := strings.Join(strings.Fields(strings.ReplaceAll(string(b), "\n#", "\n")), " ")
		if help := strings.Join(strings.Fields(s.Help), " "); !strings.Contains(words, help) {
			t.Errorf("etc/control/%s does not hold the setting's help: go test ./test/doc -run Sample -update", s.Name)
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
