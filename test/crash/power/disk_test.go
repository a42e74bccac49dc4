package power_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// imageSize is small, so that an image is copied fast and its journal wraps.
const imageSize = 32 << 20

// options of every mount: the journal is committed by what the programs ask
// for and not by the clock, which would hide a flush that is missing.
const options = "commit=600"

// mkfs makes a file with an empty ext4 in it.
func mkfs(path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(path, imageSize); err != nil {
		return err
	}
	out, err := exec.Command("mkfs.ext4", "-q", "-F", "-b", "4096", "-N", "8192", "-E", "lazy_itable_init=0,lazy_journal_init=0", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return nil
}

// writeImage writes an image, and leaves out what is empty.
func writeImage(path string, image []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const part = 64 << 10
	empty := make([]byte, part)
	for from := 0; from < len(image) && err == nil; from += part {
		if p := image[from:min(from+part, len(image))]; !bytes.Equal(p, empty[:len(p)]) {
			_, err = f.WriteAt(p, int64(from))
		}
	}
	return errors.Join(err, f.Truncate(int64(len(image))))
}

// attach gives a file a loop device that goes with its last user.
func attach(file string) (*os.File, error) {
	backing, err := openBlocking(file)
	if err != nil {
		return nil, err
	}
	defer unix.Close(backing)
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range 100 { // another process may be faster
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		dev, err := openLoop(n)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(backing), Size: 512}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &config)
		if err == nil {
			return dev, nil
		}
		dev.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("loop %d: %w", n, err)
		}
	}
	return nil, errors.New("no free loop device")
}

// openBlocking opens a file without os.OpenFile, which asks whether it can be
// polled: on a recorder that would be a question to ourselves, in the middle of
// a system call of which the Go scheduler knows nothing, and could hang.
func openBlocking(path string) (fd int, err error) {
	return unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
}

// openLoop opens /dev/loopN, and makes it where no udev does.
func openLoop(n int) (*os.File, error) {
	path := fmt.Sprintf("/dev/loop%d", n)
	dev, err := os.OpenFile(path, os.O_RDWR, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return dev, err
	}
	if err := unix.Mknod(path, unix.S_IFBLK|0o660, int(unix.Mkdev(7, uint32(n)))); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR, 0)
}

// mount mounts the file system in a file; its journal is replayed.
func mount(file, dir string) error {
	dev, err := attach(file)
	if err != nil {
		return err
	}
	defer dev.Close()
	if err := unix.Mount(dev.Name(), dir, "ext4", unix.MS_NOATIME, options); err != nil {
		return fmt.Errorf("mount %s: %w", dev.Name(), err)
	}
	return nil
}

// unmount waits for processes that were just killed.
func unmount(dir string) error {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		err := unix.Unmount(dir, 0)
		if !errors.Is(err, unix.EBUSY) || time.Since(start) > 20*time.Second {
			return err
		}
	}
}

// mounted mounts for a test.
func mounted(t *testing.T, file, dir string) {
	t.Helper()
	if err := mount(file, dir); err != nil {
		t.Fatal(err)
	}
}

func unmounted(t *testing.T, dir string) {
	t.Helper()
	if err := unmount(dir); err != nil {
		t.Fatalf("unmount: %v", err)
	}
}

// cut is the power cut: EXT4_IOC_SHUTDOWN without a flush of the journal. All
// that was not committed is gone, and everything fails from then on.
func cut(dir string) error {
	const shutdown, noLogFlush = 0x8004587d, 2
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.IoctlSetPointerInt(fd, shutdown, noLogFlush)
}

// settle makes all that was done to a mounted file system durable.
func settle(t *testing.T, dir string) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Syncfs(fd); err != nil {
		t.Fatal(err)
	}
}
