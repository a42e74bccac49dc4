package mimescan

import "strings"

// lexer walks over the unfolded value of a structured field (RFC 5322 §3.2).
// It goes forward only, so that its work is linear.
type lexer struct {
	s       string
	i       int
	comment string // the last comment that skip met
}

func (x *lexer) done() bool { return x.i >= len(x.s) }

// peek returns the next octet, 0 at the end (a value holds no NUL).
func (x *lexer) peek() byte {
	if x.done() {
		return 0
	}
	return x.s[x.i]
}

func (x *lexer) eat(c byte) bool {
	if x.peek() != c || x.done() {
		return false
	}
	x.i++
	return true
}

// run takes octets as long as f holds.
func (x *lexer) run(f func(byte) bool) string {
	from := x.i
	for x.i < len(x.s) && f(x.s[x.i]) {
		x.i++
	}
	return x.s[from:x.i]
}

// skip passes blanks and comments. It reports whether it moved.
func (x *lexer) skip() bool {
	from := x.i
	for !x.done() {
		switch x.s[x.i] {
		case ' ', '\t', '\r', '\n':
			x.i++
		case '(':
			x.skipComment()
		default:
			return x.i > from
		}
	}
	return x.i > from
}

// skipComment passes one comment, nested ones included. One that is not
// closed goes to the end.
func (x *lexer) skipComment() {
	from, depth, escaped := x.i+1, 0, false
	for ; x.i < len(x.s); x.i++ {
		switch c := x.s[x.i]; {
		case c == '\\':
			escaped = true
			x.i++
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				x.setComment(x.s[from:x.i], escaped)
				x.i++
				return
			}
		}
	}
	x.i = len(x.s)
}

func (x *lexer) setComment(text string, escaped bool) {
	if escaped {
		text = unescape(text)
	}
	x.comment = strings.TrimSpace(text)
}

// quoted takes a quoted string, whose opening quote is next, and returns its
// content without the escapes. One that is not closed goes to the end.
func (x *lexer) quoted() (text string, ok bool) {
	x.i++
	from, escaped := x.i, false
	for ; x.i < len(x.s); x.i++ {
		switch x.s[x.i] {
		case '\\':
			escaped = true
			x.i++
		case '"':
			text = x.s[from:x.i]
			x.i++
			if escaped {
				text = unescape(text)
			}
			return text, true
		}
	}
	x.i = len(x.s)
	return unescape(x.s[min(from, len(x.s)):]), false
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mimeToken takes a token of RFC 2045 §5.1 after blanks and comments.
func (x *lexer) mimeToken() string {
	x.skip()
	return x.run(isToken)
}

// params takes parameters, each after a semicolon. Pieces of RFC 2231 are
// joined; their percent signs stay for the client.
func (x *lexer) params() []Param {
	var all []Param
	for len(all) < maxParams {
		x.skip()
		if x.done() {
			break
		}
		if !x.eat(';') {
			x.run(func(c byte) bool { return c != ';' })
			continue
		}
		name := x.mimeToken()
		x.skip()
		if name == "" || !x.eat('=') {
			continue
		}
		all = append(all, Param{name, x.paramValue()})
	}
	return joinPieces(all)
}

// paramValue takes a quoted string or, more leniently than RFC 2045, all up
// to the next blank or semicolon.
func (x *lexer) paramValue() string {
	x.skip()
	if x.peek() == '"' {
		value, _ := x.quoted()
		return value
	}
	return x.run(func(c byte) bool { return c != ';' && c != ' ' && c != '\t' && c != '(' && c != '"' })
}

func param(params []Param, name string) string {
	for _, p := range params {
		if foldEqual(p.Name, name) {
			return p.Value
		}
	}
	return ""
}

// Param returns the value of the Content-Type parameter name, "" when absent.
func (p *Part) Param(name string) string { return param(p.Params, name) }

// isToken: token octets of RFC 2045 §5.1; octets over 127 are let through.
func isToken(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}

// isAtext: atext of RFC 5322 §3.2.3; octets over 127 are let through.
func isAtext(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte(`()<>[]:;@\,."`, c) < 0
}
