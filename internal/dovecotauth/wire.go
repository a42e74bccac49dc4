package dovecotauth

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Version of the protocol. Sides with another major number do not understand
// each other; the minor number does not matter.
const (
	major       = "1"
	clientMinor = "2"
	masterMinor = "1"
)

// Longest lines, in octets, without the line end.
const (
	maxRequest = 8 << 10  // what a server reads
	maxReply   = 12 << 10 // what a client reads
)

// errGarbage is a line that the protocol does not know.
var errGarbage = errors.New("the other side does not speak the Dovecot authentication protocol")

// errLong is a line beyond the limit.
var errLong = errors.New("line too long")

// appendEscaped appends a word in tab escaping: \001 stands before what may
// not stand in a word.
func appendEscaped(dst []byte, word string) []byte {
	for i := 0; i < len(word); i++ {
		if c := escapeOf(word[i]); c != 0 {
			dst = append(dst, 1, c)
			continue
		}
		dst = append(dst, word[i])
	}
	return dst
}

func escapeOf(c byte) byte {
	switch c {
	case 0:
		return '0'
	case 1:
		return '1'
	case '\t':
		return 't'
	case '\r':
		return 'r'
	case '\n':
		return 'n'
	}
	return 0
}

// unescape undoes appendEscaped. An unknown escape is its second octet.
func unescape(word string) string {
	if strings.IndexByte(word, 1) < 0 {
		return word
	}
	b := make([]byte, 0, len(word))
	for i := 0; i < len(word); i++ {
		if word[i] == 1 && i+1 < len(word) {
			i++
			b = append(b, escaped(word[i]))
			continue
		}
		b = append(b, word[i])
	}
	return string(b)
}

func escaped(c byte) byte {
	switch c {
	case '0':
		return 0
	case '1':
		return 1
	case 't':
		return '\t'
	case 'r':
		return '\r'
	case 'n', 'l':
		return '\n'
	}
	return c
}

// A message is one line of the protocol: a command and its words, unescaped.
type message struct {
	command string
	words   []string
}

func parseMessage(line string) message {
	f := strings.Split(line, "\t")
	for i, w := range f {
		f[i] = unescape(w)
	}
	return message{f[0], f[1:]}
}

// word returns word i, "" when there are fewer.
func (m message) word(i int) string {
	if i < len(m.words) {
		return m.words[i]
	}
	return ""
}

// id returns the request id, which is the first word of all but handshakes.
func (m message) id() (uint32, bool) {
	n, err := strconv.ParseUint(m.word(0), 10, 32)
	return uint32(n), err == nil
}

// fields returns the words from the i-th on as name=value pairs; a flag has
// the value "". The first of several values counts.
func (m message) fields(i int) map[string]string {
	fields := make(map[string]string)
	for ; i < len(m.words); i++ {
		name, value, _ := strings.Cut(m.words[i], "=")
		if _, twice := fields[name]; !twice && name != "" {
			fields[name] = value
		}
	}
	return fields
}

// isVersion reports whether m opens a conversation that we can follow.
func (m message) isVersion() bool { return m.command == "VERSION" && m.word(0) == major }

// readMessage reads one line; r's buffer is the limit on its length.
func readMessage(r *bufio.Reader) (message, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return message{}, errLong
	}
	if err != nil {
		return message{}, err
	}
	return parseMessage(string(line[:len(line)-1])), nil
}

// line builds a line from a command and words that need escaping.
type line struct{ b []byte }

func newLine(command string, id uint32) *line {
	return &line{strconv.AppendUint(append([]byte(command), '\t'), uint64(id), 10)}
}

// word adds a word.
func (l *line) word(s string) *line {
	l.b = appendEscaped(append(l.b, '\t'), s)
	return l
}

// field adds name=value, and nothing when the value is empty.
func (l *line) field(name, value string) *line {
	if value == "" {
		return l
	}
	return l.word(name + "=" + value)
}

// end returns the line with its end.
func (l *line) end() []byte { return append(l.b, '\n') }

// garbage wraps what was wrong, without the line: it may hold a password.
func garbage(what string) error { return fmt.Errorf("%w: %s", errGarbage, what) }
