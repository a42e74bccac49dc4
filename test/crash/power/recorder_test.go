package power_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// A write is one entry of a recorder's log; a flush has no data.
type write struct {
	offset int64
	data   []byte
}

func (w *write) flush() bool { return w.data == nil }

// A recorder is a disk: one file, served by FUSE, that remembers every write
// and every flush in their order. A loop device on it passes on what a file
// system writes, and an fsync for each flush.
type recorder struct {
	path string // the file
	dev  *os.File

	mu   sync.Mutex
	data []byte
	log  []write
}

// record mounts a recorder that holds data over an empty file at path.
func record(path string, data []byte) (*recorder, error) {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	r := &recorder{path: path, dev: os.NewFile(uintptr(fd), "/dev/fuse"), data: slices.Clone(data)}
	// The root of this file system is a file, so there are no names.
	options := fmt.Sprintf("fd=%d,rootmode=100600,user_id=0,group_id=0,allow_other", fd)
	if err := unix.Mount("peyk-recorder", path, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(fd)
		return nil, err
	}
	go r.serve(fd)
	return r, nil
}

// close unmounts; the log stays.
func (r *recorder) close() error {
	defer r.dev.Close()
	return unmount(r.path)
}

// position is how much the log holds.
func (r *recorder) position() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int64(len(r.log))
}

// The part of linux/fuse.h that a disk needs.
const (
	fuseForget, fuseGetattr, fuseSetattr     = 2, 3, 4
	fuseOpen, fuseRead, fuseWrite            = 14, 15, 16
	fuseRelease, fuseFsync, fuseFlush        = 18, 20, 25
	fuseInit, fuseDestroy, fuseForgetMany    = 26, 38, 42
	fuseInHeader, fuseOutHeader, fuseWriteIn = 40, 16, 40
	fuseBigWrites                            = 1 << 5
	maxWrite                                 = 128 << 10
)

// serve answers one request after the other until the disk is unmounted. What
// was answered before a flush came is covered by it.
func (r *recorder) serve(fd int) {
	buf := make([]byte, maxWrite+8192)
	for {
		n, err := unix.Read(fd, buf)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil || n < fuseInHeader {
			return // ENODEV: unmounted
		}
		opcode, unique := binary.NativeEndian.Uint32(buf[4:]), binary.NativeEndian.Uint64(buf[8:])
		if opcode == fuseForget || opcode == fuseForgetMany {
			continue
		}
		body, errno := r.answer(opcode, buf[fuseInHeader:n])
		out := make([]byte, fuseOutHeader, fuseOutHeader+len(body))
		binary.NativeEndian.PutUint32(out, uint32(fuseOutHeader+len(body)))
		binary.NativeEndian.PutUint32(out[4:], uint32(-int32(errno)))
		binary.NativeEndian.PutUint64(out[8:], unique)
		unix.Write(fd, append(out, body...))
	}
}

// words puts numbers of 32 bits one behind the other.
func words(all ...uint32) (b []byte) {
	for _, w := range all {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b
}

func (r *recorder) answer(opcode uint32, in []byte) ([]byte, unix.Errno) {
	switch opcode {
	case fuseInit:
		return append(words(7, 31, maxWrite, fuseBigWrites, 16|12<<16, maxWrite, 1), make([]byte, 36)...), 0
	case fuseGetattr, fuseSetattr:
		return r.attributes(), 0
	case fuseOpen:
		return make([]byte, 16), 0
	case fuseRead:
		return r.read(int64(binary.NativeEndian.Uint64(in[8:])), int(binary.NativeEndian.Uint32(in[16:]))), 0
	case fuseWrite:
		return r.write(int64(binary.NativeEndian.Uint64(in[8:])), in[fuseWriteIn:])
	case fuseFsync:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.log = append(r.log, write{})
		return nil, 0
	case fuseFlush, fuseRelease, fuseDestroy:
		return nil, 0
	}
	return nil, unix.ENOSYS
}

func (r *recorder) attributes() []byte {
	out := words(3600, 0, 0, 0) // valid for an hour
	size := uint32(len(r.data))
	out = append(out, words(1, 0, size, 0, size/512, 0)...)
	out = append(out, make([]byte, 3*8+3*4)...) // times
	return append(out, words(unix.S_IFREG|0o600, 1, 0, 0, 0, 4096, 0)...)
}

func (r *recorder) read(offset int64, size int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	from := min(offset, int64(len(r.data)))
	return slices.Clone(r.data[from:min(from+int64(size), int64(len(r.data)))])
}

func (r *recorder) write(offset int64, data []byte) ([]byte, unix.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if offset+int64(len(data)) > int64(len(r.data)) {
		return nil, unix.ENOSPC
	}
	copy(r.data[offset:], data)
	r.log = append(r.log, write{offset, slices.Clone(data)})
	return words(uint32(len(data)), 0), 0
}

// TestRecorder holds the recorder to its word: what is read is what was
// written, and the log holds it, and each fsync, in order.
func TestRecorder(t *testing.T) {
	needs(t)
	dir := workDir(t)
	r, err := record(dir+"/disk", make([]byte, 1<<20))
	if err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	defer r.close()
	fd, err := openBlocking(r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.Pwrite(fd, []byte("one"), 4096)
	unix.Fsync(fd)
	unix.Pwrite(fd, []byte("two"), 4097)
	got := make([]byte, 5)
	if _, err := unix.Pread(fd, got, 4096); err != nil || string(got) != "otwo\x00" {
		t.Errorf("read %q, %v", got, err)
	}
	if len(r.log) != 3 || string(r.log[0].data) != "one" || !r.log[1].flush() || string(r.log[2].data) != "two" || r.log[2].offset != 4097 {
		t.Errorf("log %+v", r.log)
	}
	if _, err := unix.Pwrite(fd, []byte("x"), 1<<20); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a write behind the end: %v", err)
	}
}
