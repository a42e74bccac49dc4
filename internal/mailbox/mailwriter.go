package mailbox

import (
	"bytes"

	"peyk/internal/commit"
)

// bufferSize is how much of a message is collected before it is written.
const bufferSize = 64 << 10

// mailWriter writes a message to a file with LF line ends, whatever line ends
// it is given, and counts.
type mailWriter struct {
	file  *commit.File
	host  *Host
	buf   *[]byte
	count lineCounter
	cr    bool // a CR that may belong to a CRLF
	err   error
}

func (h *Host) newMailWriter(file *commit.File) *mailWriter {
	buf := h.buffers.Get().(*[]byte)
	*buf = (*buf)[:0]
	return &mailWriter{file: file, host: h, buf: buf}
}

// Write takes CRLF or LF.
func (w *mailWriter) Write(p []byte) (int, error) {
	n := len(p)
	if w.cr && n > 0 {
		w.cr = false
		if p[0] != '\n' {
			w.put([]byte{'\r'})
		}
	}
	for len(p) > 0 && w.err == nil {
		i := bytes.IndexByte(p, '\r')
		if i < 0 {
			w.put(p)
			break
		}
		w.put(p[:i])
		p = p[i+1:]
		switch {
		case len(p) == 0:
			w.cr = true
		case p[0] != '\n':
			w.put([]byte{'\r'})
		}
	}
	return n, w.err
}

func (w *mailWriter) put(p []byte) {
	w.count.Write(p)
	for len(p) > 0 && w.err == nil {
		room := cap(*w.buf) - len(*w.buf)
		n := min(room, len(p))
		*w.buf = append(*w.buf, p[:n]...)
		p = p[n:]
		if len(*w.buf) == cap(*w.buf) {
			w.flush()
		}
	}
}

func (w *mailWriter) flush() {
	if w.err == nil && len(*w.buf) > 0 {
		_, w.err = w.file.Write(*w.buf)
	}
	*w.buf = (*w.buf)[:0]
}

// end writes what is left and gives the buffer back.
func (w *mailWriter) end() error {
	if w.cr {
		w.put([]byte{'\r'})
	}
	w.flush()
	w.host.buffers.Put(w.buf)
	w.buf = nil
	return w.err
}

// written is a message under a temporary name. It is not durable before the
// file is finished.
type written struct {
	file       *commit.File
	tmp        string
	size, wire int64
}

// writeTmp writes a message into a tmp directory and syncs it.
func (h *Host) writeTmp(dir, ident string, fill func(w *mailWriter) error) (written, error) {
	w, err := h.writeUnsynced(dir, ident, fill)
	if err == nil {
		err = w.file.Finish()
	}
	return w, err
}

// writeUnsynced writes a message into a tmp directory. The file is still open.
func (h *Host) writeUnsynced(dir, ident string, fill func(w *mailWriter) error) (written, error) {
	name, err := h.nameFor(ident)
	if err != nil {
		return written{}, err
	}
	file, err := h.create(dir + "/tmp/" + name)
	if err != nil {
		return written{}, err
	}
	w := h.newMailWriter(file)
	err = fill(w)
	if endErr := w.end(); err == nil {
		err = endErr
	}
	if err != nil {
		file.Abort()
		return written{}, err
	}
	return written{file: file, tmp: file.Name(), size: w.count.size, wire: w.count.wire()}, nil
}
