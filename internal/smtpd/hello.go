package smtpd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"peyk/internal/eventlog"
)

// greet says 220, after a pause in which a client that cannot wait for its
// turn shows itself (control greet-delay).
func (c *conn) greet() {
	if c.service == MX && c.policy.GreetDelay > 0 && !c.trusted() && !c.exempt() && c.talksEarly() {
		c.log.Event(eventlog.Disconnected, "client", c.client(), "reason", "greet-delay")
		c.end("554 5.5.1 you spoke before the greeting")
		return
	}
	c.reply("220 " + c.server.o.Hostname + " ESMTP Peyk")
}

// talksEarly waits for the delay and reports whether the client spoke.
func (c *conn) talksEarly() bool {
	c.SetReadDeadline(c.server.o.Now().Add(c.policy.GreetDelay))
	defer c.SetReadDeadline(time.Time{})
	err := c.in.fill(c.Conn)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.broken(err)
	}
	return err == nil
}

// hello obeys EHLO and HELO, which also end a transaction (RFC 5321 §4.1.4).
func (c *conn) hello(extended bool, name string) {
	if !isHello(name) {
		c.refuse("501 5.5.2 expected one name or address literal of this client")
		return
	}
	c.helo, c.extended = name, extended
	c.hand(ehlo, "EHLO "+name)
}

// isHello reports whether s can be the name of a client. Real clients send
// underscores, single labels and worse, and none of it proves anything, so
// only what could not stand in a trace field is refused (RFC 5321 §4.1.4).
func isHello(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := 0; i < len(s); i++ {
		ch := s[i]
		switch {
		case ch >= 'a' && ch <= 'z', ch >= 'A' && ch <= 'Z', ch >= '0' && ch <= '9':
		case ch == '-', ch == '.', ch == '_', ch == ':', ch == '[', ch == ']', ch == '+':
		default:
			return false
		}
	}
	return true
}

// welcome answers EHLO and HELO.
func (c *conn) welcome() {
	host := c.server.o.Hostname
	if !c.extended {
		c.reply("250 " + host)
		return
	}
	b := make([]byte, 0, 256)
	line := func(keyword string) {
		b = append(append(append(b, "250-"...), keyword...), "\r\n"...)
	}
	line(host + " greets " + c.helo)
	line("PIPELINING")
	line("SIZE " + strconv.FormatInt(c.policy.MessageSize, 10))
	if c.mayStartTLS() {
		line("STARTTLS")
	}
	if c.mayLogIn() { // RFC 4954 §3
		line("AUTH " + strings.Join(c.mechanisms(), " "))
	}
	line("8BITMIME")
	line("SMTPUTF8")
	line("DSN")
	line("CHUNKING")
	if c.secure() { // RFC 8689 §2
		line("REQUIRETLS")
	}
	line(c.limits())
	b = append(b, "250 ENHANCEDSTATUSCODES\r\n"...)
	c.say(b)
}

// limits is the keyword of RFC 9422.
func (c *conn) limits() string {
	if c.policy.Messages > 0 {
		return fmt.Sprintf("LIMITS RCPTMAX=%d MAILMAX=%d", c.policy.Recipients, c.policy.Messages)
	}
	return fmt.Sprintf("LIMITS RCPTMAX=%d", c.policy.Recipients)
}
