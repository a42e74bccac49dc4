// Package power_test cuts the power. It lets the real programs work on a file
// system of their own, takes the disk away at some moment, and looks at what
// the disk holds when it comes back, in three ways:
//
//   - shutdown_test.go: the shutdown ioctl of ext4, which forgets all that was
//     not committed;
//   - replay_test.go: a disk that records every write and every flush, played
//     back to any moment, with any subset of what was not flushed;
//   - guest_test.go: a virtual machine that is killed.
//
// One oracle judges all three, book_test.go and check_test.go: what was
// acknowledged is there, with every octet, flag and UID, and what was begun is
// there whole or not at all. docs/SECURITY.md has the figures.
package power_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"peyk/test/sandbox"
)

// inside tells a test binary that it runs in the namespaces of confine, and in
// which directory it may work.
const inside = "PEYK_POWER_INSIDE"

func TestMain(m *testing.M) {
	if os.Geteuid() == 0 && os.Getenv(inside) == "" {
		if code, done := confine(); done {
			os.Exit(code)
		}
	}
	os.Exit(sandbox.Main(m))
}

// confine runs the test binary again as the first process of its own
// namespaces of mounts and processes: however it ends, even by SIGKILL, the
// kernel ends its daemons and guests, unmounts what it mounted and with that
// frees the loop devices. It is not done where there are no namespaces; then
// the tests skip.
func confine() (code int, done bool) {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	dir, err := os.MkdirTemp(roomy(), "peyk-power-")
	if err != nil {
		return 0, false
	}
	defer os.RemoveAll(dir)
	cmd.Env = append(os.Environ(), inside+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "power: no namespaces:", err)
		return 0, false
	}
	go func() {
		<-signals
		cmd.Process.Kill()
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(1, exit.ExitCode()), true // -1 is a signal
	}
	return 0, true
}

// full reports whether the whole work was asked for: make crash.
func full() bool { return os.Getenv("PEYK_CRASH") != "" }

// count returns how often to do something: as the environment says, else all
// for make crash, else few.
func count(t *testing.T, name string, few, all int) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	if full() {
		return all
	}
	return few
}

// needs skips a test that cannot be done here.
func needs(t *testing.T, tools ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	if os.Getenv(inside) == "" {
		t.Skip("needs namespaces of its own")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip(err)
	}
}

// roomy is where images go: into memory where there is room.
func roomy() string {
	var st syscall.Statfs_t
	if syscall.Statfs("/dev/shm", &st) == nil && st.Bavail*uint64(st.Bsize) > 1<<30 {
		return "/dev/shm"
	}
	return os.TempDir()
}

// workDir returns a directory for images, with a short name, because sockets
// lie in it. Whatever happens, the process outside removes it.
func workDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(os.Getenv(inside), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, sub := range []string{"m", "run"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
