package mailbox

import "golang.org/x/sys/unix"

// A Reader reads small messages of one folder, one after the other, with fewer
// system calls than Open.
type Reader struct{ r *messageReader }

// NewReader returns a Reader, which is to be closed.
func (f *Folder) NewReader() *Reader { return &Reader{f.newMessageReader()} }

// Close gives the Reader back.
func (r *Reader) Close() { r.r.close() }

// Small reads the message at an index of a list into buf. It returns nil when
// the message does not fit, or is not where the list has it: Open tells more.
func (r *Reader) Small(l List, i int, buf []byte) []byte {
	if r.r.dir < 0 || l.At(i).Size >= int64(len(buf)) {
		return nil
	}
	fd, err := openBeneath(r.r.dir, l.path(i))
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	r.r.f.host.count.fileReads.Add(1)
	n, err := unix.Pread(fd, buf, 0)
	for err == unix.EINTR {
		n, err = unix.Pread(fd, buf, 0)
	}
	if err != nil || n <= 0 || n == len(buf) {
		return nil
	}
	return buf[:n]
}
