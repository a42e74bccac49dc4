package supervise

import "golang.org/x/sys/unix"

// legacy are the calls that only old architectures have.
func legacy() map[uintptr]shape {
	return map[uintptr]shape{
		unix.SYS_OPEN:    room(path("open")),
		unix.SYS_CREAT:   room(path("creat")),
		unix.SYS_RENAME:  room(paths("rename")),
		unix.SYS_LINK:    room(paths("link")),
		unix.SYS_UNLINK:  path("unlink"),
		unix.SYS_MKDIR:   room(path("mkdir")),
		unix.SYS_RMDIR:   path("rmdir"),
		unix.SYS_MKNOD:   room(path("mknod")),
		unix.SYS_CHMOD:   path("chmod"),
		unix.SYS_CHOWN:   path("chown"),
		unix.SYS_LCHOWN:  path("lchown"),
		unix.SYS_UTIMES:  path("utimes"),
		unix.SYS_SYMLINK: {name: "symlink", fd: -1, paths: []pathArg{{-1, 1}}, room: true},

		unix.SYS_STAT:       look(path("stat")),
		unix.SYS_LSTAT:      look(path("lstat")),
		unix.SYS_ACCESS:     look(path("access")),
		unix.SYS_READLINK:   look(path("readlink")),
		unix.SYS_NEWFSTATAT: look(at("newfstatat")),
	}
}

// arch is the word by which the kernel names this architecture to filters.
const arch = unix.AUDIT_ARCH_X86_64
