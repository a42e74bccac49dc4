package smtpd

import (
	"fmt"
	"strconv"

	"github.com/emersion/go-smtp"

	"peyk/internal/eventlog"
	"peyk/internal/status"
)

// reply says a line.
func (c *conn) reply(line string) {
	if c.ended {
		return
	}
	b := make([]byte, 0, 128)
	c.say(append(append(b, line...), "\r\n"...))
}

// say sends whole lines. To a client that does not take its replies, or is
// gone, there is nothing more to say or to hear.
func (c *conn) say(lines []byte) {
	if _, err := c.Conn.Write(lines); err != nil {
		c.ended = true
		c.forward = nil
	}
}

// refuse answers a command that breaks the protocol, and ends the session of
// a client that does it too often.
func (c *conn) refuse(line string) {
	c.reply(line)
	c.errors++
	c.checkPatience()
}

// checkPatience ends the session of a client that went over a limit.
func (c *conn) checkPatience() {
	p := c.policy
	switch {
	case c.ended:
	case c.errors > p.Errors:
		c.lostPatience("421 4.7.0 too many errors, closing the connection", "error-limit")
	case c.rejected > p.Rejected:
		c.lostPatience("421 4.7.0 too many unknown recipients, closing the connection", "rejected-recipient-limit")
	case c.excess > p.Recipients:
		c.lostPatience("421 4.7.0 too many recipients, closing the connection", "recipient-limit")
	case c.failures >= p.AuthFailures && p.AuthFailures > 0 && !c.exempt():
		c.lostPatience("421 4.7.0 too many failed logins, closing the connection", "auth-failure-limit")
	}
}

func (c *conn) lostPatience(line, reason string) {
	c.log.Event(eventlog.Disconnected, "client", c.client(), "reason", reason)
	c.end(line)
}

// Write takes a line of go-smtp's reply to the command that it got, and says
// ours. go-smtp writes each line with one call.
func (c *conn) Write(p []byte) (int, error) {
	if c.ended || len(p) < 4 {
		return len(p), nil
	}
	final := p[3] != '-'
	switch {
	case !final: // of EHLO; the keywords are ours
	case p[0] == '2':
		c.agree(p)
	case p[0] == '3':
		c.goAhead()
	case string(p[:3]) == "421": // RFC 5321 §3.8: the channel closes
		c.end(string(p[:len(p)-2]))
	default:
		c.say(p)
		c.checkPatience()
	}
	return len(p), nil
}

// agree says that the command that go-smtp got went well.
func (c *conn) agree(p []byte) {
	switch c.verb {
	case greeting:
		c.greet()
	case ehlo:
		c.welcome()
	case mail:
		c.reply("250 2.1.0 sender ok")
	case rcpt:
		c.reply("250 2.1.5 recipient ok")
	case rset:
		c.reply("250 2.0.0 ok")
	default: // DATA: the text names the queue id
		c.say(p)
	}
}

// goAhead says 354. After BDAT there is nothing to say: the message is here.
func (c *conn) goAhead() {
	if c.verb == data {
		c.reply("354 end the message with <CR><LF>.<CR><LF>")
	}
}

// toReply gives go-smtp an error in its own type.
func toReply(err error) error {
	if err == nil {
		return nil
	}
	s := status.Of(err)
	return &smtp.SMTPError{Code: s.Code, EnhancedCode: enhanced(s.Enhanced, s.Code), Message: s.Text}
}

// enhanced reads a code such as "5.1.1" (RFC 2034).
func enhanced(s string, code int) smtp.EnhancedCode {
	var e smtp.EnhancedCode
	part := 0
	for i := 0; i < len(s) && part < 3; i++ {
		if s[i] == '.' {
			part++
			continue
		}
		e[part] = e[part]*10 + int(s[i]-'0')
	}
	if part != 2 {
		return smtp.EnhancedCode{code / 100, 0, 0}
	}
	return e
}

// queued is the success of DATA as go-smtp wants it (EXPERIMENTAL in its
// documentation, but verbatim on the wire).
func queued(id string) error {
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "queued as " + id}
}

// statusLine is a status error as a reply.
func statusLine(err error) string {
	s := status.Of(err)
	e := s.Enhanced
	if e == "" {
		e = strconv.Itoa(s.Code/100) + ".0.0"
	}
	return fmt.Sprintf("%d %s %s", s.Code, e, s.Text)
}
