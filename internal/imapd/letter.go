package imapd

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"

	"peyk/internal/mailbox"
	"peyk/internal/mimescan"
)

// smallMessage is how large a message may be to be read at once.
const smallMessage = 128 << 10

// headerCap bounds how much of a header HEADER.FIELDS and SEARCH look at.
const headerCap = 1 << 20

// A letter is a message that is open for FETCH or SEARCH. What is asked of it
// is read once.
type letter struct {
	folder *mailbox.Folder
	uid    uint32
	file   *os.File
	r      io.ReaderAt
	size   int64
	data   []byte // the whole file, when it is small
	buf    *[]byte

	header     []byte
	headerSpan mimescan.Span
	root       *mimescan.Part
}

// openLetter opens a message; the error wraps mailbox.ErrGone when it was
// expunged.
func (s *session) openLetter(uid uint32) (*letter, error) { return s.openIn(s.sel.folder, uid) }

// letterOf is openLetter for a message that may have been read already.
func (s *session) letterOf(uid uint32, a *mailbox.Facts) (*letter, error) {
	if a == nil || a.Message == nil {
		return s.openLetter(uid)
	}
	return &letter{folder: s.sel.folder, uid: uid, r: bytes.NewReader(a.Message), size: int64(len(a.Message)), data: a.Message}, nil
}

// openIn is openLetter for a folder that need not be the selected one.
func (s *session) openIn(folder *mailbox.Folder, uid uint32) (*letter, error) {
	f, err := folder.Open(uid)
	if err != nil {
		return nil, stored(err)
	}
	l := &letter{folder: folder, uid: uid, file: f, r: f}
	if err := l.load(s.srv); err != nil {
		l.close(s.srv)
		return nil, stored(err)
	}
	return l, nil
}

func (l *letter) load(srv *Server) error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return &fs.PathError{Op: "open", Path: l.file.Name(), Err: errors.New("not a regular file")}
	}
	l.size = info.Size()
	if l.size > smallMessage {
		return nil
	}
	l.buf = srv.buffer()
	l.data = (*l.buf)[:l.size]
	if _, err := l.file.ReadAt(l.data, 0); err != nil && err != io.EOF {
		return err
	}
	l.r = bytes.NewReader(l.data)
	return nil
}

func (l *letter) close(srv *Server) {
	if l.file != nil {
		l.file.Close()
	}
	if l.buf != nil {
		srv.buffers.Put(l.buf)
	}
}

// buffer returns one that holds a small message.
func (srv *Server) buffer() *[]byte {
	if b, ok := srv.buffers.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, smallMessage)
	return &b
}

// readHeader finds the message's header.
func (l *letter) readHeader() error {
	if l.headerSpan.End > 0 || l.header != nil {
		return nil
	}
	if l.data != nil {
		l.header = headerOf(l.data)
		l.headerSpan = mimescan.Span{End: int64(len(l.header))}
		return nil
	}
	var err error
	l.header, l.headerSpan, err = mimescan.ReadHeader(l.r, l.size, headerCap)
	return err
}

// headerOf returns the header of a message in memory, with the empty line.
func headerOf(data []byte) []byte {
	for at := 0; at < len(data); {
		n := bytes.IndexByte(data[at:], '\n') + 1
		if n == 0 {
			return data
		}
		at += n
		if n == 1 || n == 2 && data[at-2] == '\r' {
			return data[:at]
		}
	}
	return data
}

// structure scans the message.
func (l *letter) structure() (*mimescan.Part, error) {
	if l.root != nil {
		return l.root, nil
	}
	var err error
	l.root, err = mimescan.Scan(l.r, l.size)
	return l.root, err
}

// bytes returns a span that lies in memory, or reads a small one.
func (l *letter) bytes(span mimescan.Span, limit int64) ([]byte, error) {
	if l.data != nil {
		return l.data[span.Start:span.End], nil
	}
	b := make([]byte, min(span.Len(), limit))
	_, err := l.r.ReadAt(b, span.Start)
	if err == io.EOF {
		err = nil
	}
	return b, err
}
