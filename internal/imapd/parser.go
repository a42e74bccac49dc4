package imapd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// A parser pulls the words of one command from the connection. It works on
// one line at a time; a literal ends a line, and the command goes on in the
// next one (RFC 3501 §9).
type parser struct {
	s        *session
	tag      string
	line     []byte // without its end; only its last octets when long is set
	pos      int    // in line
	before   int    // octets of the command before line, literals aside
	spent    int    // how many of them count for the limit
	long     bool   // the line was longer than the limit
	literals int    // how many were read
	octets   int64  // in all of them
	depth    int    // of parentheses around pos
	uid      bool   // it is a UID command
	numbered bool   // sequence numbers are among its search keys
	ended    bool   // the command was taken in whole, or its rest was thrown away
}

// maxDepth bounds nesting in SEARCH and lists.
const maxDepth = 32

// maxNesting bounds NOT and OR in one another, and parentheses with them.
const maxNesting = 100

// tailKept is how much of a line that is too long is kept, at each end: a tag
// and a literal's size fit.
const tailKept = 64

// drainError says that a refused command is too long to be skipped.
type drainError struct{ octets int64 }

func (e *drainError) Error() string { return fmt.Sprintf("%d octets of a refused command", e.octets) }

// fail is a syntax error at the current place.
func (p *parser) fail(format string, args ...any) error {
	return &syntaxError{at: p.before + p.pos + 1, text: fmt.Sprintf(format, args...)}
}

// readLine reads the next line of the command. Its error is one of the
// connection. Of a line beyond the limit only the ends are kept.
func (p *parser) readLine() error {
	limit := p.s.lineLimit() - p.spent
	p.line, p.pos = p.line[:0], 0
	for total := 0; ; {
		piece, err := p.s.in.ReadSlice('\n')
		total += len(piece)
		p.line = append(p.line, piece...)
		if total > limit+len("\r\n") {
			p.long = true
			p.cutMiddle()
		}
		if err == nil {
			p.line = trimEnd(p.line)
			return nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if total > maxDrain {
			p.s.bye("a command line is too long")
			return &drainError{int64(total)}
		}
	}
}

func (p *parser) cutMiddle() {
	if len(p.line) <= 2*tailKept {
		return
	}
	n := copy(p.line[tailKept:], p.line[len(p.line)-tailKept:])
	p.line = p.line[:tailKept+n]
}

// trimEnd takes off CRLF, or the bare LF that a person at a terminal sends.
func trimEnd(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'})
}

// lineLimit is how long a command may be, literals aside.
func (s *session) lineLimit() int {
	if s.state == imap.ConnStateNotAuthenticated {
		return lineBeforeLogin
	}
	return s.limits.Line
}

func (s *session) literalLimit() int64 {
	if s.state == imap.ConnStateNotAuthenticated {
		return literalBeforeLogin
	}
	return s.limits.Literals
}

// done reports whether the line is used up.
func (p *parser) done() bool { return p.pos >= len(p.line) }

// peek returns the next octet, 0 at the end of the line.
func (p *parser) peek() byte {
	if p.done() {
		return 0
	}
	return p.line[p.pos]
}

// eat takes c if it is next.
func (p *parser) eat(c byte) bool {
	if p.done() || p.line[p.pos] != c {
		return false
	}
	p.pos++
	return true
}

func (p *parser) expect(c byte) error {
	if !p.eat(c) {
		return p.fail("expected %q", c)
	}
	return nil
}

// sp takes the one space between two words.
func (p *parser) sp() error {
	if !p.eat(' ') {
		return p.fail("expected a space")
	}
	return nil
}

// end takes the end of the command: nothing may be left.
func (p *parser) end() error {
	if !p.done() {
		return p.fail("expected the end of the line")
	}
	p.ended = true
	return nil
}

// run takes octets as long as f holds.
func (p *parser) run(f func(byte) bool) []byte {
	from := p.pos
	for p.pos < len(p.line) && f(p.line[p.pos]) {
		p.pos++
	}
	return p.line[from:p.pos]
}

// atom takes an atom.
func (p *parser) atom() (string, error) {
	word := p.run(isAtomChar)
	if len(word) == 0 {
		return "", p.fail("expected a word")
	}
	return string(word), nil
}

// word takes an atom and returns it in upper case.
func (p *parser) word() (string, error) {
	w, err := p.atom()
	return strings.ToUpper(w), err
}

// astring takes an atom (which may hold "]"), a quoted string or a literal.
func (p *parser) astring() (string, error) {
	if c := p.peek(); c == '"' || c == '{' {
		return p.str()
	}
	word := p.run(isAstringChar)
	if len(word) == 0 {
		return "", p.fail("expected a string")
	}
	return string(word), nil
}

// str takes a quoted string or a literal.
func (p *parser) str() (string, error) {
	switch p.peek() {
	case '"':
		return p.quoted()
	case '{':
		return p.literal()
	}
	return "", p.fail("expected a string")
}

// nstring takes a string or NIL, which is the empty string here.
func (p *parser) nstring() (string, error) {
	if c := p.peek(); c == '"' || c == '{' {
		return p.str()
	}
	w, err := p.word()
	if err == nil && w != "NIL" {
		return "", p.fail("expected a string or NIL")
	}
	return "", err
}

// quoted takes a quoted string. Octets over 127, which only UTF8=ACCEPT
// allows, are let through: what uses the string checks it.
func (p *parser) quoted() (string, error) {
	p.pos++
	var b strings.Builder
	for !p.done() {
		c := p.line[p.pos]
		switch {
		case c == '"':
			if p.s.on.utf8() && !utf8.ValidString(b.String()) {
				return "", p.fail("expected UTF-8") // RFC 9755 §3
			}
			p.pos++
			return b.String(), nil
		case c == 0 || c == '\r' || c == '\n':
			return "", p.fail("octet %#02x in a quoted string", c)
		case c == '\\':
			p.pos++
			if c = p.peek(); c != '"' && c != '\\' {
				return "", p.fail("expected %q or %q after a backslash", '"', '\\')
			}
		}
		b.WriteByte(c)
		p.pos++
	}
	return "", p.fail("expected the end of the quoted string")
}

// A literalHead is the announcement of a literal.
type literalHead struct {
	size int64
	sync bool // the client waits for our go-ahead
	// binary: a literal8, whose octets may be NUL (RFC 3516 §6)
	binary bool
}

// head takes {n} or {n+}, which must end the line. A size beyond 63 bits is
// refused here.
func (p *parser) head() (literalHead, error) {
	h, ok := headAtEnd(p.line[p.pos:])
	if !ok || p.line[p.pos] != '{' {
		return h, p.fail("expected a literal's size at the end of the line")
	}
	return h, nil
}

// head8 is head that also takes a literal8, ~{n} or ~{n+}.
func (p *parser) head8() (literalHead, error) {
	binary := p.eat('~')
	h, err := p.head()
	h.binary = binary
	return h, err
}

// headAtEnd finds a literal's size at the end of a line. ok is false when
// there is none; a number that no literal can have has the size -1.
func headAtEnd(line []byte) (h literalHead, ok bool) {
	body, ok := bytes.CutSuffix(line, []byte{'}'})
	if !ok {
		return h, false
	}
	open := bytes.LastIndexByte(body, '{')
	if open < 0 {
		return h, false
	}
	digits, plus := bytes.CutSuffix(body[open+1:], []byte{'+'})
	if len(digits) == 0 || len(bytes.Trim(digits, "0123456789")) > 0 {
		return h, false
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		n = -1
	}
	return literalHead{size: n, sync: !plus}, true
}

// literal takes a literal that is kept in memory.
func (p *parser) literal() (string, error) {
	b, err := p.literalOctets()
	if err == nil && bytes.IndexByte(b, 0) >= 0 {
		return "", p.fail("NUL in a literal") // RFC 3501 §9: CHAR8
	}
	return string(b), err
}

// literalOctets takes a literal that may hold any octets.
func (p *parser) literalOctets() ([]byte, error) {
	h, err := p.head()
	if err != nil {
		return nil, err
	}
	if h.size < 0 || h.size > p.s.literalLimit()-p.octets || p.literals >= maxLiterals {
		return nil, p.fail("the literals of this command are too large")
	}
	if err := p.accept(h); err != nil {
		return nil, err
	}
	b := make([]byte, h.size)
	if _, err := io.ReadFull(p.s.in, b); err != nil {
		return nil, err
	}
	p.octets += h.size
	return b, p.afterLiteral()
}

// accept gives the go-ahead for a literal. From here on its octets must be
// read.
func (p *parser) accept(h literalHead) error {
	p.s.dataPhase()
	if !h.sync {
		return nil
	}
	p.s.text("+ go ahead\r\n")
	return p.s.flush()
}

// afterLiteral reads the line that follows a literal.
func (p *parser) afterLiteral() error {
	p.literals++
	p.before += len(p.line)
	p.spent += len(p.line)
	p.s.waitForCommand()
	if err := p.readLine(); err != nil {
		return err
	}
	if p.long {
		p.before += p.s.lineLimit()
		return p.fail("the command is longer than %d octets", p.s.lineLimit())
	}
	return nil
}

// drain throws away what is left of a command that was refused: the octets
// of a literal that does not wait for us, and the lines after it. A literal
// that does wait is never asked for (RFC 7888 §4). nil is success.
func (p *parser) drain() error {
	room := p.drainLimit()
	for !p.ended {
		h, ok := headAtEnd(p.line)
		if !ok || h.sync {
			p.ended = true
			return nil
		}
		if h.size < 0 || h.size > room {
			return &drainError{h.size}
		}
		room -= h.size + 1
		p.s.dataPhase()
		if _, err := io.CopyN(io.Discard, p.s.in, h.size); err != nil {
			return err
		}
		p.s.waitForCommand()
		p.before, p.spent = 0, 0
		if err := p.readLine(); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) drainLimit() int64 {
	if p.s.state == imap.ConnStateNotAuthenticated {
		return literalBeforeLogin * 8
	}
	return max(maxDrain, 2*p.s.limits.MessageSize)
}

// number takes an unsigned number of 32 bits.
func (p *parser) number() (uint32, error) {
	digits := p.run(isDigit)
	n, err := strconv.ParseUint(string(digits), 10, 32)
	if err != nil {
		return 0, p.fail("expected a number below 2^32")
	}
	return uint32(n), nil
}

// number64 takes an unsigned number of 63 bits (RFC 9051 §9).
func (p *parser) number64() (int64, error) {
	n, err := strconv.ParseInt(string(p.run(isDigit)), 10, 64)
	if err != nil {
		return 0, p.fail("expected a number below 2^63")
	}
	return n, nil
}

// list takes a parenthesised list; f takes each item.
func (p *parser) list(f func() error) error {
	if err := p.expect('('); err != nil {
		return err
	}
	if p.depth++; p.depth > maxDepth {
		return p.fail("too many parentheses")
	}
	for !p.eat(')') {
		if err := f(); err != nil {
			return err
		}
		if p.peek() == ')' {
			continue
		}
		if err := p.sp(); err != nil {
			return err
		}
		if p.peek() == ')' {
			return p.fail("expected no space before the parenthesis")
		}
	}
	p.depth--
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isAtomChar: ATOM-CHAR of RFC 3501 §9.
func isAtomChar(c byte) bool { return isAstringChar(c) && c != ']' }

// isAstringChar: ASTRING-CHAR.
func isAstringChar(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`(){%*"\`, c) < 0
}

// isTagChar: ASTRING-CHAR but "+".
func isTagChar(c byte) bool { return isAstringChar(c) && c != '+' }

// isListChar: list-char, an atom that may hold wildcards and "]".
func isListChar(c byte) bool { return isAstringChar(c) || c == '%' || c == '*' }
