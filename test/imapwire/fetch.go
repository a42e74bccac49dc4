package imapwire

import (
	"slices"
	"strings"
)

// messageItems: msg-att of RFC 3501 §9 and of the extensions.
func (l *lexer) messageItems(r *Response) {
	l.list1(func() Value {
		name := strings.ToUpper(l.run(func(c byte) bool { return isAtom(c) && c != '[' }))
		item := Item{Name: name}
		if l.peek() == '[' {
			item = l.section(name)
		} else {
			l.sp()
			item.Value = l.itemValue(name)
		}
		if _, twice := r.Item(item.Name); twice {
			l.fail("%s twice in one FETCH", item.Name)
		}
		r.Items = append(r.Items, item)
		return item.Value
	})
}

func (l *lexer) itemValue(name string) Value {
	switch name {
	case "FLAGS":
		return l.flagsOfMessage()
	case "UID":
		return l.nz(32)
	case "RFC822.SIZE":
		return l.number(63)
	case "INTERNALDATE":
		return l.datetime()
	case "RFC822", "RFC822.HEADER", "RFC822.TEXT":
		return l.messageText()
	case "ENVELOPE":
		return l.envelope()
	case "BODYSTRUCTURE":
		return l.body(true, 0)
	case "BODY":
		return l.body(false, 0)
	case "MODSEQ": // RFC 7162 §7
		v := l.list1(func() Value { return l.nz(63) })
		if len(v.List) != 1 {
			l.fail("%d values of MODSEQ", len(v.List))
		}
		return v
	case "PREVIEW": // RFC 8970 §6
		return l.nstring()
	case "SAVEDATE": // RFC 8514 §6
		return l.nilOr(l.datetime)
	case "EMAILID": // RFC 8474 §7
		return l.objectID()
	case "THREADID":
		return l.nilOr(l.objectID)
	}
	l.fail("unknown message data item %q", name)
	return Value{}
}

func (l *lexer) flagsOfMessage() Value {
	v := l.list(l.flag)
	for i, f := range v.List {
		if slices.ContainsFunc(v.List[:i], func(g Value) bool { return strings.EqualFold(f.Text, g.Text) }) {
			l.fail("flag %s twice", f.Text)
		}
		if f.Text == `\*` {
			l.fail(`\* on a message`)
		}
	}
	return v
}

// section takes BODY[…], BINARY[…] or BINARY.SIZE[…] and its value.
func (l *lexer) section(name string) Item {
	from := len(l.raw)
	fields := ""
	l.want("[")
	switch name {
	case "BODY":
		from, fields = l.sectionSpec(from)
	case "BINARY", "BINARY.SIZE": // RFC 3516 §7
		if l.peek() != ']' {
			l.partNumbers()
		}
	default:
		l.fail("%s with a section", name)
	}
	l.want("]")
	if name != "BINARY.SIZE" && l.eat('<') {
		l.number(63) // RFC 9051 §9: a partial's offset is a number64
		l.want(">")
	}
	item := Item{Name: strings.ToUpper(name + fields + string(l.raw[from:]))}
	l.sp()
	switch {
	case name == "BINARY.SIZE":
		item.Value = l.number(32)
	case name == "BINARY" && l.peek() == '~':
		item.Value = l.literal8()
	default:
		item.Value = l.messageText()
	}
	return item
}

// partNumbers takes section-part and the dot behind it, if a word follows.
func (l *lexer) partNumbers() {
	for {
		l.nz(32)
		if !l.eat('.') || !isDigit(l.peek()) {
			return
		}
	}
}

// sectionSpec takes what stands in the brackets. Names of fields are given
// back in one form, with what stands before them; rest is where the octets go
// on that are not among them.
func (l *lexer) sectionSpec(from int) (rest int, head string) {
	parts := isDigit(l.peek())
	if parts {
		l.partNumbers()
	}
	if l.peek() == ']' {
		if l.raw[len(l.raw)-1] == '.' {
			l.fail("a dot at the end of a section")
		}
		return from, ""
	}
	if parts && l.raw[len(l.raw)-1] != '.' {
		l.fail("no dot behind a part number")
	}
	switch w := strings.ToUpper(l.run(func(c byte) bool { return isAtom(c) })); w {
	case "HEADER", "TEXT":
	case "MIME":
		if !parts {
			l.fail("MIME of no part")
		}
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		l.sp()
		head = string(l.raw[from:])
		var names []string
		for _, v := range l.list1(l.astring).List {
			names = append(names, v.Text)
		}
		return len(l.raw), head + "(" + strings.Join(names, " ") + ")"
	default:
		l.fail("section %s", w)
	}
	return from, ""
}

// envelope: RFC 3501 §7.4.2.
func (l *lexer) envelope() Value {
	fields := []func() Value{l.nstring, l.nstring, l.addresses, l.addresses, l.addresses, l.addresses, l.addresses, l.addresses, l.nstring, l.nstring}
	v := Value{Kind: List}
	l.want("(")
	for i, f := range fields {
		if i > 0 {
			l.sp()
		}
		v.List = append(v.List, f())
	}
	l.want(")")
	return v
}

// addresses: no space between them.
func (l *lexer) addresses() Value {
	return l.nilOr(func() Value {
		l.want("(")
		v := Value{Kind: List}
		for l.peek() == '(' {
			v.List = append(v.List, l.address())
		}
		l.want(")")
		if len(v.List) == 0 {
			l.fail("an empty list of addresses")
		}
		return v
	})
}

func (l *lexer) address() Value {
	l.want("(")
	v := Value{Kind: List, List: append([]Value{l.nstring()}, l.times(3, l.nstring)...)}
	l.want(")")
	return v
}

// body: RFC 3501 §7.4.2; extended is BODYSTRUCTURE.
func (l *lexer) body(extended bool, depth int) Value {
	if depth > maxNesting {
		l.fail("a structure %d deep", depth)
	}
	l.want("(")
	v := Value{Kind: List}
	if l.peek() == '(' {
		l.multipart(&v, extended, depth)
	} else {
		l.onePart(&v, extended, depth)
	}
	l.want(")")
	return v
}

func (l *lexer) multipart(v *Value, extended bool, depth int) {
	parts := Value{Kind: List}
	for l.peek() == '(' {
		parts.List = append(parts.List, l.body(extended, depth+1))
	}
	l.sp()
	v.List = append(v.List, parts, l.str())
	l.bodyExtension(v, extended, l.parameters)
}

func (l *lexer) onePart(v *Value, extended bool, depth int) {
	mediaType := l.str()
	l.sp()
	subtype := l.str()
	l.sp()
	v.List = append(v.List, mediaType, subtype, l.parameters())
	v.List = append(v.List, l.times(2, l.nstring)...) // id, description
	v.List = append(v.List, l.times(1, l.str)...)     // encoding
	v.List = append(v.List, l.times(1, func() Value { return l.number(32) })...)
	switch {
	case strings.EqualFold(mediaType.Text, "MESSAGE") && (strings.EqualFold(subtype.Text, "RFC822") || strings.EqualFold(subtype.Text, "GLOBAL") && l.peek() == ' ' && l.looksLikeEnvelope()):
		v.List = append(v.List, l.times(1, l.envelope)...)
		l.sp()
		v.List = append(v.List, l.body(extended, depth+1))
		v.List = append(v.List, l.times(1, func() Value { return l.number(63) })...)
	case strings.EqualFold(mediaType.Text, "TEXT"):
		v.List = append(v.List, l.times(1, func() Value { return l.number(63) })...)
	}
	l.bodyExtension(v, extended, l.nstring) // MD5
}

// looksLikeEnvelope: MESSAGE/GLOBAL is a message in RFC 9051 and any other
// type in RFC 3501.
func (l *lexer) looksLikeEnvelope() bool {
	b, _ := l.r.Peek(2)
	return string(b) == " ("
}

// bodyExtension takes the first extension field, by what is given, then
// disposition, language, location, and what may come yet.
func (l *lexer) bodyExtension(v *Value, extended bool, first func() Value) {
	fields := []func() Value{first, l.disposition, l.language, l.nstring}
	for n := 0; l.peek() == ' '; n++ {
		if !extended {
			l.fail("extension data in BODY")
		}
		l.sp()
		if n < len(fields) {
			v.List = append(v.List, fields[n]())
			continue
		}
		l.furtherExtension(0)
	}
}

func (l *lexer) furtherExtension(depth int) Value {
	switch c := l.peek(); {
	case depth > maxNesting:
		l.fail("an extension %d deep", depth)
	case c == '(':
		return l.list1(func() Value { return l.furtherExtension(depth + 1) })
	case isDigit(c):
		return l.number(63)
	}
	return l.nstring()
}

// parameters: names and values, or NIL.
func (l *lexer) parameters() Value {
	return l.nilOr(func() Value {
		v := l.pairs(l.str, l.str)
		if len(v.List) == 0 {
			l.fail("an empty list of parameters")
		}
		return v
	})
}

func (l *lexer) disposition() Value {
	return l.nilOr(func() Value {
		l.want("(")
		name := l.str()
		l.sp()
		v := Value{Kind: List, List: []Value{name, l.parameters()}}
		l.want(")")
		return v
	})
}

func (l *lexer) language() Value {
	if l.peek() == '(' {
		return l.list1(l.str)
	}
	return l.nstring()
}
