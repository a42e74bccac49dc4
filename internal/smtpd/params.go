package smtpd

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"peyk/internal/envelope"
	"peyk/internal/status"
)

// Refusals of a parameter.
var (
	errParamSyntax    = status.New(501, "5.5.4", "cannot use a parameter: expected KEYWORD or KEYWORD=value")
	errParamTwice     = status.New(501, "5.5.4", "cannot use a parameter that is given twice")
	errParamUnknown   = status.New(555, "5.5.4", "cannot use a parameter that was not offered") // RFC 5321 §4.1.1.11
	errParamValue     = status.New(501, "5.5.4", "cannot use the value of a parameter")
	errMessageTooBig  = status.New(552, "5.3.4", "cannot take a message of this size")
	errHeaderTooBig   = status.New(552, "5.3.4", "cannot take a message with so large a header")
	errPathSyntax     = status.New(501, "5.5.2", "cannot read the command: expected an address in angle brackets")
	errNoTLSForParam  = status.New(555, "5.5.4", "cannot promise REQUIRETLS: this session is not encrypted")
	errNoBinary       = status.New(501, "5.5.4", "cannot take BINARYMIME: it was not offered")
	errNoSuchBody     = status.New(501, "5.5.4", "cannot use this BODY: expected 7BIT or 8BITMIME")
	errSizeNotANumber = status.New(501, "5.5.4", "cannot use this SIZE: expected a number of octets")
)

// splitPath reads "FROM:<path> parameters", where label is "FROM:". A blank
// behind the colon is tolerated: half the world sends it.
func splitPath(arg, label string) (path, params string, err error) {
	if len(arg) < len(label) || upper(arg[:len(label)]) != label {
		return "", "", errPathSyntax
	}
	arg = strings.TrimLeft(arg[len(label):], " \t")
	n := pathEnd(arg)
	if n < 0 || n < len(arg) && arg[n] != ' ' && arg[n] != '\t' {
		return "", "", errPathSyntax
	}
	return arg[:n], arg[n:], nil
}

// pathEnd returns the length of the <path> that s begins with, or -1. In a
// quoted local part > is an ordinary character.
func pathEnd(s string) int {
	if s == "" || s[0] != '<' {
		return -1
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			return i + 1
		}
	}
	return -1
}

// eachParam calls use with every parameter, its keyword in upper case. given
// tells "" apart from no value at all.
func eachParam(params string, use func(keyword, value string, given bool) error) error {
	var seen [8]string
	known := seen[:0]
	for word := range strings.FieldsSeq(params) {
		keyword, value, given := strings.Cut(word, "=")
		keyword = upper(keyword)
		if !isKeyword(keyword) || given && value == "" {
			return errParamSyntax
		}
		for _, k := range known {
			if k == keyword {
				return errParamTwice
			}
		}
		known = append(known, keyword)
		if err := use(keyword, value, given); err != nil {
			return err
		}
	}
	return nil
}

// isKeyword is esmtp-keyword of RFC 5321 §4.1.2, in upper case.
func isKeyword(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && (c != '-' || i == 0) {
			return false
		}
	}
	return s != ""
}

// mailParam takes one parameter of MAIL.
func (c *conn) mailParam(tx *transaction, keyword, value string, given bool) error {
	switch keyword {
	case "SIZE": // RFC 1870
		size, ok := parseCount(value)
		if !ok {
			return errSizeNotANumber
		}
		tx.size = size
	case "BODY": // RFC 6152
		return tx.setBody(upper(value))
	case "SMTPUTF8": // RFC 6531
		tx.envelope.SMTPUTF8 = true
		return noValue(given)
	case "REQUIRETLS": // RFC 8689
		if !c.secure() {
			return errNoTLSForParam
		}
		tx.envelope.RequireTLS = true
		return noValue(given)
	case "RET": // RFC 3461 §4.3
		tx.envelope.Ret = upper(value)
		if tx.envelope.Ret != "FULL" && tx.envelope.Ret != "HDRS" {
			return errParamValue
		}
	case "ENVID": // RFC 3461 §4.4
		return tx.setEnvID(value)
	case "AUTH": // RFC 4954 §5: checked and not passed on
		if !c.offersLogin() {
			return errParamUnknown
		}
		if _, err := envelope.DecodeXtext(value); err != nil || value == "" {
			return errParamValue
		}
	default:
		return errParamUnknown
	}
	return nil
}

// parseCount reads a number of octets. The RFC allows 20 digits, of which we
// could not even count what 18 stand for.
func parseCount(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

func noValue(given bool) error {
	if given {
		return errParamValue
	}
	return nil
}

func (tx *transaction) setBody(body string) error {
	switch body {
	case "7BIT", "8BITMIME":
		tx.envelope.Body = body
		return nil
	case "BINARYMIME":
		return errNoBinary
	}
	return errNoSuchBody
}

func (tx *transaction) setEnvID(value string) error {
	id, err := envelope.DecodeXtext(value)
	if err != nil || id == "" || len(value) > 100 || !isPrintable(id, false) {
		return errParamValue
	}
	tx.envelope.EnvID = id
	return nil
}

// rcptParam takes one parameter of RCPT.
func (tx *transaction) rcptParam(r *recipient, keyword, value string, _ bool) error {
	switch keyword {
	case "NOTIFY": // RFC 3461 §4.1
		kinds := strings.Split(upper(value), ",")
		if !isNotify(kinds) {
			return errParamValue
		}
		r.envelope.Notify = kinds
	case "ORCPT": // RFC 3461 §4.2
		return tx.setORcpt(r, value)
	default:
		return errParamUnknown
	}
	return nil
}

// isNotify reports whether kinds is NEVER alone, or some of the others, each
// once.
func isNotify(kinds []string) bool {
	seen := map[string]bool{}
	for _, k := range kinds {
		switch k {
		case "NEVER", "SUCCESS", "FAILURE", "DELAY":
		default:
			return false
		}
		if seen[k] {
			return false
		}
		seen[k] = true
	}
	return !seen["NEVER"] || len(kinds) == 1
}

func (tx *transaction) setORcpt(r *recipient, value string) error {
	kind, text, ok := strings.Cut(value, ";")
	if !ok || !isKeyword(upper(kind)) || len(value) > 500 {
		return errParamValue
	}
	wide := tx.envelope.SMTPUTF8 && upper(kind) == "UTF-8" // RFC 6533 §3
	decoded := text
	if !wide {
		var err error
		if decoded, err = envelope.DecodeXtext(text); err != nil {
			return errParamValue
		}
	}
	if decoded == "" || !isPrintable(decoded, wide) {
		return errParamValue
	}
	r.envelope.ORcpt = kind + ";" + decoded
	return nil
}

// isPrintable reports whether s may stand in a report and in the log.
func isPrintable(s string, wide bool) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError || r > 0x7f && (!wide || !unicode.IsGraphic(r)) {
			return false
		}
	}
	return true
}
