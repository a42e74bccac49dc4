package supervise

import (
	"bytes"
	"io"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A notice is struct seccomp_notif of seccomp_unotify(2).
type notice struct {
	id    uint64
	pid   uint32 // of the thread
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// A response is struct seccomp_notif_resp.
type response struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

func receiveNotice(fd int) (*notice, error) {
	n := new(notice)
	_, _, errno := syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(n)))
	if errno != 0 {
		return nil, errno
	}
	return n, nil
}

// reply answers a notice; that its task has died meanwhile is no matter.
func reply(fd int, r response) {
	syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r)))
}

// readString reads a string of another process.
func readString(pid int, at uintptr) (string, error) {
	const page = 4096
	var text []byte
	for len(text) < unix.PathMax {
		chunk, err := readMemory(pid, at, int(page-at%page))
		if err != nil {
			return "", err
		}
		if end := bytes.IndexByte(chunk, 0); end >= 0 {
			return string(append(text, chunk[:end]...)), nil
		}
		text, at = append(text, chunk...), at+uintptr(len(chunk))
	}
	return "", unix.ENAMETOOLONG
}

// readMemory reads size octets of another process.
func readMemory(pid int, at uintptr, size int) ([]byte, error) {
	b := make([]byte, size)
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(size)
	n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: at, Len: size}}, 0)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return b[:n], nil
}

// writeHalf does half of a write for its process, on its own description of
// the file, whose offset moves as it would.
func writeHalf(pid int, n *notice) (int, error) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, int(int32(n.args[0])), 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	octets, err := readMemory(pid, uintptr(n.args[1]), int(n.args[2]/2))
	if err != nil {
		return 0, err
	}
	if n.nr == unix.SYS_PWRITE64 {
		return unix.Pwrite(fd, octets, int64(n.args[3]))
	}
	return unix.Write(fd, octets)
}
