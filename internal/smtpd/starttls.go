package smtpd

import (
	"context"
	"crypto/tls"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
)

// mayStartTLS reports whether STARTTLS is offered.
func (c *conn) mayStartTLS() bool {
	return c.server.o.TLS != nil && !c.secure() && c.service != Submit
}

// startTLS obeys STARTTLS (RFC 3207). Whatever the client sent behind it in
// the clear is discarded: an attacker may have put it there.
func (c *conn) startTLS(arg string) {
	switch {
	case arg != "":
		c.refuse("501 5.5.4 STARTTLS takes no argument")
	case c.secure():
		c.refuse("503 5.5.1 TLS is on already")
	case !c.mayStartTLS():
		c.refuse("502 5.5.1 STARTTLS is not available here")
	case c.helo == "":
		c.refuse("503 5.5.1 send EHLO first")
	case c.tx != nil:
		c.refuse("503 5.5.1 finish the mail transaction first")
	default:
		c.upgrade()
	}
}

// tlsConfig is the configuration of TLS for the service.
func (c *conn) tlsConfig() *tls.Config { return c.server.tlsFor(c.service) }

// tlsFor asks those clients only for a certificate that may log in.
func (s *Server) tlsFor(service Service) *tls.Config {
	if service == MX {
		return s.public
	}
	return s.o.TLS
}

func (c *conn) upgrade() {
	c.reply("220 2.0.0 ready to start TLS")
	c.in.discard()
	ctx, cancel := context.WithTimeout(context.Background(), c.handshakeTime())
	defer cancel()
	if err := c.UpgradeTLS(ctx, c.tlsConfig()); err != nil {
		c.log.Event(eventlog.TLSFailed, "client", c.client(), "error", err)
		c.end("") // never back to plaintext
		return
	}
	c.helo, c.extended, c.login = "", false, "" // RFC 3207 §4.2
}

func (c *conn) handshakeTime() time.Duration {
	if d := c.policy.HandshakeTimeout; d > 0 {
		return d
	}
	return guardconn.DefaultHandshakeTimeout
}
