package mimescan

// envelopeFields in the order of RFC 3501 §7.4.2.
const (
	fieldDate = iota
	fieldSubject
	fieldFrom
	fieldSender
	fieldReplyTo
	fieldTo
	fieldCc
	fieldBcc
	fieldInReplyTo
	fieldMessageID
	envelopeFields
)

func envelopeField(name []byte) int {
	switch len(name) {
	case 2:
		return oneOf(name, "to", fieldTo, "cc", fieldCc)
	case 3:
		return oneOf(name, "bcc", fieldBcc, "", -1)
	case 4:
		return oneOf(name, "date", fieldDate, "from", fieldFrom)
	case 6:
		return oneOf(name, "sender", fieldSender, "", -1)
	case 7:
		return oneOf(name, "subject", fieldSubject, "", -1)
	case 8:
		return oneOf(name, "reply-to", fieldReplyTo, "", -1)
	case 10:
		return oneOf(name, "message-id", fieldMessageID, "", -1)
	case 11:
		return oneOf(name, "in-reply-to", fieldInReplyTo, "", -1)
	}
	return -1
}

func oneOf(name []byte, a string, ifA int, b string, ifB int) int {
	switch {
	case foldEqual(string(name), a):
		return ifA
	case foldEqual(string(name), b):
		return ifB
	}
	return -1
}

// An Envelope collects the fields of a header that the IMAP envelope is made
// of (RFC 3501 §7.4.2).
type Envelope struct {
	last [envelopeFields][]byte // the last value of each field
	more []extra                // values before it
	seen [envelopeFields]bool
}

// An extra is one of several values of a field.
type extra struct {
	field int
	value []byte
}

// Add takes in a field, as Fields gives it. The value is kept.
func (e *Envelope) Add(name, value []byte) {
	i := envelopeField(name)
	if i < 0 {
		return
	}
	if e.seen[i] && i >= fieldFrom && i <= fieldBcc {
		e.more = append(e.more, extra{i, e.last[i]})
	}
	e.last[i], e.seen[i] = value, true
}

// AppendEnvelope appends the IMAP envelope of a raw header, without its
// parentheses.
func AppendEnvelope(dst, header []byte) []byte {
	var e Envelope
	Fields(header, func(name, value []byte) bool {
		e.Add(name, value)
		return true
	})
	return e.Append(dst)
}

// Append appends the envelope without its parentheses. Of texts that are there
// twice the last counts; addresses are those of all fields of the name.
func (e *Envelope) Append(dst []byte) []byte {
	dst = append(e.text(dst, fieldDate, AppendString), ' ')
	dst = append(e.text(dst, fieldSubject, AppendHuman), ' ')
	from := len(dst)
	dst = e.addresses(dst, fieldFrom)
	to := len(dst)
	for i := fieldSender; i <= fieldBcc; i++ {
		dst = append(dst, ' ')
		before := len(dst)
		dst = e.addresses(dst, i)
		if i <= fieldReplyTo && string(dst[before:]) == "NIL" {
			dst = append(dst[:before], dst[from:to]...) // RFC 3501 §7.4.2: defaults to From
		}
	}
	dst = append(e.text(append(dst, ' '), fieldInReplyTo, AppendString), ' ')
	return e.text(dst, fieldMessageID, AppendString)
}

func (e *Envelope) text(dst []byte, i int, as func([]byte, string) []byte) []byte {
	if !e.seen[i] {
		return append(dst, "NIL"...)
	}
	return as(dst, Unfold(e.last[i]))
}

func (e *Envelope) addresses(dst []byte, i int) []byte {
	if !e.seen[i] {
		return append(dst, "NIL"...)
	}
	before := len(dst)
	for _, x := range e.more {
		if x.field == i {
			dst = appendAddresses(dst, before, x.value)
		}
	}
	dst = appendAddresses(dst, before, e.last[i])
	if len(dst) == before {
		return append(dst, "NIL"...)
	}
	return append(dst, ')')
}

// appendAddresses appends to the list that begins at an offset.
func appendAddresses(dst []byte, before int, value []byte) []byte {
	addressList(Unfold(value), func(a address) {
		if len(dst) == before {
			dst = append(dst, '(')
		}
		dst = a.append(dst)
	})
	return dst
}

func (a address) append(dst []byte) []byte {
	switch a.group {
	case groupStart:
		dst = append(dst, "(NIL NIL "...)
		return append(AppendString(dst, a.mailbox), " NIL)"...)
	case groupEnd:
		return append(dst, "(NIL NIL NIL NIL)"...)
	}
	dst = append(dst, '(')
	dst = appendOptional(dst, a.name, a.hasName, AppendHuman)
	dst = append(dst, ' ')
	dst = appendOptional(dst, a.route, a.hasRoute, AppendString)
	dst = append(dst, ' ')
	dst = AppendString(dst, a.mailbox)
	dst = append(dst, ' ')
	dst = AppendString(dst, a.domain)
	return append(dst, ')')
}

func appendOptional(dst []byte, s string, ok bool, as func([]byte, string) []byte) []byte {
	if !ok {
		return append(dst, "NIL"...)
	}
	return as(dst, s)
}
