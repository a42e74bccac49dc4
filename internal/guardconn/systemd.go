package guardconn

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// firstFD is the first descriptor that systemd passes (sd_listen_fds(3)).
const firstFD = 3

// Systemd returns the sockets that systemd passed under a name
// (FileDescriptorName= of the socket unit), none when it passed none. Call it
// once for each name: it takes the descriptors over.
func Systemd(name string) ([]net.Listener, error) {
	return activation{getenv: os.Getenv, pid: os.Getpid(), open: openFD}.listeners(name)
}

// activation is the protocol of sd_listen_fds(3).
type activation struct {
	getenv func(string) string
	pid    int
	open   func(fd int) (net.Listener, error)
}

func (a activation) listeners(name string) ([]net.Listener, error) {
	if a.getenv("LISTEN_PID") != strconv.Itoa(a.pid) {
		return nil, nil // meant for another process, or nothing at all
	}
	n, err := strconv.Atoi(a.getenv("LISTEN_FDS"))
	if err != nil || n < 0 || n > 1024 {
		return nil, fmt.Errorf("cannot use LISTEN_FDS %q: expected a number", a.getenv("LISTEN_FDS"))
	}
	names := strings.Split(a.getenv("LISTEN_FDNAMES"), ":")
	var found []net.Listener
	for i := range min(n, len(names)) {
		if names[i] != name {
			continue
		}
		l, err := a.open(firstFD + i)
		if err != nil {
			return found, fmt.Errorf("cannot listen on socket %d from systemd, named %s: %w", firstFD+i, name, err)
		}
		found = append(found, l)
	}
	return found, nil
}

func openFD(fd int) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), "systemd socket")
	if f == nil {
		return nil, syscall.EBADF
	}
	defer f.Close() // FileListener keeps a copy, closed on exec
	return net.FileListener(f)
}

// Listen listens on host:port, or on a Unix socket when address begins with a
// slash. A Unix socket that a dead process left behind is replaced, one that
// still answers is not; mode is given to the new one.
func Listen(address string, mode fs.FileMode) (net.Listener, error) {
	if !strings.HasPrefix(address, "/") {
		return net.Listen("tcp", address)
	}
	if err := removeStale(address); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", address)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(address, mode); err != nil {
		l.Close()
		return nil, fmt.Errorf("cannot set the mode of socket %s: %w", address, err)
	}
	return l, nil
}

// removeStale removes the socket at path if nobody listens on it.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("cannot listen on %s: it exists and is not a socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return fmt.Errorf("cannot listen on %s: another process does", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	return os.Remove(path)
}
