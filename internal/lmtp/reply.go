package lmtp

import (
	"bufio"
	"errors"
	"strings"

	"peyk/internal/status"
)

// Limits of what a server may answer: beyond them it is out of its mind.
const (
	maxReplyLines = 100
	maxReply      = 64 << 10 // octets of one reply
	maxReplyLine  = 4 << 10  // octets of one line; RFC 5321 §4.5.3.1.5 allows 512
)

// A reply is one answer, perhaps of several lines (RFC 5321 §4.2).
type reply struct {
	code  int
	lines []string // without code and line end; control bytes replaced by "?"
}

var (
	errReplySyntax = errors.New("the reply is not one of LMTP")
	errReplyLong   = errors.New("the reply is too long")
)

// readReply reads one reply. An error is final for the connection.
func readReply(r *bufio.Reader) (reply, error) {
	var rep reply
	total := 0
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return reply{}, errReplyLong
		}
		if err != nil {
			return reply{}, err
		}
		total += len(line)
		if total > maxReply || len(rep.lines) == maxReplyLines {
			return reply{}, errReplyLong
		}
		code, text, more, err := parseReplyLine(line)
		if err != nil {
			return reply{}, err
		}
		if rep.code != 0 && code != rep.code {
			return reply{}, errReplySyntax
		}
		rep.code = code
		rep.lines = append(rep.lines, text)
		if !more {
			return rep, nil
		}
	}
}

// parseReplyLine takes one line apart. A bare LF as its end is tolerated.
func parseReplyLine(line []byte) (code int, text string, more bool, err error) {
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || line[1] < '0' || line[1] > '9' || line[2] < '0' || line[2] > '9' {
		return 0, "", false, errReplySyntax
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if len(line) == 3 {
		return code, "", false, nil // RFC 5321 §4.2.1: clients accept a code alone
	}
	if line[3] != ' ' && line[3] != '-' {
		return 0, "", false, errReplySyntax
	}
	return code, visible(line[4:]), line[3] == '-', nil
}

// visible returns b as a string in which control bytes are "?": it goes into
// logs, journals and reports.
func visible(b []byte) string {
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return strings.ToValidUTF8(string(b), "?")
}

func (r reply) ok() bool { return r.code/100 == 2 }

// String returns the reply as one line, as it was received.
func (r reply) String() string {
	return string([]byte{byte('0' + r.code/100), byte('0' + r.code/10%10), byte('0' + r.code%10)}) + " " + strings.Join(r.lines, " ")
}

// err returns what a failed reply means, nil for 2xx.
func (r reply) err() *status.Error {
	if r.ok() {
		return nil
	}
	if r.code/100 == 3 { // no command of ours has such an answer here
		return status.Newf(451, "4.5.0", "unexpected reply %s", r)
	}
	text := make([]string, 0, len(r.lines))
	enhanced := ""
	for _, line := range r.lines {
		code, rest := cutEnhanced(line, byte('0'+r.code/100))
		if enhanced == "" {
			enhanced = code
		}
		text = append(text, rest)
	}
	if enhanced == "" {
		enhanced = defaultEnhanced(r.code)
	}
	return status.New(r.code, enhanced, strings.Join(text, " "))
}

// cutEnhanced splits an enhanced status code (RFC 2034) of the given class off
// the beginning of a line.
func cutEnhanced(line string, class byte) (code, rest string) {
	word, rest, _ := strings.Cut(line, " ")
	parts := strings.Split(word, ".")
	if len(parts) != 3 || parts[0] != string(class) || !short(parts[1]) || !short(parts[2]) {
		return "", line
	}
	return word, rest
}

// short reports whether s is a number of one to three digits.
func short(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 3
}

// defaultEnhanced returns the enhanced code for a server that sends none.
func defaultEnhanced(code int) string {
	class := string(byte('0' + code/100))
	switch code % 100 {
	case 0, 1, 2, 3, 4: // RFC 5321 §4.2.2: syntax
		return class + ".5.0"
	case 21:
		return class + ".3.0"
	case 50, 51:
		if class == "5" {
			return "5.1.0"
		}
	case 52:
		return class + ".2.2"
	}
	return class + ".0.0"
}
