package smtpd

import (
	"bytes"
	"strings"
)

// A verb is a command of SMTP, upper case.
type verb string

// The verbs that reach go-smtp; greeting is what it says unasked.
const (
	greeting verb = ""
	ehlo     verb = "EHLO"
	mail     verb = "MAIL"
	rcpt     verb = "RCPT"
	data     verb = "DATA"
	bdat     verb = "BDAT"
	rset     verb = "RSET"
)

// command obeys one command line, which still has its CR.
func (c *conn) command(raw []byte) {
	if c.lost {
		c.refuse("503 5.5.1 not in step: commands were sent before the answer to DATA")
		return
	}
	line, fault := c.checkLine(raw)
	if fault != "" {
		c.refuse(fault)
		return
	}
	v, arg := splitVerb(line)
	switch v {
	case "EHLO", "HELO":
		c.hello(v == "EHLO", arg)
	case "MAIL":
		c.mail(arg)
	case "RCPT":
		c.rcptTo(arg)
	case "DATA":
		c.data(arg)
	case "BDAT":
		c.bdat(arg)
	case "RSET":
		c.rset(arg)
	case "QUIT":
		c.quit(arg)
	case "STARTTLS":
		c.startTLS(arg)
	case "AUTH":
		c.auth(arg)
	default:
		c.minor(v)
	}
}

// minor answers what has no effect.
func (c *conn) minor(v string) {
	switch v {
	case "NOOP":
		c.reply("250 2.0.0 ok")
	case "VRFY": // RFC 5321 §7.3: who exists is told to nobody
		c.reply("252 2.5.0 cannot verify, but will take mail and try")
	case "HELP":
		c.reply("214 2.0.0 this is Peyk; see RFC 5321")
	case "EXPN", "SEND", "SOML", "SAML", "TURN", "ETRN", "BURL":
		c.refuse("502 5.5.1 this command is not implemented") // RFC 5321 §4.2.4
	case "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI":
		c.end("421 4.7.0 this is not a web server, closing the connection")
	default:
		c.refuse("500 5.5.1 unknown command")
	}
}

// checkLine returns a command line without its line end and trailing blanks,
// or the reply to one that is none.
func (c *conn) checkLine(raw []byte) (line, fault string) {
	body, ok := bytes.CutSuffix(raw, []byte("\r"))
	switch {
	case isTLSRecord(raw):
		c.end("500 5.5.1 expected a command, got a TLS handshake; use STARTTLS")
		return "", "500 5.5.1 unknown command"
	case !ok && !c.policy.Normalize: // RFC 5321 §2.3.8
		return "", "500 5.5.2 a line must end with CR LF"
	}
	for _, b := range body {
		if b < ' ' && b != '\t' || b == 0x7f {
			return "", "501 5.5.2 control character in a command"
		}
	}
	return strings.TrimRight(string(body), " \t"), "" // RFC 5321 §4.1.1: trailing blanks are tolerated
}

// isTLSRecord reports whether b begins like a ClientHello.
func isTLSRecord(b []byte) bool { return len(b) > 2 && b[0] == 0x16 && b[1] == 3 }

// splitVerb returns the verb in upper case, and what follows its first blank.
func splitVerb(line string) (v, arg string) {
	v, arg, _ = strings.Cut(line, " ")
	return upper(v), strings.TrimLeft(arg, " \t")
}

// upper is strings.ToUpper for ASCII; other letters are nobody's keyword.
func upper(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'a' && s[i] <= 'z' {
			return upperCopy(s)
		}
	}
	return s
}

func upperCopy(s string) string {
	b := []byte(s)
	for i, ch := range b {
		if ch >= 'a' && ch <= 'z' {
			b[i] = ch - 'a' + 'A'
		}
	}
	return string(b)
}

func (c *conn) rset(arg string) {
	if arg != "" {
		c.refuse("501 5.5.4 RSET takes no argument")
		return
	}
	if c.helo == "" { // nothing to reset, and go-smtp has no session yet
		c.reply("250 2.0.0 ok")
		return
	}
	c.hand(rset, "RSET")
}

func (c *conn) quit(arg string) {
	if arg != "" {
		c.refuse("501 5.5.4 QUIT takes no argument")
		return
	}
	c.end("221 2.0.0 " + c.server.o.Hostname + " closing the connection")
}
