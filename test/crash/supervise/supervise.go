// Package supervise runs a program under seccomp user notification: the kernel
// asks before each system call that touches files, and the supervisor lets it
// go on, makes it fail, cuts a write short, or kills the program there. It
// works with static binaries and any number of threads, as root and as an
// ordinary user.
//
// Only calls that concern files below one directory count, so that sockets,
// the runtime's own pipes and the configuration do not.
package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrUnsupported means that this kernel, or the sandbox around us, has no user
// notification.
var ErrUnsupported = errors.New("no seccomp user notification here")

// An Action is what becomes of a call.
type Action string

// The actions.
const (
	Fail      Action = "fail"       // it returns Errno, and does nothing
	FailOn    Action = "fail-on"    // it and all that follow return Errno, until Disarm: only calls that need room, as on a full disk
	Short     Action = "short"      // a write of several octets writes half of them
	ShortFull Action = "short-full" // the same, and the next write to that file returns Errno
	Kill      Action = "kill"       // the program is killed before it
)

// A Fault is what happens, and when.
type Fault struct {
	Action Action
	Errno  syscall.Errno
	N      int // at the Nth call that counts, from 1; 0: never
}

func (f Fault) String() string {
	switch f.Action {
	case Short, Kill:
		return fmt.Sprintf("%s at %d", f.Action, f.N)
	}
	return fmt.Sprintf("%s %s at %d", f.Action, unix.ErrnoName(f.Errno), f.N)
}

// A Call is one system call that counted.
type Call struct {
	Name string
	Path string // the file, or the last of two
	From string // the first of two
}

func (c Call) String() string { return c.Name + " " + c.Path }

// Options say what is run, and what is watched.
type Options struct {
	Path                  string
	Args                  []string // without the program's name
	Env                   []string // in addition to ours
	Stdin, Stdout, Stderr *os.File
	Dir                   string // calls about files at or below it count
	Looks                 bool   // calls that only read count, too
	Fault                 Fault
	Armed                 bool // count from the start; else from Arm on
}

// A Process is a program under supervision.
type Process struct {
	o        Options
	cmd      *exec.Cmd
	listener int
	done     chan struct{} // closed when the listener has ended

	mu       sync.Mutex
	armed    bool
	calls    []Call
	injected *Call
	full     string // the file whose next write fails
	threads  map[uint32]bool
}

// Start runs a program. The caller must call Wait.
func Start(o Options) (*Process, error) {
	dir, err := filepath.EvalSymlinks(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "supervisor"), os.NewFile(uintptr(pair[1]), "supervised")
	defer ours.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{o: o, armed: o.Armed, done: make(chan struct{}), threads: map[uint32]bool{}}
	p.cmd = exec.Command(self, append([]string{o.Path}, o.Args...)...)
	// GODEBUG: the runtime's signals to itself would only take the kernel's time.
	p.cmd.Env = append(append(os.Environ(), "GODEBUG=asyncpreemptoff=1"), o.Env...)
	p.cmd.Env = append(p.cmd.Env, childEnv+"="+childWord(o.Looks))
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = o.Stdin, o.Stdout, o.Stderr
	p.cmd.ExtraFiles = []*os.File{theirs}
	err = p.cmd.Start()
	theirs.Close()
	if err != nil {
		return nil, err
	}
	if p.listener, err = receive(pair[0]); err != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		return nil, err
	}
	go p.answer()
	return p, nil
}

// receive takes the listener that the child sends, or its reason.
func receive(socket int) (int, error) {
	word, oob := make([]byte, 200), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(socket, word, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return -1, err
	}
	if len(messages) != 1 {
		return -1, fmt.Errorf("%w: %s", ErrUnsupported, word[:n])
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Arm begins to count.
func (p *Process) Arm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = true
}

// Disarm ends the counting, and whatever fault still lasts.
func (p *Process) Disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed, p.full = false, ""
}

// Injected returns the call that the fault hit first.
func (p *Process) Injected() (Call, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.injected == nil {
		return Call{}, false
	}
	return *p.injected, true
}

// Calls returns what has counted so far, in order.
func (p *Process) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Call(nil), p.calls...)
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Wait waits for the end of the program, as exec.Cmd does.
func (p *Process) Wait() error {
	err := p.cmd.Wait()
	<-p.done
	return err
}

// Ended reports whether the program has ended; Wait does not block then.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// WaitFor is Wait, but kills the program after patience; ended is false then.
func (p *Process) WaitFor(patience time.Duration) (ended bool, err error) {
	timer := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	err = p.Wait()
	return timer.Stop(), err
}

// answer serves the notifications until no task uses the filter any more.
func (p *Process) answer() {
	defer close(p.done)
	defer unix.Close(p.listener)
	for {
		poll := []unix.PollFd{{Fd: int32(p.listener), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err == unix.EINTR {
			continue
		}
		if poll[0].Revents&unix.POLLIN == 0 {
			return
		}
		n, err := receiveNotice(p.listener)
		if err != nil {
			continue // the task has died meanwhile
		}
		reply(p.listener, p.decide(n))
	}
}

// decide looks at one call.
func (p *Process) decide(n *notice) response {
	onward := response{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.armed || !p.ours(n.pid) {
		return onward
	}
	s, known := shapes[uintptr(n.nr)]
	if !known {
		return onward
	}
	path := p.subject(n, s)
	if path == "" || p.spared(n, s) {
		return onward
	}
	call := Call{Name: s.name, Path: p.short(path)}
	if len(s.paths) == 2 {
		call.From = p.short(pathOf(n, s.paths[0]))
	}
	if p.full != "" && p.full == path && s.write {
		p.full = ""
		return response{id: n.id, err: -int32(p.o.Fault.Errno)}
	}
	p.calls = append(p.calls, call)
	late := p.o.Fault.Action == FailOn && p.injected != nil
	if len(p.calls) != p.o.Fault.N && !late {
		return onward
	}
	if p.injected == nil {
		p.injected = &call
	}
	return p.inject(n, path, onward)
}

func (p *Process) inject(n *notice, path string, onward response) response {
	switch f := p.o.Fault; f.Action {
	case Fail, FailOn:
		return response{id: n.id, err: -int32(f.Errno)}
	case Kill:
		p.cmd.Process.Kill()
		return response{id: n.id, err: -int32(unix.EINTR)}
	case Short, ShortFull:
		written, err := writeHalf(p.cmd.Process.Pid, n)
		if err != nil {
			return onward
		}
		if f.Action == ShortFull {
			p.full = path
		}
		return response{id: n.id, val: int64(written)}
	}
	return onward
}

// spared reports whether a fault cannot happen to a call: what is no write
// cannot be short, and what needs no room works on a full disk.
func (p *Process) spared(n *notice, s shape) bool {
	switch p.o.Fault.Action {
	case Short, ShortFull:
		return !s.plain || n.args[2] < 2
	case FailOn:
		return !s.room || !creates(n, s)
	}
	return false
}

// ours reports whether a thread is one of the program, not of a child of it.
func (p *Process) ours(tid uint32) bool {
	is, known := p.threads[tid]
	if !known {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", p.cmd.Process.Pid, tid))
		is = err == nil
		p.threads[tid] = is
	}
	return is
}

// subject returns the file that a call is about, or "" if it does not count.
// Before a kill the words to the other side count, too: the moment between a
// promise and the next change is one of those that matter.
func (p *Process) subject(n *notice, s shape) string {
	found := ""
	for _, a := range s.paths {
		if path := pathOf(n, a); p.below(path) {
			found = path
		}
	}
	if s.fd < 0 {
		return found
	}
	path, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, int32(n.args[s.fd])))
	if p.below(path) {
		return path
	}
	talk := strings.HasPrefix(path, "socket:") || strings.HasPrefix(path, "pipe:")
	if p.o.Fault.Action == Kill && s.write && talk && int32(n.args[s.fd]) != 2 {
		return "(the other side)"
	}
	return found
}

// short is a path as it stands below the directory.
func (p *Process) short(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, p.o.Dir), "/")
}

func (p *Process) below(path string) bool {
	return path == p.o.Dir || strings.HasPrefix(path, p.o.Dir+"/")
}
