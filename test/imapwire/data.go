package imapwire

import (
	"slices"
	"strings"
)

// data takes what stands behind the name of untagged data.
func (l *lexer) data(r *Response) {
	switch r.Kind {
	case "CAPABILITY":
		l.sp()
		r.Args = l.capabilities()
	case "ENABLED": // RFC 5161 §4
		r.Args = l.rest(func() Value { return Value{Text: l.word()} })
	case "FLAGS":
		l.sp()
		r.Args = []Value{l.list(l.flag)}
	case "SEARCH", "SORT":
		r.Args = l.found()
	case "ESEARCH":
		l.esearch(r)
	case "THREAD":
		r.Args = l.threads()
	case "VANISHED":
		l.vanished(r)
	case "LIST", "LSUB":
		l.sp()
		r.Args = l.listed()
	case "STATUS":
		l.sp()
		r.Args = []Value{l.mailbox()}
		l.sp()
		r.Args = append(r.Args, l.list(l.statusItem))
	case "NAMESPACE":
		r.Args = l.times(3, l.namespace)
	case "ID": // RFC 2971 §4
		l.sp()
		r.Args = []Value{l.nilOr(func() Value { return l.pairs(l.str, l.nstring) })}
	default:
		l.dataOfExtensions(r)
	}
}

func (l *lexer) dataOfExtensions(r *Response) {
	switch r.Kind {
	case "ACL": // RFC 4314 §7
		l.sp()
		r.Args = append([]Value{l.mailbox()}, l.rest(l.astring)...)
		if len(r.Args)%2 == 0 {
			l.fail("an identifier without rights")
		}
	case "MYRIGHTS":
		l.sp()
		r.Args = append([]Value{l.mailbox()}, l.times(1, l.astring)...)
	case "LISTRIGHTS":
		l.sp()
		r.Args = append([]Value{l.mailbox()}, l.times(2, l.astring)...)
		r.Args = append(r.Args, l.rest(l.astring)...)
	case "QUOTA": // RFC 9208 §7
		l.sp()
		r.Args = []Value{l.astring()}
		l.sp()
		r.Args = append(r.Args, l.list(l.quotaResource))
	case "QUOTAROOT":
		l.sp()
		r.Args = append([]Value{l.mailbox()}, l.rest(l.astring)...)
	case "METADATA": // RFC 5464 §5
		l.sp()
		r.Args = []Value{l.mailbox()}
		l.sp()
		if l.peek() == '(' {
			r.Args = append(r.Args, l.pairs(l.entry, l.entryValue))
			return
		}
		r.Args = append(append(r.Args, l.entry()), l.rest(l.entry)...)
	default:
		l.fail("unknown response %s", r.Kind)
	}
}

func (l *lexer) times(n int, f func() Value) []Value {
	var all []Value
	for range n {
		l.sp()
		all = append(all, f())
	}
	return all
}

// pairs takes a list of pairs; their values follow one another in it.
func (l *lexer) pairs(name, value func() Value) Value {
	v := Value{Kind: List}
	l.list(func() Value {
		v.List = append(v.List, name())
		l.sp()
		v.List = append(v.List, value())
		return Value{}
	})
	return v
}

func (l *lexer) quotaResource() Value {
	name := l.word()
	l.sp()
	usage := l.number(63)
	l.sp()
	return Value{Kind: List, List: []Value{{Text: name}, usage, l.number(63)}}
}

func (l *lexer) entry() Value {
	v := l.astring()
	if low := strings.ToLower(v.Text); !strings.HasPrefix(low, "/private/") && !strings.HasPrefix(low, "/shared/") {
		l.fail("entry %q", v.Text)
	}
	return v
}

func (l *lexer) entryValue() Value {
	if l.peek() == '~' {
		return l.literal8()
	}
	return l.nstring()
}

// found: the numbers of SEARCH and SORT, and (MODSEQ n) of RFC 7162 §7.
func (l *lexer) found() []Value {
	var all []Value
	for l.peek() == ' ' {
		l.sp()
		if l.eat('(') {
			if len(all) == 0 {
				l.fail("MODSEQ without a message")
			}
			l.keyword("MODSEQ")
			l.sp()
			all = append(all, Value{Kind: List, List: []Value{{Text: "MODSEQ"}, l.nz(63)}})
			l.want(")")
			return all
		}
		all = append(all, l.nz(32))
	}
	return all
}

// esearch: RFC 4731 §4, 4466 §2.6.2, 7377 §4, 9394, 5267. Args are the
// correlator (a list, or NIL), "UID" or NIL, and a list of names and values.
func (l *lexer) esearch(r *Response) {
	correlator, uid, data := Value{Kind: Nil}, Value{Kind: Nil}, Value{Kind: List}
	first := true
	for l.peek() == ' ' {
		l.sp()
		if first && l.peek() == '(' {
			correlator, first = l.pairs(func() Value { return Value{Text: l.word()} }, l.correlated), false
			continue
		}
		name := l.word()
		if name == "UID" && uid.Kind == Nil && len(data.List) == 0 {
			uid, first = Value{Text: name}, false
			continue
		}
		first = false
		l.sp()
		data.List = append(data.List, Value{Text: name}, l.returned(name))
	}
	l.checkCorrelator(correlator)
	r.Args = []Value{correlator, uid, data}
}

func (l *lexer) correlated() Value { return l.astring() }

func (l *lexer) checkCorrelator(v Value) {
	seen := map[string]bool{}
	for i := 0; i < len(v.List); i += 2 {
		name := v.List[i].Text
		if name != "TAG" && name != "MAILBOX" && name != "UIDVALIDITY" || seen[name] {
			l.fail("correlator %s", name)
		}
		seen[name] = true
	}
	if v.Kind == List && !seen["TAG"] || seen["MAILBOX"] != seen["UIDVALIDITY"] {
		l.fail("an incomplete correlator")
	}
}

// returned is the value of one search-return-data.
func (l *lexer) returned(name string) Value {
	switch name {
	case "MIN", "MAX":
		return l.nz(32)
	case "COUNT":
		return l.number(32)
	case "ALL":
		return l.set()
	case "MODSEQ":
		return l.nz(63)
	case "RELEVANCY":
		return l.list(func() Value { return l.nz(32) })
	case "ADDTO", "REMOVEFROM":
		return l.pairs(func() Value { return l.number(32) }, l.set)
	case "PARTIAL":
		return l.partial()
	}
	l.fail("unknown search result %s", name)
	return Value{}
}

func (l *lexer) partial() Value {
	l.want("(")
	from := len(l.raw)
	l.eat('-')
	l.nz(32)
	l.want(":")
	l.eat('-')
	l.nz(32)
	bounds := Value{Text: string(l.raw[from:])}
	l.sp()
	set := l.nilOr(l.set)
	l.want(")")
	return Value{Kind: List, List: []Value{bounds, set}}
}

// threads: RFC 5256 §5. Each thread is a list of numbers, then lists.
func (l *lexer) threads() []Value {
	if l.peek() != ' ' {
		return nil
	}
	l.sp()
	if l.loose && l.peek() == '\r' {
		return nil
	}
	all := []Value{l.thread(0)}
	for l.peek() == '(' {
		all = append(all, l.thread(0))
	}
	return all
}

func (l *lexer) thread(depth int) Value {
	if depth > maxNesting {
		l.fail("threads %d deep", depth)
	}
	l.want("(")
	v := Value{Kind: List}
	for isDigit(l.peek()) {
		v.List = append(v.List, l.nz(32))
		if l.peek() == ')' {
			break
		}
		l.sp()
	}
	if l.peek() != ')' || len(v.List) == 0 {
		n := 0
		for ; l.peek() == '('; n++ {
			v.List = append(v.List, l.thread(depth+1))
		}
		if n < 2 {
			l.fail("a branch with %d threads", n)
		}
	}
	l.want(")")
	return v
}

// vanished: RFC 7162 §7. Args are "EARLIER" or NIL, and the UIDs.
func (l *lexer) vanished(r *Response) {
	l.sp()
	earlier := Value{Kind: Nil}
	if l.eat('(') {
		l.keyword("EARLIER")
		l.want(") ")
		earlier = Value{Text: "EARLIER"}
	}
	r.Args = []Value{earlier, l.set()}
}

var attributes = []string{
	`\NOINFERIORS`, `\NOSELECT`, `\MARKED`, `\UNMARKED`, `\HASCHILDREN`, `\HASNOCHILDREN`, `\NONEXISTENT`, `\SUBSCRIBED`, `\REMOTE`,
	`\ALL`, `\ARCHIVE`, `\DRAFTS`, `\FLAGGED`, `\JUNK`, `\SENT`, `\TRASH`, `\IMPORTANT`, `\NOACCESS`,
}

// listed: attributes, separator, name, extended data.
func (l *lexer) listed() []Value {
	attrs := l.list(l.flag)
	for i, a := range attrs.List {
		if !slices.Contains(attributes, strings.ToUpper(a.Text)) {
			l.fail("mailbox attribute %s", a.Text)
		}
		if slices.ContainsFunc(attrs.List[:i], func(b Value) bool { return strings.EqualFold(a.Text, b.Text) }) {
			l.fail("mailbox attribute %s twice", a.Text)
		}
	}
	has := func(name string) bool {
		return slices.ContainsFunc(attrs.List, func(v Value) bool { return strings.EqualFold(v.Text, name) })
	}
	if has(`\HasChildren`) && has(`\HasNoChildren`) || has(`\Marked`) && has(`\Unmarked`) {
		l.fail("attributes that exclude each other")
	}
	l.sp()
	sep := l.separator()
	l.sp()
	args := []Value{attrs, sep, l.mailbox()}
	if l.peek() != ' ' {
		return args
	}
	l.sp()
	return append(args, l.pairs(l.astring, func() Value { return l.extension(0) }))
}

func (l *lexer) separator() Value {
	return l.nilOr(func() Value {
		v := l.quoted()
		if len(v.Text) != 1 {
			l.fail("separator %q", v.Text)
		}
		return v
	})
}

// extension: tagged-ext-val of RFC 4466 §4.
func (l *lexer) extension(depth int) Value {
	if depth > maxNesting {
		l.fail("a value %d deep", depth)
	}
	switch {
	case l.peek() == '(':
		return l.list(func() Value { return l.extension(depth + 1) })
	case depth == 0:
		return l.set() // tagged-ext-simple; a number is one
	}
	return l.astring()
}

func (l *lexer) statusItem() Value {
	name := l.word()
	l.sp()
	v := Value{Kind: List, List: []Value{{Text: name}}}
	add := func(value Value) Value {
		v.List = append(v.List, value)
		return v
	}
	switch name {
	case "MESSAGES", "RECENT", "UNSEEN", "DELETED":
		return add(l.number(32))
	case "UIDNEXT", "UIDVALIDITY":
		return add(l.nz(32))
	case "SIZE", "HIGHESTMODSEQ", "DELETED-STORAGE":
		return add(l.number(63))
	case "APPENDLIMIT": // RFC 7889 §6
		return add(l.nilOr(func() Value { return l.number(32) }))
	case "MAILBOXID":
		return add(l.objectID())
	}
	l.fail("STATUS item %s", name)
	return v
}

// namespace: RFC 2342 §6.
func (l *lexer) namespace() Value {
	return l.nilOr(func() Value {
		l.want("(")
		v := Value{Kind: List}
		for l.peek() == '(' {
			l.want("(")
			prefix := l.str()
			l.sp()
			v.List = append(v.List, Value{Kind: List, List: []Value{prefix, l.separator()}})
			for l.peek() == ' ' {
				l.sp()
				l.str()
				l.sp()
				l.list1(l.str)
			}
			l.want(")")
		}
		l.want(")")
		if len(v.List) == 0 {
			l.fail("an empty namespace")
		}
		return v
	})
}
