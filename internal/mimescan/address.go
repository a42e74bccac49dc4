package mimescan

import "strings"

// address is one entry of an IMAP address list (RFC 3501 §7.4.2). A group
// begins with an entry that has only a mailbox and ends with an empty one.
type address struct {
	name, route, mailbox, domain string
	hasName, hasRoute            bool
	group                        groupMark
}

type groupMark uint8

const (
	noGroup groupMark = iota
	groupStart
	groupEnd
)

// What stands for the missing half of an address, so that a client can show
// something: the words are those of Dovecot.
const (
	missingMailbox = "MISSING_MAILBOX"
	missingDomain  = "MISSING_DOMAIN"
)

// addressList walks an address-list (RFC 5322 §3.4) in one forward pass and
// calls f for each entry. What cannot be understood is skipped up to the next
// comma.
func addressList(value string, f func(address)) {
	x := &lexer{s: value}
	x.skip()
	inGroup := false
	for !x.done() {
		inGroup = x.entry(inGroup, f)
		x.skip()
	}
	if inGroup {
		f(address{group: groupEnd})
	}
}

// entry takes one mailbox, group start, group end or comma, and always moves.
func (x *lexer) entry(inGroup bool, f func(address)) (stillInGroup bool) {
	x.comment = ""
	switch {
	case x.eat(','):
		return inGroup
	case x.peek() == ';' && inGroup:
		x.i++
		f(address{group: groupEnd})
		return false
	}
	text, words := x.phrase()
	switch x.peek() {
	case ':':
		x.i++
		if !inGroup {
			f(address{mailbox: text, group: groupStart})
		}
		return true
	case '<':
		x.i++
		x.angle(text, words > 0, f)
	case '@':
		x.i++
		x.addrSpec(text, f)
	default:
		x.bare(text, words, f)
	}
	x.toSeparator(inGroup)
	return inGroup
}

// phrase takes words, atoms and dots, and joins them as they were spaced.
func (x *lexer) phrase() (text string, words int) {
	var b strings.Builder
	for {
		switch c := x.peek(); {
		case c == '"':
			q, _ := x.quoted()
			b.WriteString(q)
		case c == '.' || isAtext(c):
			b.WriteString(x.run(func(c byte) bool { return c == '.' || isAtext(c) }))
		default:
			return strings.TrimRight(b.String(), " "), words
		}
		words++
		if x.skip() {
			b.WriteByte(' ')
		}
	}
}

// angle takes what follows "<": a route, a local part and a domain.
func (x *lexer) angle(name string, hasName bool, f func(address)) {
	a := address{name: name, hasName: hasName && name != ""}
	x.skip()
	if x.peek() == '@' {
		a.route, a.hasRoute = x.route(), true
	}
	a.mailbox = x.local()
	if x.eat('@') {
		a.domain = x.domain()
	}
	x.skip()
	x.eat('>')
	f(a.filled())
}

// route takes an obsolete source route up to its colon.
func (x *lexer) route() string {
	from := x.i
	x.run(func(c byte) bool { return c != ':' && c != '>' && c != '"' })
	route := strings.Map(dropBlanks, x.s[from:x.i])
	x.eat(':')
	x.skip()
	return route
}

func dropBlanks(r rune) rune {
	if r == ' ' || r == '\t' {
		return -1
	}
	return r
}

// local takes a local part: words and dots, blanks dropped, quotes taken off.
func (x *lexer) local() string {
	var b strings.Builder
	for {
		x.skip()
		switch c := x.peek(); {
		case c == '"':
			q, _ := x.quoted()
			b.WriteString(q)
		case c == '.' || isAtext(c):
			b.WriteString(x.run(func(c byte) bool { return c == '.' || isAtext(c) }))
		default:
			return b.String()
		}
	}
}

// domain takes a dot-atom or a domain literal.
func (x *lexer) domain() string {
	x.skip()
	if x.peek() == '[' {
		from := x.i
		x.run(func(c byte) bool { return c != ']' && c != '>' && c != ',' })
		x.eat(']')
		return strings.Map(dropBlanks, x.s[from:x.i])
	}
	var b strings.Builder
	for {
		part := x.run(func(c byte) bool { return c == '.' || isAtext(c) })
		b.WriteString(part)
		x.skip()
		if part == "" || !strings.HasSuffix(part, ".") && x.peek() != '.' {
			return b.String()
		}
	}
}

// addrSpec takes the domain after local@; a comment serves as the name.
func (x *lexer) addrSpec(local string, f func(address)) {
	a := address{mailbox: strings.ReplaceAll(local, " ", ""), domain: x.domain()}
	x.skip()
	if x.comment != "" {
		a.name, a.hasName = x.comment, true
	}
	f(a.filled())
}

// bare is a phrase with neither address nor group mark after it.
func (x *lexer) bare(text string, words int, f func(address)) {
	if words == 0 {
		return // garbage: toSeparator passes it
	}
	if strings.Contains(text, " ") {
		f(address{name: text, hasName: true}.filled())
		return
	}
	f(address{mailbox: text}.filled())
}

// toSeparator passes garbage up to the next comma, semicolon of a group, or
// the end. What is quoted or in comments does not count.
func (x *lexer) toSeparator(inGroup bool) {
	for x.skip(); !x.done(); x.skip() {
		switch c := x.peek(); {
		case c == ',' || c == ';' && inGroup:
			return
		case c == '"':
			x.quoted()
		default:
			x.i++
		}
	}
}

func (a address) filled() address {
	if a.mailbox == "" {
		a.mailbox = missingMailbox
	}
	if a.domain == "" {
		a.domain = missingDomain
	}
	return a
}
