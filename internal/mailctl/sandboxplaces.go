package mailctl

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"peyk/internal/control"
	"peyk/internal/status"
)

// findPlaces makes the directories, unless another sandbox uses them.
func (s *sandbox) findPlaces(dir string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	s.bin = filepath.Dir(exe)
	if _, err := os.Stat(filepath.Join(s.bin, "smtpd")); err != nil {
		s.bin = filepath.Join(filepath.Dir(s.bin), "libexec", "peyk")
	}
	if s.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if strings.ContainsAny(s.dir, "\r\n") || strings.TrimSpace(s.dir) != s.dir {
		return usagef("cannot use the directory %q: a control file cannot hold such a name; name another one with -dir", s.dir)
	}
	for _, d := range []string{"", "control", "control/domains", "spool", "mail", "auth", "run", "log"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o700); err != nil {
			return fmt.Errorf("cannot make the sandbox: %w; name a directory of yours with -dir", err)
		}
	}
	if err := s.occupy(); err != nil {
		return err
	}
	s.sockets, err = socketDir(s.dir)
	return err
}

// occupy keeps a second sandbox out of DIR until this process ends.
func (s *sandbox) occupy() error {
	f, err := os.OpenFile(s.path("run", "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("cannot use the sandbox: %w; name a directory of yours with -dir", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return status.Newf(451, "4.3.0", "a sandbox runs in %s already; stop it, or name another directory with -dir", s.dir)
	}
	s.lock = f
	return err
}

// longestSocket is how long the path of a Unix socket may be here: the kernel
// allows 107 bytes, and our longest name takes 20 of them.
const longestSocket = 87

// socketDir returns DIR/run, or a directory with a short name where that would
// be too long for a socket.
func socketDir(dir string) (string, error) {
	run := filepath.Join(dir, "run")
	if len(run) <= longestSocket {
		return run, nil
	}
	link := filepath.Join(run, "sockets") // remembers the short name
	if short, err := os.Readlink(link); err == nil && ownDir(short) {
		return short, nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	short, err := os.MkdirTemp("", "peyk-")
	if err != nil {
		return "", err
	}
	return short, os.Symlink(short, link)
}

// ownDir reports whether a directory is still ours alone: what lies in /tmp may
// have been cleaned away and made again by anybody.
func ownDir(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// lastBase is the highest base port: port 995 of it still is one.
const lastBase = 64000

func goodBase(port int) bool { return port >= 1 && port <= lastBase }

// choosePorts takes the base port that is given, else the one of the earlier
// run, else looks for a free one. It is written down for the next run.
func (s *sandbox) choosePorts() error {
	if s.basePort == 0 {
		b, _ := os.ReadFile(s.path("base-port"))
		s.basePort, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	for base := 10000; !goodBase(s.basePort) && base <= lastBase; base += 1000 {
		if s.free(base) {
			s.basePort = base
		}
	}
	if !goodBase(s.basePort) {
		return status.New(451, "4.3.0", "no free ports from 10025 to 64995; name a base port with -base-port")
	}
	return s.tool.disk.ReplaceFile(s.path("base-port"), []byte(strconv.Itoa(s.basePort)+"\n"), 0o600)
}

func (s *sandbox) free(base int) bool {
	for _, service := range services {
		if tryPort(loopback(base+service.offset)) != nil {
			return false
		}
	}
	return true
}

func tryPort(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return l.Close()
}

// checkPorts names a port that somebody else has before any daemon stumbles
// over it.
func (s *sandbox) checkPorts() error {
	for _, service := range services {
		for _, addr := range s.config.Lines(service.setting) {
			if strings.HasPrefix(addr, "/") {
				continue
			}
			if err := tryPort(addr); err != nil {
				return status.Newf(451, "4.3.0", "cannot listen on %s: %v; stop what listens there, or choose other ports with -base-port", addr, reason(err))
			}
		}
	}
	return nil
}

// reason leaves out what our own text says already.
func reason(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// listens returns where a service really listens, after -set.
func (s *sandbox) listens(setting *control.Setting) string {
	if lines := s.config.Lines(setting); len(lines) > 0 {
		return lines[0]
	}
	return ""
}
