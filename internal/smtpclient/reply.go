package smtpclient

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of one reply; a server that goes on is cut off.
const (
	MaxReplyLines = 100
	MaxReplyBytes = 64 << 10
	maxText       = 350 // bytes of a reply that are passed on
)

// Errors in what the other side says. They are temporary: it may be mended.
var (
	ErrReplyTooLong = fmt.Errorf("reply of more than %d lines or %d bytes", MaxReplyLines, MaxReplyBytes)
	ErrReply        = errors.New("reply that is not SMTP")
)

// Reply is one reply of a server (RFC 5321 §4.2).
type Reply struct {
	Code     int    // 200–599
	Enhanced string // RFC 3463, "" where there is none or it contradicts Code
	Lines    []string
}

// Positive reports a reply of the classes 2 and 3.
func (r Reply) Positive() bool { return r.Code < 400 }

// Text is the whole reply as one line of printable ASCII: what the server said
// ends up in logs, journals and delivery reports, where it must not forge
// anything.
func (r Reply) Text() string {
	s := fmt.Sprintf("%d %s", r.Code, strings.Join(r.Lines, " "))
	return Printable(s, maxText)
}

// Printable returns s as one line of printable ASCII of at most max bytes,
// runs of other bytes shown as one "?".
func Printable(s string, max int) string {
	var b strings.Builder
	strange := false
	for i := 0; i < len(s) && b.Len() < max; i++ {
		c := s[i]
		if c == '\t' {
			c = ' '
		}
		if c >= ' ' && c <= '~' {
			b.WriteByte(c)
		} else if !strange {
			b.WriteByte('?')
		}
		strange = c < ' ' || c > '~'
	}
	return strings.TrimSpace(b.String())
}

// ReadReply reads one reply, at most MaxReplyLines lines and MaxReplyBytes
// bytes. Lines may end with a bare LF, and texts may hold any bytes.
func ReadReply(r *bufio.Reader) (Reply, error) {
	var reply Reply
	left := MaxReplyBytes
	for range MaxReplyLines {
		line, err := readLine(r, left)
		if err != nil {
			return Reply{}, err
		}
		left -= len(line) + 1
		more, err := reply.add(line)
		if err != nil {
			return Reply{}, err
		}
		if !more {
			reply.findEnhanced()
			return reply, nil
		}
	}
	return Reply{}, ErrReplyTooLong
}

// readLine returns a line without its end. It holds no more than max bytes in
// memory, nor does it wait for more. A line cut by EOF is no line.
func readLine(r *bufio.Reader, max int) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > max {
			return "", ErrReplyTooLong
		}
		line = append(line, part...)
		if err == bufio.ErrBufferFull {
			continue
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", err
		}
		line = line[:len(line)-1]
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		return string(line), nil
	}
}

// add takes one line: three digits, then a hyphen if there is more, a space,
// or nothing (RFC 5321 §4.2.1).
func (r *Reply) add(line string) (more bool, err error) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digit(line[1]) || !digit(line[2]) {
		return false, fmt.Errorf("%w: %q", ErrReply, Printable(line, 80))
	}
	code := int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return false, fmt.Errorf("%w: %q", ErrReply, Printable(line, 80))
	}
	if r.Code != 0 && r.Code != code {
		// RFC 5321 §4.2.1: all lines of a reply carry the same code.
		return false, fmt.Errorf("%w: code %d after %d", ErrReply, code, r.Code)
	}
	r.Code = code
	r.Lines = append(r.Lines, line[min(4, len(line)):])
	return len(line) > 3 && line[3] == '-', nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// findEnhanced takes the enhanced code from the first line (RFC 2034 §4). One
// of another class than the reply code is worthless.
func (r *Reply) findEnhanced() {
	word, _, _ := strings.Cut(r.Lines[0], " ")
	if validEnhanced(word) && word[0] == byte('0'+r.Code/100) {
		r.Enhanced = word
	}
}

// validEnhanced checks the form class.subject.detail (RFC 3463 §2).
func validEnhanced(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || len(parts[0]) != 1 {
		return false
	}
	for _, p := range parts {
		if len(p) < 1 || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}
