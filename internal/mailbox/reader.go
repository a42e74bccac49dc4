package mailbox

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
	if l.At(i).Size >= int64(len(buf)) {
		return nil
	}
	message, _ := r.r.read(l, i, buf)
	return message
}
