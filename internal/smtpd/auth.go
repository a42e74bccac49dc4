package smtpd

import (
	"bytes"
	"context"
	"encoding/base64"
	"slices"

	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/status"
)

// maxAuthLine is the longest line of a login, in octets (RFC 4954 §4.3).
const maxAuthLine = 12288

// mayLogIn reports whether AUTH is offered: never in the clear.
func (c *conn) mayLogIn() bool { return c.offersLogin() && c.secure() && c.login == "" }

// mechanisms are those that this client may use. LOGIN is PLAIN in two steps,
// which we put together, so one goes with the other.
func (c *conn) mechanisms() []string {
	names := c.server.o.Auth.Offer(context.Background(), c.authInfo())
	if i := slices.Index(names, "PLAIN"); i >= 0 && !slices.Contains(names, "LOGIN") {
		names = slices.Insert(slices.Clone(names), i+1, "LOGIN")
	}
	return names
}

// authInfo is what the authentication service may know of the client.
func (c *conn) authInfo() dovecotauth.AuthInfo {
	info := dovecotauth.AuthInfo{Secured: true, RemoteIP: c.addr, LocalIP: remoteIP(c.LocalAddr())}
	return info.WithTLS(c.TLSState(), c.tlsConfig())
}

// Refusals of a login, besides those of the service behind it.
var (
	errBase64     = status.New(501, "5.5.2", "cannot decode the response: not base64")
	errCancelled  = status.New(501, "5.7.0", "cannot log in: cancelled by the client")
	errPlain      = status.New(501, "5.5.2", "cannot log in: expected authorization, user and password with NULs between")
	errNoNUL      = status.New(501, "5.5.2", "cannot log in: a NUL in the user or password")
	errMayNotSend = status.New(535, "5.7.8", "cannot log in: this password is not for sending")
	errAuthorize  = status.New(535, "5.7.8", "cannot log in: nobody may act for another user")
)

// auth obeys AUTH (RFC 4954).
func (c *conn) auth(arg string) {
	mech, initial := splitVerb(arg)
	if fault := c.mayAuth(mech); fault != "" {
		c.refuse(fault)
		return
	}
	c.asked = c.server.o.Sessions.Now()
	if mech != "PLAIN" && mech != "LOGIN" {
		c.converse(mech, initial)
		return
	}
	response, err := c.readLogin(mech, initial)
	if err != nil {
		c.giveUp(err)
		return
	}
	login, err := c.server.o.Auth.Authenticate(context.Background(), "smtp", "PLAIN", response, c.authInfo())
	c.logIn(mech, userOf(response), login, err)
}

// giveUp answers a login that the client broke off or could not spell.
func (c *conn) giveUp(err error) {
	if !c.ended {
		c.refuse(statusLine(err))
	}
}

// converse holds the dialogue of any other mechanism.
func (c *conn) converse(mech, initial string) {
	var response []byte
	var broken error
	if initial != "" {
		if response, broken = unbase64(initial); broken != nil {
			c.giveUp(broken)
			return
		}
	}
	login, err := c.server.o.Auth.Exchange(context.Background(), "smtp", mech, response, c.authInfo(), func(challenge []byte) ([]byte, error) {
		var response []byte
		response, broken = c.ask(base64.StdEncoding.EncodeToString(challenge))
		return response, broken
	})
	if broken != nil {
		c.giveUp(broken)
		return
	}
	c.logIn(mech, login.User, login, err)
}

func (c *conn) mayAuth(mech string) string {
	switch {
	case !c.offersLogin():
		return "502 5.5.1 AUTH is not available here"
	case !c.secure():
		return "538 5.7.11 log in under TLS only"
	case c.helo == "" || !c.extended:
		return "503 5.5.1 send EHLO first"
	case c.login != "":
		return "503 5.5.1 logged in already"
	case c.tx != nil:
		return "503 5.5.1 a mail transaction is under way"
	case mech == "":
		return "501 5.5.4 expected the name of a mechanism"
	case !slices.Contains(c.mechanisms(), mech):
		return "504 5.5.4 unknown mechanism"
	}
	return ""
}

// readLogin returns the response of PLAIN (RFC 4616); LOGIN is put into the
// same form.
func (c *conn) readLogin(mech, initial string) ([]byte, error) {
	if mech == "PLAIN" {
		response, err := c.response(initial, "")
		if err == nil {
			err = checkPlain(response)
		}
		return response, err
	}
	user, err := c.response(initial, "VXNlcm5hbWU6")
	if err != nil {
		return nil, err
	}
	password, err := c.response("", "UGFzc3dvcmQ6")
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(user, 0) >= 0 || bytes.IndexByte(password, 0) >= 0 {
		return nil, errNoNUL
	}
	return bytes.Join([][]byte{nil, user, password}, []byte{0}), nil
}

// checkPlain refuses what cannot be a PLAIN response, and an authorization
// identity other than the user.
func checkPlain(response []byte) error {
	parts := bytes.Split(response, []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 {
		return errPlain
	}
	if len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return errAuthorize
	}
	return nil
}

// response decodes the initial response, or asks for one.
func (c *conn) response(initial, challenge string) ([]byte, error) {
	if initial == "" {
		return c.ask(challenge)
	}
	return unbase64(initial)
}

// ask sends a challenge and reads the response.
func (c *conn) ask(challenge string) ([]byte, error) {
	c.reply("334 " + challenge)
	line, err := c.readLine(maxAuthLine)
	if err != nil {
		c.broken(err)
		return nil, errConnectionGone
	}
	return unbase64(string(bytes.TrimSuffix(line, crlf[:1])))
}

// unbase64 decodes a response: = is an empty one (RFC 4954 §4).
func unbase64(text string) ([]byte, error) {
	switch text {
	case "=":
		return []byte{}, nil
	case "*":
		return nil, errCancelled
	}
	response, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errBase64
	}
	return response, nil
}

// logIn answers what the authentication service said.
func (c *conn) logIn(mech, user string, login dovecotauth.Login, err error) {
	if rights := login.Rights(); err == nil && rights != "" && rights != dovecotauth.SendOnly {
		err = errMayNotSend
	}
	if err != nil {
		c.log.Event(eventlog.LoginFailed, "client", c.client(), "user", user, "mechanism", mech, "error", err)
		c.reply(statusLine(err))
		if !status.Of(err).Temporary() {
			c.failures++
		}
		c.checkPatience()
		return
	}
	c.login = login.User
	c.unlist = c.server.o.Sessions.Enter(c.asked, login, c.addr, c.ender())
	c.log.Event(eventlog.Login, "client", c.client(), "user", login.User, "mechanism", mech, "tls", true)
	c.reply("235 2.7.0 welcome")
}

// userOf returns the user in a PLAIN response, which checkPlain has passed.
func userOf(response []byte) string { return string(bytes.Split(response, []byte{0})[1]) }

// over is the last line for a client whose login is not good any more.
const over = "421 4.7.0 this login is not good any more, please log in again"

// ender returns what ends this session from outside.
func (c *conn) ender() func(reason string) {
	log, user := c.log, c.login
	return func(reason string) {
		log.Event(eventlog.SessionEnded, "user", user, "reason", reason)
		c.Dismiss(over)
	}
}
