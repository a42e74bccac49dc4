package supervise

import "golang.org/x/sys/unix"

// legacy are the calls that only old architectures have, and one whose name
// differs.
func legacy() map[uintptr]shape {
	return map[uintptr]shape{unix.SYS_FSTATAT: look(at("fstatat"))}
}

// arch is the word by which the kernel names this architecture to filters.
const arch = unix.AUDIT_ARCH_AARCH64
