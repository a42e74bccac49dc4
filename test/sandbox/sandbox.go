// Package sandbox starts whole Peyk systems for tests: it builds the programs
// once for a test binary and runs mailctl sandbox in a directory of the test.
package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTime is how long a sandbox may take to answer on a very busy machine.
const startTime = 90 * time.Second

// A Sandbox is a running system.
type Sandbox struct {
	Dir string            // its directory
	Bin string            // where the programs are
	Env map[string]string // sandbox.env

	t    testing.TB
	uid  int // 0 = the user who runs the tests
	args []string
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{}
}

// built is the directory that Build made, for Main to remove.
var built string

// Build compiles every program and returns their directory. It happens once a
// test binary; PEYK_BIN names programs that are built already.
var Build = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("PEYK_BIN"); bin != "" {
		return bin, nil
	}
	dir, err := os.MkdirTemp("", "peyk-bin-")
	if err != nil {
		return "", err
	}
	built = dir
	if err := os.Chmod(dir, 0o755); err != nil { // StartAs runs them as somebody else
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", dir, "peyk/cmd/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// Main runs the tests of a package that uses Build, and removes the programs
// afterwards. Call it from TestMain.
func Main(m *testing.M) int {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	return code
}

// Start starts a system with the given settings (NAME=VALUE) and stops it when
// the test ends. Ports are free ones.
func Start(t testing.TB, settings ...string) *Sandbox {
	t.Helper()
	dir, err := os.MkdirTemp("", "peyk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return StartIn(t, dir, settings...)
}

// StartIn is Start in a given directory; an earlier system there goes on.
func StartIn(t testing.TB, dir string, settings ...string) *Sandbox {
	t.Helper()
	return start(t, dir, 0, settings)
}

// StartAs is Start as an ordinary user, for foreign programs that refuse to
// work on root's files. It needs root.
func StartAs(t testing.TB, uid int, settings ...string) *Sandbox {
	t.Helper()
	dir, err := os.MkdirTemp("", "peyk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	return start(t, dir, uid, settings)
}

func start(t testing.TB, dir string, uid int, settings []string) *Sandbox {
	t.Helper()
	bin, err := Build()
	if err != nil {
		t.Fatal(err)
	}
	s := &Sandbox{Dir: dir, Bin: bin, t: t, uid: uid, args: []string{"sandbox", "-dir", dir}}
	if _, err := os.Stat(filepath.Join(dir, "sandbox.env")); err != nil {
		s.args = append(s.args, "-base-port", strconv.Itoa(freeBase(t)))
	}
	for _, setting := range settings {
		if setting == "-dns" {
			s.args = append(s.args, setting)
			continue
		}
		s.args = append(s.args, "-set", setting)
	}
	s.start()
	return s
}

func (s *Sandbox) start() {
	s.t.Helper()
	env := filepath.Join(s.Dir, "sandbox.env")
	os.Rename(env, env+".old") // its return is the sign that everything answers
	s.restoreEnv(env)
	s.cmd = exec.Command(filepath.Join(s.Bin, "mailctl"), s.args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if s.uid != 0 {
		s.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.uid)}
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan struct{})
	go func() { s.cmd.Wait(); close(s.done) }()
	s.t.Cleanup(s.Stop)
	s.await(env)
}

// restoreEnv copies the old sandbox.env back with an old time: the sandbox
// resumes from it, and a newer one shows that it is ready.
func (s *Sandbox) restoreEnv(env string) {
	b, err := os.ReadFile(env + ".old")
	if err != nil {
		return
	}
	os.WriteFile(env, b, 0o600)
	os.Chtimes(env, time.Unix(1, 0), time.Unix(1, 0))
}

func (s *Sandbox) await(env string) {
	s.t.Helper()
	deadline := time.Now().Add(startTime)
	for time.Now().Before(deadline) {
		if info, err := os.Stat(env); err == nil && info.ModTime().Unix() > 1 {
			s.Env = readEnv(s.t, env)
			return
		}
		select {
		case <-s.done:
			s.t.Fatalf("the sandbox ended:\n%s\n%s", s.out.String(), s.Log())
		case <-time.After(10 * time.Millisecond):
		}
	}
	s.t.Fatalf("the sandbox does not answer:\n%s", s.Log())
}

// Stop ends the system; it is not an error to stop it twice.
func (s *Sandbox) Stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(30 * time.Second):
		s.t.Errorf("the sandbox does not end on SIGTERM")
		s.cmd.Process.Kill()
		<-s.done
	}
}

// Restart stops the system and starts it again on the same files.
func (s *Sandbox) Restart() {
	s.t.Helper()
	s.Stop()
	s.start()
}

// Kill kills one daemon with SIGKILL and waits until it runs again under
// another pid.
func (s *Sandbox) Kill(name string) {
	s.t.Helper()
	old := s.Pid(name)
	syscall.Kill(old, syscall.SIGKILL)
	deadline := time.Now().Add(startTime)
	for time.Now().Before(deadline) {
		if pid := s.pid(name); pid != 0 && pid != old {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("%s did not come back", name)
}

// Pid returns the process id of a daemon.
func (s *Sandbox) Pid(name string) int {
	s.t.Helper()
	pid := s.pid(name)
	if pid == 0 {
		s.t.Fatalf("%s does not run", name)
	}
	return pid
}

func (s *Sandbox) pid(name string) int {
	b, err := os.ReadFile(filepath.Join(s.Dir, "run", name+".pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return pid
}

// Log returns the log of all daemons.
func (s *Sandbox) Log() string {
	b, err := os.ReadFile(filepath.Join(s.Dir, "log", "peyk.log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(b)
}

// Output returns what the sandbox printed; call it after Stop.
func (s *Sandbox) Output() string { return s.out.String() }

// Mailctl runs mailctl on the system and returns what it prints.
func (s *Sandbox) Mailctl(stdin string, args ...string) (stdout string, err error) {
	cmd := exec.Command(filepath.Join(s.Bin, "mailctl"), append([]string{"-control", s.Env["PEYK_CONTROL"]}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("mailctl %q: %w: %s", args, err, errs.String())
	}
	return out.String(), nil
}

// Eventually fails the test unless ok becomes true within a minute. It is for
// what another process does in its own time.
func (s *Sandbox) Eventually(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within a minute; the log:\n%s", what, tail(s.Log(), 80))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func tail(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Mail returns the paths of all messages in a Maildir's INBOX.
func Mail(maildir string) []string {
	var all []string
	for _, sub := range []string{"new", "cur"} {
		found, _ := filepath.Glob(filepath.Join(maildir, sub, "*"))
		all = append(all, found...)
	}
	return all
}

func readEnv(t testing.TB, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	env := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if !ok {
			t.Fatalf("sandbox.env: not KEY=value: %q", lines.Text())
		}
		if len(value) > 1 && value[0] == '\'' {
			value = strings.ReplaceAll(value[1:len(value)-1], `'\''`, "'")
		}
		env[name] = value
	}
	return env
}

// Reload has every daemon read its configuration again, and waits until all
// of them have.
func (s *Sandbox) Reload() {
	s.t.Helper()
	before := strings.Count(s.Log(), "event=reloaded")
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.Eventually("every daemon has reloaded", func() bool {
		return strings.Count(s.Log(), "event=reloaded") >= before+8
	})
}
