package deliver

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A lock whose process is dead holds nobody up; any other does.
func TestLockOfADeadProcess(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	host, _ := os.Hostname()
	for text, want := range map[string]bool{
		lockOwner(1<<22 + 5):    true, // above the highest pid
		lockOwner(os.Getpid()):  false,
		"4194309:not" + host:    false,
		"":                      false,
		"-1:" + host + "\n":     false,
		"4194309:" + host + "x": false,
	} {
		if err := os.WriteFile(filepath.Join(dir, "box.lock"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := abandoned(root, "box.lock", time.Now()); got != want {
			t.Errorf("%q is abandoned: %v", text, got)
		}
	}
	if !abandoned(root, "box.lock", time.Now().Add(2*staleLock)) {
		t.Error("an old lock is not abandoned")
	}
}
