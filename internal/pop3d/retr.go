package pop3d

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"

	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
)

// chunk is how much of a message is read at a time, in octets.
const chunk = 32 << 10

// retr sends a message.
func (s *session) retr(_ context.Context, arg string) {
	i, ok := s.message(arg)
	if !ok {
		return
	}
	if s.send(i, -1) {
		s.retrieved++
	}
}

// top sends the header of a message and n lines of its body.
func (s *session) top(_ context.Context, arg string) {
	which, lines, _ := strings.Cut(arg, " ")
	n, ok := number(strings.TrimLeft(lines, " "))
	if !ok {
		s.fail("expected TOP message lines")
		return
	}
	if i, ok := s.message(which); ok {
		s.send(i, n)
	}
}

// send sends a message, or with lines >= 0 only its header and that many
// lines. It reports whether the whole went out.
func (s *session) send(i, lines int) bool {
	m := s.messages.At(i)
	f, err := s.drop.Open(m.UID)
	if err != nil {
		s.cannotOpen(i, err)
		return false
	}
	defer f.Close()
	w := s.server.writers.Get().(*writer)
	defer s.server.writers.Put(w)
	w.reset(lines)
	if err := s.stream(w, f, m); err != nil {
		// The reply has begun; only the end of the connection can tell the
		// client that this is not the whole message.
		s.log.Event(eventlog.Trouble, "reason", "read", "uid", m.UID, "error", err)
		s.reason, s.over = "read-error", true
		return false
	}
	s.bytes += w.total()
	return true
}

func (s *session) cannotOpen(i int, err error) {
	if errors.Is(err, mailbox.ErrGone) {
		s.fail("message " + strconv.Itoa(i+1) + " was removed by another program")
		return
	}
	s.log.Event(eventlog.Trouble, "reason", "open", "uid", s.messages.At(i).UID, "error", err)
	s.reply("-ERR [SYS/TEMP] cannot open this message now")
}

// stream sends +OK, the message and the dot. The octets that +OK announces are
// counted where the message fits into one chunk, else those of the listing.
func (s *session) stream(w *writer, f io.Reader, m *mailbox.Message) error {
	end, err := w.fill(f)
	if err != nil {
		return err
	}
	s.announce(w, m, end)
	for !end && !w.done {
		if len(w.out) >= len(w.in) {
			s.conn.Write(w.out)
			w.out = w.out[:0]
		}
		if end, err = w.fill(f); err != nil {
			return err
		}
	}
	w.finish()
	_, err = s.conn.Write(w.out)
	return err
}

// announce writes the first line of the reply.
func (s *session) announce(w *writer, m *mailbox.Message, whole bool) {
	if w.lines >= 0 {
		s.ok("top of the message")
		return
	}
	size := m.Size
	if whole {
		size = w.total()
	}
	var b [64]byte
	line := strconv.AppendInt(append(b[:0], "+OK "...), size, 10)
	s.conn.Write(append(line, " octets\r\n"...))
}

// newWriter returns what RETR needs besides the file, which it reads in chunks
// of so many octets.
func newWriter(chunk int) *writer {
	return &writer{in: make([]byte, chunk), out: make([]byte, 0, 2*chunk)}
}

// writer turns stored text into the form of a multi-line reply: every LF
// becomes CRLF unless a CR stands before it, and a line that begins with a dot
// gets another one (RFC 1939 §3).
type writer struct {
	in, out []byte
	lines   int  // of the body that may still come; negative is all
	body    bool // the header is over
	midline bool // the last piece did not end in LF
	cr      bool // the last octet was a CR
	empty   bool // nothing but a CR has come on this line so far
	done    bool
	octets  int64 // that went out, without the dots of stuffing
}

func (w *writer) reset(lines int) {
	*w = writer{in: w.in, out: w.out[:0], lines: lines, empty: true}
}

// fill reads a chunk, or less at the end of the file, and converts it.
func (w *writer) fill(f io.Reader) (end bool, err error) {
	n := 0
	for n < len(w.in) && err == nil {
		var more int
		more, err = f.Read(w.in[n:])
		n += more
	}
	w.convert(w.in[:n])
	if err == io.EOF {
		return true, nil
	}
	return false, err
}

// total returns the octets of the message once all of it is converted.
func (w *writer) total() int64 {
	if !w.midline {
		return w.octets
	}
	if w.cr {
		return w.octets + 1
	}
	return w.octets + 2
}

// convert appends the converted form of p to w.out.
func (w *writer) convert(p []byte) {
	for len(p) > 0 && !w.done {
		line := p
		end := bytes.IndexByte(p, '\n')
		if end >= 0 {
			line = p[:end]
			p = p[end+1:]
		} else {
			p = nil
		}
		w.text(line)
		if end >= 0 {
			w.newline()
		}
	}
}

// text appends a piece of a line without its end.
func (w *writer) text(b []byte) {
	if len(b) == 0 {
		return
	}
	if !w.midline && b[0] == '.' {
		w.out = append(w.out, '.')
	}
	w.out = append(w.out, b...)
	w.octets += int64(len(b))
	w.cr = b[len(b)-1] == '\r'
	w.empty = !w.midline && len(b) == 1 && w.cr
	w.midline = true
}

// newline ends a line.
func (w *writer) newline() {
	if w.midline && w.cr {
		w.out = append(w.out, '\n')
		w.octets++
	} else {
		w.out = append(w.out, '\r', '\n')
		w.octets += 2
	}
	empty := !w.midline || w.empty
	w.midline, w.cr, w.empty = false, false, false
	w.count(empty)
}

// count ends TOP when enough lines are out.
func (w *writer) count(empty bool) {
	if w.lines < 0 {
		return
	}
	if w.body {
		w.lines--
	} else if empty {
		w.body = true
	}
	w.done = w.body && w.lines == 0
}

// finish ends the last line, where the message does not, and the reply.
func (w *writer) finish() {
	if w.midline {
		if !w.cr {
			w.out = append(w.out, '\r')
		}
		w.out = append(w.out, '\n')
	}
	w.out = append(w.out, ".\r\n"...)
}
