package lmtp

import (
	"slices"
	"strings"

	"peyk/internal/address"
	"peyk/internal/envelope"
	"peyk/internal/status"
)

func syntax(text string) *status.Error { return status.New(501, "5.5.4", text) }

// parseMail reads what follows MAIL.
func parseMail(args string, o *Options) (*Mail, *status.Error) {
	path, params, bad := splitPath(args, "FROM:")
	if bad != nil {
		return nil, bad
	}
	m := new(Mail)
	if bad := eachParam(params, func(key, value string, has bool) *status.Error {
		return m.param(key, value, has, o)
	}); bad != nil {
		return nil, bad
	}
	a, err := address.ParsePath(path, m.SMTPUTF8)
	if err != nil {
		return nil, status.Of(err)
	}
	m.Sender = a.String()
	return m, nil
}

// param takes one parameter of MAIL.
func (m *Mail) param(key, value string, has bool, o *Options) *status.Error {
	ok := has
	switch key {
	case "SIZE": // RFC 1870 §3
		m.Size, ok = parseNumber(value)
	case "BODY": // RFC 6152 §2; BINARYMIME is not offered
		m.Body = strings.ToUpper(value)
		ok = m.Body == "7BIT" || m.Body == "8BITMIME"
	case "SMTPUTF8": // RFC 6531 §3.4
		m.SMTPUTF8, ok = true, !has
	case "RET": // RFC 3461 §4.3
		m.Ret = strings.ToUpper(value)
		ok = m.Ret == "FULL" || m.Ret == "HDRS"
	case "ENVID": // RFC 3461 §4.4
		var err error
		m.EnvID, err = envelope.DecodeXtext(value)
		ok = err == nil && m.EnvID != "" && len(value) <= 100 && clean([]byte(m.EnvID))
	case "REQUIRETLS": // RFC 8689 §3
		if !o.RequireTLS {
			return unknownParam(key)
		}
		m.RequireTLS, ok = true, !has
	case "XAGAIN":
		if !o.Again {
			return unknownParam(key)
		}
		m.Again, ok = true, !has
	default:
		return unknownParam(key)
	}
	if !ok {
		return syntax("cannot read the value of parameter " + key)
	}
	return nil
}

func unknownParam(key string) *status.Error { // RFC 5321 §4.1.1.11
	return status.New(555, "5.5.4", "unknown parameter "+key)
}

// parseRcpt reads what follows RCPT.
func parseRcpt(args string, utf8 bool) (r envelope.Recipient, bad *status.Error) {
	path, params, bad := splitPath(args, "TO:")
	if bad != nil {
		return r, bad
	}
	a, err := address.ParsePath(path, utf8)
	if err != nil {
		return r, status.Of(err)
	}
	if a.IsZero() {
		return r, status.New(501, "5.1.3", "cannot deliver to the null address")
	}
	r.Address = a.String()
	bad = eachParam(params, func(key, value string, _ bool) *status.Error {
		switch key {
		case "NOTIFY":
			return setNotify(&r, value)
		case "ORCPT":
			return setORcpt(&r, value, utf8)
		}
		return unknownParam(key)
	})
	return r, bad
}

// setNotify takes NOTIFY= (RFC 3461 §4.1).
func setNotify(r *envelope.Recipient, value string) *status.Error {
	for word := range strings.SplitSeq(strings.ToUpper(value), ",") {
		known := word == "NEVER" || word == "SUCCESS" || word == "FAILURE" || word == "DELAY"
		if !known || slices.Contains(r.Notify, word) {
			return syntax("cannot read the value of parameter NOTIFY")
		}
		r.Notify = append(r.Notify, word)
	}
	if len(r.Notify) > 1 && slices.Contains(r.Notify, "NEVER") {
		return syntax("cannot combine NOTIFY=NEVER with others")
	}
	return nil
}

// setORcpt takes ORCPT= (RFC 3461 §4.2). With utf8, the address may come
// without encoding (RFC 6533 §3).
func setORcpt(r *envelope.Recipient, value string, utf8 bool) *status.Error {
	bad := syntax("cannot read the value of parameter ORCPT")
	kind, text, ok := strings.Cut(value, ";")
	if !ok || kind == "" || text == "" || len(value) > 500 || !letters(kind) {
		return bad
	}
	addr, err := envelope.DecodeXtext(text)
	if err != nil && utf8 && strings.EqualFold(kind, "utf-8") {
		addr, err = text, nil
	}
	if err != nil || !clean([]byte(addr)) {
		return bad
	}
	r.ORcpt = kind + ";" + addr
	return nil
}

func letters(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return len(s) <= 32
}

// splitPath splits "FROM:<path> parameters". A bracket in a quoted string
// does not end the path.
func splitPath(args, prefix string) (path, params string, bad *status.Error) {
	if len(args) < len(prefix) || !strings.EqualFold(args[:len(prefix)], prefix) {
		return "", "", syntax("expected " + prefix + "<address>")
	}
	rest := args[len(prefix):]
	end := pathEnd(rest)
	if end < 0 {
		return "", "", status.New(501, "5.1.3", "expected an address in angle brackets after "+prefix)
	}
	path, params = rest[:end], strings.TrimRight(rest[end:], " ")
	if params != "" && params[0] != ' ' {
		return "", "", syntax("expected a blank after the address")
	}
	return path, params, nil
}

// pathEnd returns the index after the bracket that closes the path at the
// beginning of s, or -1.
func pathEnd(s string) int {
	if s == "" || s[0] != '<' {
		return -1
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			return i + 1
		}
	}
	return -1
}

// eachParam calls f with each parameter, key in upper case. No key may come
// twice.
func eachParam(params string, f func(key, value string, has bool) *status.Error) *status.Error {
	var seen []string
	for word := range strings.FieldsSeq(params) {
		key, value, has := strings.Cut(word, "=")
		key = strings.ToUpper(key)
		if key == "" || !letters(key) {
			return syntax("cannot read the parameters")
		}
		if slices.Contains(seen, key) {
			return syntax("parameter " + key + " comes twice")
		}
		seen = append(seen, key)
		if bad := f(key, value, has); bad != nil {
			return bad
		}
	}
	return nil
}
