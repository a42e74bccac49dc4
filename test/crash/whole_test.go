package crash_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"peyk/test/crash/supervise"
)

// TestQuick is the part of the matrix that every run of the tests has: mail is
// accepted over a file that is used again, with each call failing in two ways,
// and killed at each.
func TestQuick(t *testing.T) {
	supported(t)
	m := cross(t, []path{smtpPaths[1].path()}, []supervise.Fault{{Action: supervise.Fail, Errno: syscall.EIO},
		{Action: supervise.Fail, Errno: syscall.ENOSPC}, {Action: supervise.Kill}})
	t.Logf("\n%s", m)
}

// supported skips the test where the kernel refuses.
func supported(t *testing.T) {
	t.Helper()
	p, err := supervise.Start(supervise.Options{Path: "/bin/true", Dir: t.TempDir()})
	if errors.Is(err, supervise.ErrUnsupported) {
		t.Skipf("system calls cannot be made to fail here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Wait()
}

// TestMatrix makes every call of every path fail in every way. It takes long,
// so make crash asks for it.
func TestMatrix(t *testing.T) {
	if os.Getenv("PEYK_CRASH") == "" {
		t.Skip("make crash runs it")
	}
	supported(t)
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
