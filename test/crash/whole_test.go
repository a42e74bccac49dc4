package crash_test

import (
	"os"
	"testing"
)

// TestMatrix makes every call of every path fail in every way. It takes long,
// so make crash asks for it.
func TestMatrix(t *testing.T) {
	if os.Getenv("PEYK_CRASH") == "" {
		t.Skip("make crash runs it")
	}
	var paths []path
	for _, p := range imapPaths {
		paths = append(paths, p.path())
	}
	t.Logf("\n%s", cross(t, paths, columns()))
}
