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
	for _, p := range smtpPaths {
		paths = append(paths, p.path())
	}
	for _, p := range queuePaths {
		paths = append(paths, p.path())
	}
	for _, p := range deliverPaths {
		paths = append(paths, p.path())
	}
	for _, p := range mailctlPaths {
		paths = append(paths, p.path())
	}
	paths = append(paths, popPath)
	t.Logf("\n%s", cross(t, paths, columns()))
}
