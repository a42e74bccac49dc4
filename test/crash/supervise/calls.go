package supervise

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A shape says where the arguments of a system call name files.
type shape struct {
	name  string
	fd    int // the argument that is a descriptor, or -1
	paths []pathArg
	write bool // it puts octets into fd
	plain bool // from a buffer in argument 1, of as many octets as argument 2 says
	looks bool // it changes nothing
	room  bool // it may need room on the disk; of an open, if that creates
}

// A pathArg is a path in an argument, relative to the directory in another,
// or to the working directory where that is -1.
type pathArg struct{ dir, path int }

// at is the call with one path behind a directory.
func at(name string) shape { return shape{name: name, fd: -1, paths: []pathArg{{0, 1}}} }

// two is the call with two of them.
func two(name string) shape { return shape{name: name, fd: -1, paths: []pathArg{{0, 1}, {2, 3}}} }

// by is the call about a descriptor.
func by(name string) shape { return shape{name: name, fd: 0} }

// path is the call about a path of its own.
func path(name string) shape { return shape{name: name, fd: -1, paths: []pathArg{{-1, 0}}} }

// paths is the call about two of them.
func paths(name string) shape {
	return shape{name: name, fd: -1, paths: []pathArg{{-1, 0}, {-1, 1}}}
}

// write is a call that writes from a buffer.
func write(name string) shape {
	return shape{name: name, fd: 0, write: true, plain: true, room: true}
}

// gather is one that writes from several.
func gather(name string) shape { return shape{name: name, fd: 0, write: true, room: true} }

func look(s shape) shape { s.looks = true; return s }

func room(s shape) shape { s.room = true; return s }

// shapes are the calls that are watched.
var shapes = joined(legacy(), map[uintptr]shape{
	unix.SYS_OPENAT:          room(at("openat")),
	unix.SYS_OPENAT2:         at("openat2"),
	unix.SYS_WRITE:           write("write"),
	unix.SYS_PWRITE64:        write("pwrite64"),
	unix.SYS_WRITEV:          gather("writev"),
	unix.SYS_PWRITEV:         gather("pwritev"),
	unix.SYS_PWRITEV2:        gather("pwritev2"),
	unix.SYS_FSYNC:           room(by("fsync")),
	unix.SYS_FDATASYNC:       room(by("fdatasync")),
	unix.SYS_SYNCFS:          room(by("syncfs")),
	unix.SYS_SYNC_FILE_RANGE: by("sync_file_range"),
	unix.SYS_FTRUNCATE:       by("ftruncate"),
	unix.SYS_TRUNCATE:        path("truncate"),
	unix.SYS_FALLOCATE:       room(by("fallocate")),
	unix.SYS_FCHMOD:          by("fchmod"),
	unix.SYS_FCHMODAT:        at("fchmodat"),
	unix.SYS_FCHOWN:          by("fchown"),
	unix.SYS_FCHOWNAT:        at("fchownat"),
	unix.SYS_RENAMEAT:        room(two("renameat")),
	unix.SYS_RENAMEAT2:       room(two("renameat2")),
	unix.SYS_LINKAT:          room(two("linkat")),
	unix.SYS_UNLINKAT:        at("unlinkat"),
	unix.SYS_MKDIRAT:         room(at("mkdirat")),
	unix.SYS_MKNODAT:         room(at("mknodat")),
	unix.SYS_SYMLINKAT:       {name: "symlinkat", fd: -1, paths: []pathArg{{1, 2}}, room: true},
	unix.SYS_UTIMENSAT:       {name: "utimensat", fd: 0, paths: []pathArg{{0, 1}}},
	unix.SYS_SENDFILE:        gather("sendfile"),
	unix.SYS_COPY_FILE_RANGE: {name: "copy_file_range", fd: 2, write: true, room: true},
	unix.SYS_SPLICE:          {name: "splice", fd: 2, write: true, room: true},
	unix.SYS_FLOCK:           by("flock"),

	unix.SYS_READ:              look(by("read")),
	unix.SYS_PREAD64:           look(by("pread64")),
	unix.SYS_READV:             look(by("readv")),
	unix.SYS_PREADV:            look(by("preadv")),
	unix.SYS_GETDENTS64:        look(by("getdents64")),
	unix.SYS_FSTAT:             look(by("fstat")),
	unix.SYS_STATX:             look(at("statx")),
	unix.SYS_READLINKAT:        look(at("readlinkat")),
	unix.SYS_FACCESSAT:         look(at("faccessat")),
	unix.SYS_FACCESSAT2:        look(at("faccessat2")),
	unix.SYS_STATFS:            look(path("statfs")),
	unix.SYS_FSTATFS:           look(by("fstatfs")),
	unix.SYS_INOTIFY_ADD_WATCH: look(shape{fd: -1, name: "inotify_add_watch", paths: []pathArg{{-1, 1}}}),
})

func joined(all ...map[uintptr]shape) map[uintptr]shape {
	sum := map[uintptr]shape{}
	for _, m := range all {
		for nr, s := range m {
			sum[nr] = s
		}
	}
	return sum
}

// pathOf returns the absolute path of an argument, or "".
func pathOf(n *notice, a pathArg) string {
	text, err := readString(int(n.pid), uintptr(n.args[a.path]))
	if err != nil || filepath.IsAbs(text) {
		return filepath.Clean(text)
	}
	link := fmt.Sprintf("/proc/%d/cwd", n.pid)
	if a.dir >= 0 && int32(n.args[a.dir]) != unix.AT_FDCWD {
		link = fmt.Sprintf("/proc/%d/fd/%d", n.pid, int32(n.args[a.dir]))
	}
	dir, err := os.Readlink(link)
	if err != nil {
		return ""
	}
	return filepath.Join(dir, text)
}

// creates reports whether an open may make a file; other calls may.
func creates(n *notice, s shape) bool {
	switch s.name {
	case "openat":
		return n.args[2]&unix.O_CREAT != 0 || n.args[2]&unix.O_TMPFILE == unix.O_TMPFILE
	case "open":
		return n.args[1]&unix.O_CREAT != 0
	}
	return true
}
