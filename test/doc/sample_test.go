package doc_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"peyk/internal/control"
	"peyk/internal/table"
)

const sample = "../../etc/control"

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
		b, err := os.ReadFile(filepath.Join(sample, s.Name))
		if err != nil {
			t.Errorf("the sample lacks %s", s.Name)
			continue
		}
		words := strings.Join(strings.Fields(strings.ReplaceAll(string(b), "\n#", "\n")), " ")
		if help := strings.Join(strings.Fields(s.Help), " "); !strings.Contains(words, help) {
			t.Errorf("etc/control/%s does not hold the setting's help: make etc", s.Name)
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
