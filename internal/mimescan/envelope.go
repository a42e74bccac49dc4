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

// AppendEnvelope appends the IMAP envelope of a raw header, without its
// parentheses (RFC 3501 §7.4.2). Of texts that are there twice the last
// counts; addresses are those of all fields of the name.
func AppendEnvelope(dst, header []byte) []byte {
	var values [envelopeFields][][]byte
	Fields(header, func(name, value []byte) bool {
		if i := envelopeField(name); i >= 0 {
			values[i] = append(values[i], value)
		}
		return true
	})
	dst = appendText(dst, values[fieldDate], AppendString)
	dst = append(dst, ' ')
	dst = appendText(dst, values[fieldSubject], AppendHuman)
	from := appendAddresses(nil, values[fieldFrom])
	dst = append(append(dst, ' '), from...)
	for i := fieldSender; i <= fieldBcc; i++ {
		dst = append(dst, ' ')
		before := len(dst)
		dst = appendAddresses(dst, values[i])
		if i <= fieldReplyTo && string(dst[before:]) == "NIL" {
			dst = append(dst[:before], from...) // RFC 3501 §7.4.2: defaults to From
		}
	}
	dst = append(dst, ' ')
	dst = appendText(dst, values[fieldInReplyTo], AppendString)
	dst = append(dst, ' ')
	return appendText(dst, values[fieldMessageID], AppendString)
}

func appendText(dst []byte, values [][]byte, as func([]byte, string) []byte) []byte {
	if len(values) == 0 {
		return append(dst, "NIL"...)
	}
	return as(dst, Unfold(values[len(values)-1]))
}

func appendAddresses(dst []byte, values [][]byte) []byte {
	before := len(dst)
	for _, value := range values {
		addressList(Unfold(value), func(a address) {
			if len(dst) == before {
				dst = append(dst, '(')
			}
			dst = a.append(dst)
		})
	}
	if len(dst) == before {
		return append(dst, "NIL"...)
	}
	return append(dst, ')')
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
