package mailctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"peyk/internal/control"
	"peyk/internal/daemon"
	"peyk/internal/eventlog"
	"peyk/internal/status"
)

// startTime is how long a daemon may take until it answers.
const startTime = 30 * time.Second

// A child is one daemon of a sandbox.
type child struct {
	name, program string
	seat          *control.Setting // the socket that it answers; another program may sit there
	args          []string
	unless        func(*control.Config) bool // it has nothing to do; nil = never
}

// children are the daemons in the order of their start. The flags make each of
// the two smtpd units leave the other's ports alone.
var children = []child{
	{"auth-remote", "auth-remote", control.AuthRemoteSocket, nil, asksNobody},
	{"authd", "authd", control.AuthSocket, nil, nil},
	{"deliver", "deliver", control.DeliverSocket, []string{"-listen"}, nil},
	{"remote", "remote", control.RemoteSocket, nil, nil},
	{"queue-run", "queue-run", nil, nil, nil},
	{"smtpd", "smtpd", nil, []string{"-listen-submission", "", "-listen-submissions", "", "-listen-submit", ""}, nil},
	{"submission", "smtpd", nil, []string{"-listen-smtp", ""}, nil},
	{"imapd", "imapd", nil, nil, nil},
	{"pop3d", "pop3d", nil, nil, nil},
}

// asksNobody reports whether auth-remote has nothing to do.
func asksNobody(c *control.Config) bool {
	return len(c.Backends()) == 0 && c.Text(control.OAuthIntrospection) == "" && c.Text(control.OAuthKeys) == ""
}

// taken reports whether another program sits in the seat of a child already:
// its socket was moved elsewhere with -set, and somebody answers there.
func (s *sandbox) taken(c child) bool {
	if c.seat == nil {
		return false
	}
	path := s.config.Text(c.seat)
	if path == s.controls()[c.seat.Name] {
		return false
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// A family is the running daemons of a sandbox. One that dies is started
// again; all of them die with the sandbox.
type family struct {
	sandbox *sandbox
	stderr  io.Writer
	log     *eventlog.Log
	hup     chan os.Signal

	mu       sync.Mutex
	stopping bool
	running  map[string]*os.Process
	wait     sync.WaitGroup
}

func newFamily(s *sandbox, stderr io.Writer) *family {
	return &family{sandbox: s, stderr: stderr, log: eventlog.New(stderr, "mailctl", eventlog.Logfmt, s.tool.now),
		hup: make(chan os.Signal, 1), running: make(map[string]*os.Process)}
}

// start starts every daemon and returns when all of them are ready.
func (f *family) start(ctx context.Context) error {
	signal.Notify(f.hup, syscall.SIGHUP)
	for i := range children {
		if f.sandbox.taken(children[i]) || children[i].unless != nil && children[i].unless(f.sandbox.config) {
			continue
		}
		ready := make(chan error, 1)
		f.wait.Go(func() { f.keep(i, ready) })
		select {
		case err := <-ready:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// keep runs one daemon again and again until the family stops. The thread is
// kept too: the kernel ends a child when the thread that made it ends.
func (f *family) keep(i int, started chan<- error) {
	runtime.LockOSThread()
	child := children[i]
	for first := true; ; first = false {
		ready := make(chan struct{})
		if first {
			go func() { <-ready; started <- nil }()
		}
		err := f.once(i, ready)
		worked := closed(ready)
		if first && !worked {
			started <- err
			return
		}
		if f.isStopping() {
			return
		}
		f.log.Event(eventlog.ChildDied, "child", child.name, "error", err)
		if !worked {
			time.Sleep(time.Second) // it cannot even start: do not spin
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// once runs a daemon until it ends, and closes ready as soon as it answers.
func (f *family) once(i int, ready chan struct{}) error {
	child, s := children[i], f.sandbox
	notice, err := listenNotice(s.socket(child.name + ".notify"))
	if err != nil {
		return err
	}
	defer os.Remove(s.socket(child.name + ".notify"))
	defer notice.Close()
	cmd := s.program(child.program, append([]string{"-control", s.path("control")}, child.args...)...)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+s.socket(child.name+".notify"))
	cmd.Stderr = f.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := f.launch(child.name, cmd); err != nil {
		return err
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		if awaitReady(notice) == nil {
			close(ready)
		}
	}()
	err = cmd.Wait()
	notice.Close()
	<-heard
	os.Remove(s.path("run", child.name+".pid"))
	return fmt.Errorf("%s ended: %w; look into %s", child.name, orClean(err), s.path("log", "peyk.log"))
}

func orClean(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// launch starts a process and records its pid, unless the family stops.
func (f *family) launch(name string, cmd *exec.Cmd) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopping {
		return context.Canceled
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w; build everything with make first", name, err)
	}
	f.running[name] = cmd.Process
	pid := strconv.Itoa(cmd.Process.Pid) + "\n"
	return f.sandbox.tool.disk.ReplaceFile(f.sandbox.path("run", name+".pid"), []byte(pid), 0o600)
}

// program returns a command for one of our programs. It inherits nothing of
// the caller's configuration.
func (s *sandbox) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(s.bin+"/"+name, args...)
	for _, pair := range os.Environ() {
		if len(pair) < 5 || pair[:5] != "PEYK_" {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	return cmd
}

func listenNotice(path string) (*net.UnixConn, error) {
	os.Remove(path)
	return net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
}

// awaitReady waits for READY=1 (sd_notify(3)).
func awaitReady(notice *net.UnixConn) error {
	notice.SetReadDeadline(time.Now().Add(startTime))
	buf := make([]byte, 256)
	for {
		n, err := notice.Read(buf)
		if err != nil {
			return status.New(451, "4.3.0", "the daemon does not get ready").Because("wait", err)
		}
		if string(buf[:n]) == "READY=1" {
			return nil
		}
	}
}

func (f *family) isStopping() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stopping
}

// watch hands SIGHUP on until ctx ends.
func (f *family) watch(ctx context.Context) {
	for {
		select {
		case <-f.hup:
			f.signal(syscall.SIGHUP)
		case <-ctx.Done():
			return
		}
	}
}

func (f *family) signal(sig syscall.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.running {
		p.Signal(sig)
	}
}

// stop ends every daemon and returns when all are gone.
func (f *family) stop() {
	signal.Stop(f.hup)
	f.mu.Lock()
	f.stopping = true
	f.mu.Unlock()
	f.signal(syscall.SIGTERM)
	timer := time.AfterFunc(daemon.DrainTime+2*time.Second, func() { f.signal(syscall.SIGKILL) })
	defer timer.Stop()
	f.wait.Wait()
}
