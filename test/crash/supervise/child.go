package supervise

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// childEnv tells our own program to become the supervised one.
const childEnv = "PEYK_SUPERVISED"

// childSocket is the descriptor of the way to the supervisor.
const childSocket = 3

func childWord(looks bool) string {
	if looks {
		return "looks"
	}
	return "changes"
}

// Main must be called first in the main function, or TestMain, of every
// program that calls Start: Start runs that program again, to give up its
// powers and become the one that is supervised. Elsewhere it does nothing.
func Main() {
	word := os.Getenv(childEnv)
	if word == "" {
		return
	}
	err := become(word == "looks")
	unix.Sendmsg(childSocket, []byte(err.Error()), nil, nil, 0)
	os.Exit(126)
}

// become installs the filter on this thread, hands its listener over and runs
// the program; it only returns after an error.
func become(looks bool) error {
	runtime.LockOSThread() // the filter is the thread's, and execve keeps that of its caller
	unix.CloseOnExec(childSocket)
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	listener, err := install(filter(looks))
	if err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	if err := unix.Sendmsg(childSocket, []byte("ready"), unix.UnixRights(listener), nil, 0); err != nil {
		return fmt.Errorf("sendmsg: %w", err)
	}
	env := []string{}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, childEnv+"=") {
			env = append(env, v)
		}
	}
	err = unix.Exec(os.Args[1], os.Args[1:], env)
	return fmt.Errorf("exec %s: %w", os.Args[1], err)
}

// install puts a filter on this thread and returns its listener. A kernel
// that can do so waits with signals that do not kill until the supervisor has
// answered: a call that is begun again would count twice.
func install(code []unix.SockFilter) (int, error) {
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	var errno error
	for _, flags := range []uintptr{unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER} {
		fd, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
		if e == 0 {
			return int(fd), nil
		}
		errno = e
	}
	return -1, errno
}

// filter asks about the calls of shapes, and allows all others.
func filter(looks bool) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	ret := func(v uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: v} }
	code := []unix.SockFilter{
		load(4), // seccomp_data.arch
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: arch, Jt: 1},
		ret(unix.SECCOMP_RET_ALLOW),
		load(0), // seccomp_data.nr
	}
	for nr, s := range shapes {
		if s.looks && !looks {
			continue
		}
		code = append(code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jf: 1},
			ret(unix.SECCOMP_RET_USER_NOTIF))
	}
	return append(code, ret(unix.SECCOMP_RET_ALLOW))
}
