// Package tmpfs gives tests small disks that they can fill, in a mount
// namespace of their own.
package tmpfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"peyk/test/sandbox"
)

// inside marks the process that may mount: its mounts end with it.
const inside = "PEYK_TEST_MOUNTS"

// Main is the TestMain of a package that mounts: it runs the tests in a mount
// namespace, where that can be had.
func Main(m *testing.M) int {
	if os.Getenv(inside) != "" {
		return sandbox.Main(m)
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	os.Setenv(inside, "no") // no root: what needs no mount is tested all the same
	return sandbox.Main(m)
}

// Possible reports whether Mount will do more than to skip.
func Possible() bool { return os.Getenv(inside) == "yes" }

// A Disk is a small file system.
type Disk struct {
	t    testing.TB
	path string
}

// Mount puts one in place of a directory, which it makes, until the test ends.
// It skips the test where it cannot.
func Mount(t testing.TB, path, options string) *Disk {
	t.Helper()
	if !Possible() {
		t.Skip("needs root, to mount a tmpfs")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, "mode=700,"+options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
	return &Disk{t, path}
}

// FillOctets leaves about so many octets.
func (d *Disk) FillOctets(leave int64) {
	d.t.Helper()
	f, err := os.Create(filepath.Join(d.path, "filler"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	for size := int64(0); ; {
		var fs unix.Statfs_t
		if err := unix.Statfs(d.path, &fs); err != nil {
			d.t.Fatal(err)
		}
		n := int64(fs.Bavail)*fs.Bsize - leave
		if n <= 0 {
			return
		}
		err := unix.Fallocate(int(f.Fd()), 0, size, n)
		switch {
		case err == nil:
			size += n
		case !errors.Is(err, unix.ENOSPC): // that is somebody who was faster
			d.t.Fatal(err)
		}
	}
}

// FillNodes leaves no more than so many inodes.
func (d *Disk) FillNodes(leave uint64) {
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

// MakeRoom undoes that.
func (d *Disk) MakeRoom() {
	d.t.Helper()
	if err := os.RemoveAll(filepath.Join(d.path, "filler")); err != nil {
		d.t.Fatal(err)
	}
}

// Files lists what lies below some directories of the disk.
func (d *Disk) Files(dirs ...string) (all []string) {
	for _, dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(d.path, dir, "*"))
		all = append(all, found...)
	}
	return all
}
