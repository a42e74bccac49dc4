package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"peyk/test/sandbox"
)

// confine puts each daemon into a memory cgroup of 128 MiB of its own, where
// one can be had (cgroup v1, and root): whoever needs more is killed, which the
// test sees by its process id. It reports whether it could.
func confine(t *testing.T, s *sandbox.Sandbox, daemons ...string) bool {
	t.Helper()
	for _, daemon := range daemons {
		dir := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("peyk-test-%d-%s", os.Getpid(), daemon))
		if os.Mkdir(dir, 0o755) != nil {
			return false
		}
		t.Cleanup(func() { removeGroup(t, dir) })
		if os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), []byte("134217728"), 0o644) != nil {
			return false
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(s.Pid(daemon))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

// removeGroup gives those who are left back to the root group.
func removeGroup(t *testing.T, dir string) {
	for range 100 {
		pids, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for pid := range strings.FieldsSeq(string(pids)) {
			os.WriteFile("/sys/fs/cgroup/memory/cgroup.procs", []byte(pid), 0o644)
		}
		if os.Remove(dir) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s is left", dir)
}
