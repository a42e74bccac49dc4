package imapwire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Kind tells how a value was written.
type Kind int

// The kinds of values.
const (
	Atom Kind = iota
	Nil
	Quoted
	Literal
	Literal8
	List
)

// A Value is one value of a response: a text, or a list of values.
type Value struct {
	Kind Kind
	Text string
	List []Value
}

// String shows a value in a form that is equal for equal meaning: a quoted
// string and a literal of the same octets look the same.
func (v Value) String() string {
	switch v.Kind {
	case Atom:
		return v.Text
	case Nil:
		return "NIL"
	case List:
		parts := make([]string, len(v.List))
		for i := range v.List {
			parts[i] = v.List[i].String()
		}
		return "(" + strings.Join(parts, " ") + ")"
	}
	return strconv.Quote(v.Text)
}

// Num returns the number that an atom is, 0 for anything else.
func (v Value) Num() uint64 {
	n, _ := strconv.ParseUint(v.Text, 10, 64)
	return n
}

// maxLiteral is the largest literal that is read.
const maxLiteral = 1 << 30

// maxNesting bounds lists in one another.
const maxNesting = 2000

// A lexer takes octets by the words of RFC 3501 §9. It keeps what it read. The
// first failure is thrown as a syntaxError and caught by Read.
type lexer struct {
	r    *bufio.Reader
	raw  []byte
	utf8 bool
	nul  bool

	loose bool
}

type syntaxError struct{ error }

func (l *lexer) fail(format string, args ...any) {
	panic(syntaxError{fmt.Errorf("%s, at the end of %s", fmt.Sprintf(format, args...), l.shown())})
}

func (l *lexer) shown() string {
	if len(l.raw) > 300 {
		return fmt.Sprintf("%q … %q", l.raw[:100], l.raw[len(l.raw)-200:])
	}
	return fmt.Sprintf("%q", l.raw)
}

func (l *lexer) peek() byte {
	b, err := l.r.Peek(1)
	if err != nil {
		if errors.Is(err, io.EOF) && len(l.raw) > 0 {
			err = io.ErrUnexpectedEOF
		}
		panic(syntaxError{err})
	}
	return b[0]
}

func (l *lexer) next() byte {
	c := l.peek()
	l.r.ReadByte()
	l.raw = append(l.raw, c)
	return c
}

func (l *lexer) eat(c byte) bool {
	if l.peek() != c {
		return false
	}
	l.next()
	return true
}

func (l *lexer) want(s string) {
	for i := 0; i < len(s); i++ {
		if c := l.next(); c != s[i] {
			l.fail("got %q, want %q", c, s)
		}
	}
}

func (l *lexer) sp() { l.want(" ") }

func (l *lexer) crlf() { l.want("\r\n") }

func (l *lexer) run(f func(byte) bool) string {
	from := len(l.raw)
	for f(l.peek()) {
		l.next()
	}
	return string(l.raw[from:])
}

func isAtom(c byte) bool { return c > ' ' && c < 0x7f && !strings.ContainsRune(`(){%*"\]`, rune(c)) }

func isAstring(c byte) bool { return isAtom(c) || c == ']' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isText(c byte) bool { return c != 0 && c < 0x80 && c != '\r' && c != '\n' }

func (l *lexer) atom() string {
	s := l.run(isAtom)
	if s == "" {
		l.fail("expected an atom, got %q", l.peek())
	}
	return s
}

// word is an atom in upper case.
func (l *lexer) word() string { return strings.ToUpper(l.atom()) }

func (l *lexer) keyword(want string) {
	if w := l.word(); w != want {
		l.fail("expected %s, got %s", want, w)
	}
}

// number takes digits and checks them against a limit of 32 or 63 bits.
func (l *lexer) number(bits int) Value {
	s := l.run(isDigit)
	if _, err := strconv.ParseUint(s, 10, bits); err != nil {
		l.fail("%q is no number of %d bits", s, bits)
	}
	return Value{Text: s}
}

// nz takes a number that does not begin with 0.
func (l *lexer) nz(bits int) Value {
	v := l.number(bits)
	if v.Text[0] == '0' {
		l.fail("a number that must not begin with 0")
	}
	return v
}

// str: string.
func (l *lexer) str() Value {
	switch l.peek() {
	case '"':
		return l.quoted()
	case '{':
		return l.literal()
	}
	l.fail("expected a string, got %q", l.peek())
	return Value{}
}

func (l *lexer) quoted() Value {
	l.want(`"`)
	var b strings.Builder
	for {
		c := l.next()
		switch {
		case c == '"':
			return Value{Kind: Quoted, Text: l.checkUTF8(b.String())}
		case c == '\\':
			if c = l.next(); c != '"' && c != '\\' {
				l.fail("\\%c in a quoted string", c)
			}
		case !isText(c) && (c < 0x80 || !l.utf8):
			l.fail("octet %#x in a quoted string", c)
		}
		b.WriteByte(c)
	}
}

func (l *lexer) checkUTF8(s string) string {
	if strings.ToValidUTF8(s, "") != s {
		l.fail("a quoted string is not UTF-8")
	}
	return s
}

// literal: no CHAR8 is NUL (RFC 3501 §9).
func (l *lexer) literal() Value {
	v := l.message()
	if strings.IndexByte(v.Text, 0) >= 0 {
		l.fail("NUL in a literal")
	}
	return v
}

// message is a literal that may hold NUL.
func (l *lexer) message() Value {
	l.want("{")
	n := l.number(63).Num()
	l.want("}\r\n")
	return Value{Kind: Literal, Text: l.octets(n)}
}

// literal8: RFC 3516 §7.
func (l *lexer) literal8() Value {
	l.want("~{")
	n := l.number(63).Num()
	l.want("}\r\n")
	return Value{Kind: Literal8, Text: l.octets(n)}
}

func (l *lexer) octets(n uint64) string {
	if n > maxLiteral {
		l.fail("a literal of %d octets", n)
	}
	from := len(l.raw)
	l.raw = append(l.raw, make([]byte, n)...)
	if _, err := io.ReadFull(l.r, l.raw[from:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		panic(syntaxError{fmt.Errorf("in a literal of %d octets: %w", n, err)})
	}
	return string(l.raw[from:])
}

func (l *lexer) nilOr(f func() Value) Value {
	if c := l.peek(); c != 'N' && c != 'n' {
		return f()
	}
	l.keyword("NIL")
	return Value{Kind: Nil}
}

func (l *lexer) nstring() Value { return l.nilOr(l.str) }

// messageText is an nstring out of a message.
func (l *lexer) messageText() Value {
	if l.nul && l.peek() == '{' {
		return l.message()
	}
	return l.nstring()
}

func (l *lexer) astring() Value {
	if c := l.peek(); c == '"' || c == '{' {
		return l.str()
	}
	s := l.run(isAstring)
	if s == "" {
		l.fail("expected a string, got %q", l.peek())
	}
	return Value{Text: s}
}

// list takes values in parentheses with one space between them; it may be
// empty.
func (l *lexer) list(f func() Value) Value {
	l.want("(")
	v := Value{Kind: List}
	for l.peek() != ')' {
		if len(v.List) > 0 {
			l.sp()
		}
		v.List = append(v.List, f())
	}
	l.want(")")
	return v
}

// list1 is a list that is not empty.
func (l *lexer) list1(f func() Value) Value {
	v := l.list(f)
	if len(v.List) == 0 {
		l.fail("an empty list")
	}
	return v
}

// rest takes f for each further value of the line.
func (l *lexer) rest(f func() Value) []Value {
	var all []Value
	for l.peek() == ' ' {
		l.sp()
		all = append(all, f())
	}
	return all
}

// mailbox takes a mailbox name and checks its encoding.
func (l *lexer) mailbox() Value {
	v := l.astring()
	if _, err := DecodeName(v.Text); err != nil && !l.utf8 {
		l.fail("mailbox %q: %v", v.Text, err)
	}
	return v
}

// set takes a sequence-set; a server never sends "*" in one.
func (l *lexer) set() Value {
	from := len(l.raw)
	for more := true; more; more = l.eat(',') {
		l.nz(32)
		if l.eat(':') {
			l.nz(32)
		}
	}
	return Value{Text: string(l.raw[from:])}
}

// flag takes a flag; what names further ones that begin with a backslash.
func (l *lexer) flag() Value {
	if !l.eat('\\') {
		return Value{Text: l.atom()}
	}
	if l.eat('*') {
		return Value{Text: `\*`}
	}
	return Value{Text: `\` + l.atom()}
}

// datetime: RFC 3501 §9, date-time.
func (l *lexer) datetime() Value {
	v := l.quoted()
	if !validDate(v.Text) {
		l.fail("%q is no date-time", v.Text)
	}
	return v
}

func validDate(s string) bool {
	if len(s) != len("17-Jul-1996 02:44:25 -0700") || s[2] != '-' || s[6] != '-' || s[11] != ' ' || s[14] != ':' || s[17] != ':' || s[20] != ' ' {
		return false
	}
	month := strings.Index("JanFebMarAprMayJunJulAugSepOctNovDec", s[3:6])
	num := func(part string) int {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return -1
		}
		return int(n)
	}
	in := func(part string, low, high int) bool { n := num(part); return low <= n && n <= high }
	return month >= 0 && month%3 == 0 && in(strings.TrimPrefix(s[:2], " "), 1, 31) && in(s[7:11], 0, 9999) &&
		in(s[12:14], 0, 23) && in(s[15:17], 0, 59) && in(s[18:20], 0, 60) && (s[21] == '+' || s[21] == '-') && in(s[22:24], 0, 23) && in(s[24:26], 0, 59)
}

// objectID: RFC 8474 §7.
func (l *lexer) objectID() Value {
	return l.list1(func() Value {
		s := l.run(func(c byte) bool {
			return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '-'
		})
		if len(s) == 0 || len(s) > 255 {
			l.fail("an objectid of %d octets", len(s))
		}
		return Value{Text: s}
	})
}
