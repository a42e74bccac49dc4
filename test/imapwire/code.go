package imapwire

import "slices"

// plainCodes have no argument: RFC 3501 §7.1, 5530 §3, 7162, 5182, 3516, 4978,
// 6154, 4978, 9051, 9586, 5465.
var plainCodes = []string{
	"ALERT", "PARSE", "READ-ONLY", "READ-WRITE", "TRYCREATE", "UIDNOTSTICKY", "NOMODSEQ", "CLOSED",
	"UNAVAILABLE", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED", "CONTACTADMIN", "NOPERM", "INUSE",
	"EXPUNGEISSUED", "CORRUPTION", "SERVERBUG", "CLIENTBUG", "CANNOT", "LIMIT", "OVERQUOTA", "ALREADYEXISTS", "NONEXISTENT",
	"NOTSAVED", "HASCHILDREN", "UNKNOWN-CTE", "TOOBIG", "COMPRESSIONACTIVE", "USEATTR", "UIDREQUIRED", "NOTIFICATIONOVERFLOW", "TEMPFAIL",
}

// respCode takes a code and its arguments, up to the bracket.
func (l *lexer) respCode(r *Response) {
	r.Code = l.word()
	if slices.Contains(plainCodes, r.Code) {
		return
	}
	if l.peek() == ']' {
		l.bareCode(r.Code)
		return
	}
	l.sp()
	r.CodeArgs = l.codeArgs(r.Code)
}

// bareCode: codes whose arguments are optional.
func (l *lexer) bareCode(code string) {
	switch code {
	case "BADCHARSET", "INPROGRESS", "BADCOMPARATOR":
	default:
		l.fail("response code %s has no argument, or is not known", code)
	}
}

func (l *lexer) codeArgs(code string) []Value {
	switch code {
	case "BADCHARSET": // RFC 3501 §7.1
		return []Value{l.list1(l.astring)}
	case "CAPABILITY":
		return l.capabilities()
	case "PERMANENTFLAGS":
		return []Value{l.list(l.flag)}
	case "UIDNEXT", "UIDVALIDITY", "UNSEEN":
		return []Value{l.nz(32)}
	case "HIGHESTMODSEQ": // RFC 7162 §7
		return []Value{l.nz(63)}
	case "MODIFIED":
		return []Value{l.set()}
	case "APPENDUID": // RFC 4315 §4
		v := l.nz(32)
		l.sp()
		return []Value{v, l.set()}
	case "COPYUID":
		v := l.nz(32)
		l.sp()
		from := l.set()
		l.sp()
		return []Value{v, from, l.set()}
	case "MAILBOXID": // RFC 8474 §7
		return []Value{l.objectID()}
	case "BADURL", "REFERRAL": // RFC 4469 §5: url-resp-text
		return []Value{{Text: l.run(func(c byte) bool { return isText(c) && c != ']' })}}
	case "NOUPDATE": // RFC 5267 §5
		return []Value{l.quoted()}
	case "METADATA": // RFC 5464 §5
		return l.metadataCode()
	case "BADEVENT": // RFC 5465 §8
		return []Value{l.list1(func() Value { return Value{Text: l.atom()} })}
	case "INPROGRESS": // RFC 9585 §7
		return []Value{l.progress()}
	case "MESSAGELIMIT", "SAVELIMIT":
		return append([]Value{l.nz(32)}, l.rest(func() Value { return l.nz(32) })...)
	}
	l.fail("unknown response code %s", code)
	return nil
}

func (l *lexer) capabilities() []Value {
	one := func() Value { return Value{Text: l.word()} }
	all := append([]Value{one()}, l.rest(one)...)
	if !slices.ContainsFunc(all, func(v Value) bool { return v.Text == "IMAP4REV1" || v.Text == "IMAP4REV2" }) {
		l.fail("neither IMAP4rev1 nor IMAP4rev2 among the capabilities")
	}
	for i, c := range all {
		if slices.ContainsFunc(all[:i], func(v Value) bool { return v.Text == c.Text }) {
			l.fail("capability %s twice", c.Text)
		}
	}
	return all
}

func (l *lexer) metadataCode() []Value {
	what := l.word()
	switch what {
	case "TOOMANY", "NOPRIVATE":
		return []Value{{Text: what}}
	case "LONGENTRIES", "MAXSIZE":
		l.sp()
		return []Value{{Text: what}, l.number(32)}
	}
	l.fail("METADATA %s", what)
	return nil
}

func (l *lexer) progress() Value {
	l.want("(")
	tag := l.nilOr(l.quoted)
	l.sp()
	done := l.nilOr(func() Value { return l.number(32) })
	l.sp()
	goal := l.nilOr(func() Value { return l.nz(32) })
	l.want(")")
	return Value{Kind: List, List: []Value{tag, done, goal}}
}
