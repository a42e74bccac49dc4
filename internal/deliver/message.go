package deliver

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"

	"peyk/internal/address"
	"peyk/internal/header"
	"peyk/internal/status"
)

// A message on its way: the header in memory, the rest from the wire. Only
// after keep can it be read more than once.
type message struct {
	sender string
	head   *header.Header
	body   io.Reader   // what follows the header, from the wire
	kept   io.ReaderAt // the same once it was kept
	size   int64       // of kept
	file   *os.File    // behind kept; nil in memory
	err    error       // that reading from the wire met
	ident  string      // its queue id; "" if none was told
	again  bool        // it may have been delivered before
}

// readMessage reads the header. The sender is in wire form.
func readMessage(in *bufio.Reader, sender string) (*message, error) {
	head, err := header.Read(in, maxHeader)
	if err != nil {
		return nil, err
	}
	return &message{sender: sender, head: head, body: in}, nil
}

// keep reads the rest into memory, or into a nameless file.
func (m *message) keep(tempDir string) error {
	buf := make([]byte, maxKept)
	n, err := io.ReadFull(m.body, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		m.kept, m.size = bytes.NewReader(buf[:n]), int64(n)
		return nil
	}
	if err != nil {
		return err
	}
	m.file, err = os.CreateTemp(tempDir, "deliver-*")
	if err != nil {
		return status.New(451, "4.3.0", "cannot keep the message").Because("make a temporary file", err)
	}
	os.Remove(m.file.Name()) // it goes when it is closed, whatever happens
	if _, err := m.file.Write(buf); err != nil {
		return tempError(err)
	}
	more, err := io.Copy(m.file, m.body)
	if err != nil {
		return tempError(err)
	}
	m.kept, m.size = m.file, maxKept+more
	return nil
}

func tempError(err error) error {
	return status.New(451, "4.3.0", "cannot keep the message").Because("write a temporary file", err)
}

func (m *message) close() {
	if m.file != nil {
		m.file.Close()
	}
}

// rest returns what follows the header: once from the wire, any number of
// times after keep.
func (m *message) rest() io.Reader {
	if m.kept == nil {
		return m.body
	}
	return io.NewSectionReader(m.kept, 0, m.size)
}

// writeTo writes the message, as it goes into a mailbox: the prefix, which
// holds whole fields, then what came.
func (m *message) writeTo(w io.Writer, prefix []byte) error {
	if _, err := w.Write(m.head.Append(prefix)); err != nil {
		return err
	}
	out := noting{w: w}
	_, err := io.Copy(&out, m.rest())
	if m.kept == nil && out.err == nil {
		m.err = err
	}
	return err
}

// noting remembers that writing failed, which is not the client's fault.
type noting struct {
	w   io.Writer
	err error
}

func (n *noting) Write(p []byte) (int, error) {
	done, err := n.w.Write(p)
	n.err = err
	return done, err
}

// trace returns the fields of final delivery (RFC 5321 §4.4). deliveredTo is
// empty where the message has several recipients.
func (m *message) trace(deliveredTo string) []byte {
	b := make([]byte, 0, 512+m.head.Len())
	b = header.AppendReturnPath(b, m.sender)
	return header.AppendDeliveredTo(b, deliveredTo)
}

// loops reports whether the message was delivered to this address before.
func (m *message) loops(to address.Address) bool {
	for _, value := range m.head.Values("Delivered-To") {
		if a, err := address.Parse(value, true); err == nil && a.Key() == to.Key() {
			return true
		}
	}
	return false
}
