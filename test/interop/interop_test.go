// Package interop_test puts foreign programs on the other side of every seam,
// or in the seat of one of ours. make interop installs what is missing and
// sets PEYK_INTEROP; without it, or without the program, a test is skipped.
package interop_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"peyk/test/sandbox"
)

// owner is the user that owns Maildirs shared with Dovecot, which refuses to
// work for root.
const owner = 5999

// need skips the test unless the programs are installed.
func need(t *testing.T, programs ...string) {
	t.Helper()
	if os.Getenv("PEYK_INTEROP") == "" {
		t.Skip("make interop runs this")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// needRoot skips a test whose foreign daemon changes its user.
func needRoot(t *testing.T) {
	t.Helper()
	need(t)
	if os.Getuid() != 0 {
		t.Skip("needs root, as the foreign daemon does")
	}
}

// run runs a shell script with the sandbox's environment and returns what it
// prints; a failure ends the test.
func run(t *testing.T, s *sandbox.Sandbox, script string) string {
	t.Helper()
	out, err := try(s, script)
	if err != nil {
		t.Fatalf("%v\n%s\n%s\nthe log:\n%s", err, script, out, tail(s.Log()))
	}
	return out
}

func try(s *sandbox.Sandbox, script string) (string, error) {
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	home := filepath.Join(s.Dir, "home")
	os.MkdirAll(home, 0o700)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "TERM=dumb")
	for name, value := range s.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	timer := time.AfterFunc(4*time.Minute, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer timer.Stop()
	err := cmd.Wait()
	return out.String(), err
}

func tail(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// write writes a file of the test, readable by the owner of shared mail.
func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// place makes a directory that other users may enter, with a short name.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "peyk-io-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// daemon starts a foreign daemon in the foreground and waits until the address
// answers. Its process group is ended with the test.
func daemon(t *testing.T, network, addr string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second // its children may keep the pipe
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Process.Kill() // it may lead a group of its own by now
		<-done
	})
	deadline := time.Now().Add(time.Minute)
	for {
		conn, err := net.Dial(network, addr)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-done:
			t.Fatalf("%q ended:\n%s", args, out.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer on %s:\n%s", args[0], addr, out.String())
		}
	}
}

// delivered waits until a Maildir holds n messages and returns their text.
func delivered(t *testing.T, s *sandbox.Sandbox, maildir string, n int) []string {
	t.Helper()
	s.Eventually(fmt.Sprintf("%d messages in %s", n, maildir), func() bool { return len(sandbox.Mail(maildir)) >= n })
	var texts []string
	for _, path := range sandbox.Mail(maildir) {
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	if len(texts) != n {
		t.Fatalf("%d messages in %s, want %d", len(texts), maildir, n)
	}
	return texts
}

func contains(t *testing.T, texts []string, want string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(text, want) {
			return
		}
	}
	t.Errorf("%q is in none of %d messages", want, len(texts))
}

var itoa = strconv.Itoa
