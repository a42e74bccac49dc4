// Package systemd_test asks systemd's own tools what they think of our units,
// users and directories. What is not installed is skipped.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const units = "../../systemd"

// tool returns the path of a program of systemd.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// tree returns a root directory with our units in it, and stand-ins for the
// programs that they start.
func tree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	files, err := filepath.Glob(filepath.Join(units, "peyk*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no units in %s: %v", units, err)
	}
	put(t, filepath.Join(root, "bin/kill"), nil, 0o755)
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(root, "usr/lib/systemd/system", filepath.Base(file)), b, 0o644)
		for _, m := range regexp.MustCompile(`(?m)^ExecStart=(\S+)`).FindAllSubmatch(b, -1) {
			put(t, filepath.Join(root, string(m[1])), nil, 0o755)
		}
	}
	return root
}

func put(t *testing.T, path string, b []byte, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, mode); err != nil {
		t.Fatal(err)
	}
}

func services(t *testing.T) (names []string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(units, "*.service"))
	for _, file := range files {
		names = append(names, filepath.Base(file))
	}
	return names
}

// Other units that ours name are not in the tree, so only complaints that name
// a unit of ours count.
func TestVerify(t *testing.T) {
	analyze, root := tool(t, "systemd-analyze"), tree(t)
	args := append([]string{"verify", "--man=no", "--root=" + root, "peyk.target"}, services(t)...)
	out, _ := exec.Command(analyze, args...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "peyk") && !strings.Contains(line, "Failed to create peyk") ||
			strings.Contains(line, "systemd/system/peyk") {
			t.Error(strings.TrimSpace(line))
		}
	}
}

func TestUsers(t *testing.T) {
	sysusers, root := tool(t, "systemd-sysusers"), t.TempDir()
	put(t, filepath.Join(root, "etc/group"), nil, 0o644)
	conf, err := filepath.Abs(filepath.Join(units, "sysusers.conf"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(sysusers, "--root="+root, conf).CombinedOutput()
	if err != nil && os.Geteuid() != 0 {
		t.Skipf("not root: %s", out)
	}
	passwd, _ := os.ReadFile(filepath.Join(root, "etc/passwd"))
	for _, user := range []string{"peyk-smtpd", "peyk-queue", "peyk-mail", "peyk-remote", "peyk-auth", "peyk-auth-remote"} {
		if !strings.Contains("\n"+string(passwd), "\n"+user+":") {
			t.Errorf("no user %s came of sysusers.conf: %s", user, out)
		}
	}
	if strings.Contains(string(out), conf+":") {
		t.Errorf("sysusers.conf: %s", out)
	}
}

// Every directory of a unit, and every owner, is one that the other two files
// make.
func TestFilesAgree(t *testing.T) {
	users, _ := os.ReadFile(filepath.Join(units, "sysusers.conf"))
	known := map[string]bool{"root": true}
	for _, m := range regexp.MustCompile(`(?m)^[ug]\s+(\S+)`).FindAllSubmatch(users, -1) {
		known[string(m[1])] = true
	}
	dirs, _ := os.ReadFile(filepath.Join(units, "tmpfiles.conf"))
	made := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^d\s+(\S+)\s+\S+\s+(\S+)\s+(\S+)`).FindAllSubmatch(dirs, -1) {
		made[string(m[1])] = true
		if !known[string(m[2])] || !known[string(m[3])] {
			t.Errorf("tmpfiles.conf: %s belongs to %s:%s, whom sysusers.conf does not make", m[1], m[2], m[3])
		}
	}
	for _, service := range services(t) {
		b, _ := os.ReadFile(filepath.Join(units, service))
		for _, m := range regexp.MustCompile(`(?m)^(?:User|Group|SupplementaryGroups)=(.*)`).FindAllSubmatch(b, -1) {
			for _, name := range strings.Fields(string(m[1])) {
				if !known[name] {
					t.Errorf("%s runs as %s, whom sysusers.conf does not make", service, name)
				}
			}
		}
		for _, m := range regexp.MustCompile(`(?m)^ReadWritePaths=(.*)`).FindAllSubmatch(b, -1) {
			for _, dir := range strings.Fields(string(m[1])) {
				if dir = strings.TrimPrefix(dir, "-"); !made[dir] {
					t.Errorf("%s writes to %s, which tmpfiles.conf does not make", service, dir)
				}
			}
		}
	}
}

// A Unix socket is open to its owner and group alone; who may speak to deliver,
// to remote and to the accounts rests on that. sendmail is for everybody, and
// so is the socket to which it brings its mail.
func TestUnixSocketsAreClosedToOthers(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(units, "*.socket"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^ListenStream=/`).Match(b) || filepath.Base(file) == "peyk-submit.socket" {
			continue
		}
		n++
		if !regexp.MustCompile(`(?m)^SocketMode=0660$`).Match(b) {
			t.Errorf("%s lets anybody connect", filepath.Base(file))
		}
	}
	if n == 0 {
		t.Error("no unit has a Unix socket")
	}
}
