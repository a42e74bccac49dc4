// Package disk_test fills disks and takes away file descriptors while mail
// comes and people read.
package disk_test

import (
	"errors"
	"fmt"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"peyk/test/crash/traffic"
	"peyk/test/imapwire"
	"peyk/test/sandbox"
)

// inside marks the process that may mount: its mounts end with it.
const inside = "PEYK_TEST_MOUNTS"

// TestMain runs the tests in a mount namespace of their own.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(sandbox.Main(m))
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	default: // no root: what needs no mount is tested all the same
		os.Setenv(inside, "no")
		os.Exit(sandbox.Main(m))
	}
}

// A disk is a small file system in place of a directory of the sandbox.
type disk struct {
	t    *testing.T
	path string
}

// system starts a sandbox, one directory of which is a tmpfs.
func system(t *testing.T, below, options string, settings ...string) (*traffic.Load, *sandbox.Sandbox, *disk) {
	t.Helper()
	if os.Getenv(inside) != "yes" {
		t.Skip("needs root, to mount a tmpfs")
	}
	dir, err := os.MkdirTemp("", "peyk-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &disk{t, filepath.Join(dir, below)}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", d.path, "tmpfs", 0, "mode=700,"+options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(d.path, unix.MNT_DETACH) })
	ledger := traffic.NewLedger()
	sink := traffic.NewSink(t, ledger)
	s := sandbox.StartIn(t, dir, append(traffic.Settings(sink), settings...)...)
	return traffic.New(t, s, ledger, sink), s, d
}

// resize changes the limits of the disk.
func (d *disk) resize(options string) {
	d.t.Helper()
	if err := unix.Mount("tmpfs", d.path, "tmpfs", unix.MS_REMOUNT, options); err != nil {
		d.t.Fatal(err)
	}
}

// fillOctets leaves about so many octets.
func (d *disk) fillOctets(leave int64) {
	d.t.Helper()
	f, err := os.Create(filepath.Join(d.path, "filler"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	var fs unix.Statfs_t
	if err := unix.Statfs(d.path, &fs); err != nil {
		d.t.Fatal(err)
	}
	if n := int64(fs.Bavail)*fs.Bsize - leave; n > 0 {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, n); err != nil {
			d.t.Fatal(err)
		}
	}
}

// fillNodes leaves no more than so many inodes.
func (d *disk) fillNodes(leave uint64) {
	d.t.Helper()
	dir := filepath.Join(d.path, "filler")
	if err := os.Mkdir(dir, 0o700); err != nil {
		d.t.Fatal(err)
	}
	for i := 0; ; i++ {
		var fs unix.Statfs_t
		if err := unix.Statfs(d.path, &fs); err != nil {
			d.t.Fatal(err)
		}
		if fs.Ffree <= leave {
			return
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
			return
		}
	}
}

func (d *disk) makeRoom() {
	d.t.Helper()
	if err := os.RemoveAll(filepath.Join(d.path, "filler")); err != nil {
		d.t.Fatal(err)
	}
}

// files lists what lies below some directories of the disk.
func (d *disk) files(dirs ...string) (all []string) {
	for _, dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(d.path, dir, "*"))
		all = append(all, found...)
	}
	return all
}

// code is the SMTP code of a refusal; 0 is success, -1 no reply at all.
func code(err error) int {
	var reply *textproto.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &reply):
		return reply.Code
	}
	return -1
}

// within runs something that must answer at once. A busy machine may take
// longer to schedule it, so what counts is the best of three.
func within(t *testing.T, limit time.Duration, what string, do func()) {
	t.Helper()
	var best time.Duration
	for i := range 3 {
		start := time.Now()
		do()
		if took := time.Since(start); i == 0 || took < best {
			best = took
		}
		if best <= limit {
			return
		}
	}
	t.Errorf("%s takes %v", what, best)
}

// wants sends an IMAP command and checks the completion.
func wants(t *testing.T, c *imapwire.Client, command string, kinds ...string) *imapwire.Answer {
	t.Helper()
	c.SetDeadline(time.Now().Add(time.Minute))
	a, err := c.Do(command)
	if err != nil {
		t.Fatalf("%.60q: %v", command, err)
	}
	if !slices.Contains(kinds, a.Kind) && !slices.Contains(kinds, a.Kind+" ["+a.Code+"]") {
		t.Errorf("%.60q: %s [%s] %s, want %q", command, a.Kind, a.Code, a.Text, kinds)
	}
	return a
}

// junk lists what no sweeper removes and nobody reads: files in tmp/ of
// Maildirs and of the drop that hold a message that was given up. smtpd keeps
// some of its small files for use again; they have a second name or are free.
func junk(s *sandbox.Sandbox) (all []string) {
	for _, pattern := range []string{"mail/*/*/Maildir/tmp/*", "mail/*/*/Maildir/.*/tmp/*", "spool/corrupt/*", "spool/hold/*"} {
		found, _ := filepath.Glob(filepath.Join(s.Dir, pattern))
		all = append(all, found...)
	}
	return all
}

// settle waits for everything promised, and judges.
func settle(t *testing.T, l *traffic.Load, s *sandbox.Sandbox) {
	t.Helper()
	v := l.Arrive(time.Minute)
	t.Log(v)
	if len(v.Lost) > 0 || len(v.Wrong) > 0 || v.Extra > 0 {
		t.Errorf("lost %q, wrong %q, copies %q; the end of the log:\n%s", v.Lost, v.Wrong, v.Copies, s.Log()[max(0, len(s.Log())-3000):])
	}
	if left := junk(s); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if strings.Contains(s.Log(), "event=panic") || strings.Contains(s.Log(), "event=child-died") {
		t.Error("a daemon died")
	}
}
