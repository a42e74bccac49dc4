package power_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A planted fault is a line of internal/commit that is left out, in a build of
// its own: the harness must see it, or it proves nothing.
type planted struct {
	name      string
	file      string // of internal/commit
	line, not string // what is there, and what stands there instead
	must      []string
}

var faults = []planted{
	{"without the fsync of files", "commit.go", "return f.Sync()", "return nil", []string{"smtpd", "deliver", "deliver-lmtp", "queue"}},
	{"without the fsync of directories", "dirsync.go", "err := unix.Fsync(fd)", "err := error(nil)", []string{"deliver", "deliver-lmtp", "store", "create", "alias", "user"}},
}

// build builds the programs with the fault.
func (p *planted) build(t *testing.T) (bin string) {
	t.Helper()
	dir := t.TempDir()
	source, err := filepath.Abs(filepath.Join("..", "..", "..", "internal", "commit", p.file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), p.line) != 1 {
		t.Fatalf("%s does not hold %q once", source, p.line)
	}
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	replace, _ := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	os.WriteFile(changed, []byte(strings.Replace(string(text), p.line, p.not, 1)), 0o600)
	os.WriteFile(overlay, replace, 0o600)
	bin = filepath.Join(dir, "bin")
	cmd := exec.Command("go", "build", "-overlay", overlay, "-o", bin+"/", "peyk/cmd/smtpd", "peyk/cmd/deliver", "peyk/cmd/queue-run", "peyk/cmd/authd", "peyk/cmd/imapd", "peyk/cmd/mailctl")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// TestSingleCutsSeePlantedFaults holds that each fault is seen in every trial
// of the acts that depend on the missing flush. APPEND, COPY and MOVE do not:
// the sync of the uidlist, which comes last, commits the names before it too.
func TestSingleCutsSeePlantedFaults(t *testing.T) {
	needs(t, "mkfs.ext4")
	if !full() {
		t.Skip("make crash does it")
	}
	n := count(t, "PEYK_POWER_SINGLES", 0, 5*len(singles))
	for _, p := range faults {
		t.Run(p.name, func(t *testing.T) {
			lost := cutSingles(t, p.build(t), workDir(t), n)
			for _, name := range p.must {
				if want := n / len(singles); lost[name] < want {
					t.Errorf("%s: %d trials of at least %d lost something", name, lost[name], want)
				}
			}
		})
	}
}
