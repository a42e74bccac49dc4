package supervise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the program that is supervised.
func TestMain(m *testing.M) {
	Main()
	if dir := os.Getenv("PEYK_TEST_WRITER"); dir != "" {
		os.Exit(writer(dir))
	}
	os.Exit(m.Run())
}

// writer publishes a file by the book, and prints which step fails.
func writer(dir string) int {
	os.ReadFile("/etc/hostname") // not below dir: it does not count
	tmp, final := filepath.Join(dir, "tmp"), filepath.Join(dir, "final")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	step := func(name string, e error) {
		if err == nil && e != nil {
			err = fmt.Errorf("%s: %w", name, e)
		}
	}
	if err == nil {
		n, werr := syscall.Write(int(f.Fd()), []byte("0123456789")) // once, so that a short write shows
		step("write", werr)
		if n != 10 && werr == nil {
			_, werr := syscall.Write(int(f.Fd()), []byte("0123456789")[n:])
			fmt.Println("short", n)
			step("second write", werr)
		}
		step("fsync", f.Sync())
		f.Close()
		step("rename", os.Rename(tmp, final))
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("done")
	return 0
}

// supervised runs writer with a fault.
func supervised(t *testing.T, dir string, fault Fault) (*Process, string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p, err := Start(Options{Path: self, Env: []string{"PEYK_TEST_WRITER=" + dir}, Stdout: out, Stderr: os.Stderr,
		Dir: dir, Fault: fault, Armed: true})
	if errors.Is(err, ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ended, err := p.WaitFor(30 * time.Second)
	if !ended {
		t.Fatal("the program did not end")
	}
	said, _ := os.ReadFile(out.Name())
	return p, strings.TrimSpace(string(said)), err
}

func TestWithoutAFault(t *testing.T) {
	dir := t.TempDir()
	p, said, err := supervised(t, dir, Fault{})
	if said != "done" || err != nil {
		t.Fatalf("%q, %v", said, err)
	}
	var names []string
	for _, c := range p.Calls() {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "openat write fsync renameat" {
		t.Errorf("counted %q", got)
	}
	if _, hit := p.Injected(); hit {
		t.Error("a fault was injected")
	}
}

func TestEachCallFails(t *testing.T) {
	for n, want := range []string{"open", "write", "fsync", "rename"} {
		dir := t.TempDir()
		p, said, err := supervised(t, dir, Fault{Action: Fail, Errno: syscall.ENOSPC, N: n + 1})
		if err == nil || !strings.Contains(said, want) || !strings.Contains(said, "no space left") {
			t.Errorf("call %d: %q, %v", n+1, said, err)
		}
		if c, hit := p.Injected(); !hit || !strings.HasPrefix(c.Name, want) {
			t.Errorf("call %d: injected %v %v", n+1, c, hit)
		}
	}
}

func TestShortWrites(t *testing.T) {
	dir := t.TempDir()
	if _, said, err := supervised(t, dir, Fault{Action: Short, N: 1}); err != nil || said != "short 5\ndone" {
		t.Errorf("%q, %v", said, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "final")); string(b) != "0123456789" {
		t.Errorf("%q, %v", b, err)
	}
	dir = t.TempDir()
	if _, said, _ := supervised(t, dir, Fault{Action: ShortFull, Errno: syscall.ENOSPC, N: 1}); !strings.Contains(said, "second write: no space left") {
		t.Errorf("%q", said)
	}
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	if _, said, err := supervised(t, dir, Fault{Action: Kill, N: 4}); err == nil || said != "" {
		t.Errorf("%q, %v", said, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp")); err != nil {
		t.Errorf("the file that was not renamed: %v", err)
	}
}

func TestFailOnLasts(t *testing.T) {
	dir := t.TempDir()
	_, said, _ := supervised(t, dir, Fault{Action: FailOn, Errno: syscall.EROFS, N: 3})
	if !strings.Contains(said, "fsync") {
		t.Errorf("%q", said)
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp")); err != nil {
		t.Errorf("the rename was not hit: %v", err)
	}
}
