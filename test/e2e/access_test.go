package e2e_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/table"
	"peyk/internal/totp"
	"peyk/test/sandbox"
)

// talk is a session of a protocol made of lines.
type talk struct {
	t    *testing.T
	name string
	conn net.Conn
	in   *bufio.Reader
}

func talkTLS(t *testing.T, s *sandbox.Sandbox, service string) *talk {
	t.Helper()
	conn, err := tls.Dial("tcp", s.Env[service], trusted(t, s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &talk{t, service, conn, bufio.NewReader(conn)}
	c.until("* OK", "+OK", "220 ")
	return c
}

// until reads lines to one that begins as wanted, and returns it.
func (c *talk) until(prefixes ...string) string {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%s: %v while waiting for %q", c.name, err, prefixes)
		}
		for _, p := range prefixes {
			if strings.HasPrefix(line, p) {
				return strings.TrimSpace(line)
			}
		}
	}
}

func (c *talk) say(line string, prefixes ...string) string {
	c.t.Helper()
	fmt.Fprintf(c.conn, "%s\r\n", line)
	return c.until(prefixes...)
}

// login logs in by whatever the protocol is, and reports whether it may.
func (c *talk) login(user, password string) bool {
	c.t.Helper()
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	switch c.name {
	case "PEYK_IMAPS":
		return strings.HasPrefix(c.say("a AUTHENTICATE PLAIN "+plain, "a "), "a OK")
	case "PEYK_POP3S":
		return strings.HasPrefix(c.say("AUTH PLAIN "+plain, "+", "-"), "+")
	}
	c.say("EHLO client.test", "250 ")
	return strings.HasPrefix(c.say("AUTH PLAIN "+plain, "235", "4", "5"), "235")
}

// ended waits for the end of the session, which must come with a last line.
func (c *talk) ended() {
	c.t.Helper()
	c.until(map[string]string{"PEYK_IMAPS": "* BYE this login", "PEYK_POP3S": "-ERR [AUTH] this login", "PEYK_SUBMISSIONS": "421 4.7.0 this login"}[c.name])
	if line, err := c.in.ReadString('\n'); err == nil {
		c.t.Errorf("%s: the server goes on with %q", c.name, line)
	}
}

// alive holds that a session still works.
func (c *talk) alive() {
	c.t.Helper()
	switch c.name {
	case "PEYK_IMAPS":
		c.say("n NOOP", "n OK")
	default:
		c.say("NOOP", "+OK", "250")
	}
}

var readers = []string{"PEYK_IMAPS", "PEYK_POP3S", "PEYK_SUBMISSIONS"}

// everywhere opens a session of each protocol.
func everywhere(t *testing.T, s *sandbox.Sandbox, user, password string) (all []*talk) {
	t.Helper()
	for _, service := range readers {
		c := talkTLS(t, s, service)
		if !c.login(user, password) {
			t.Fatalf("%s: no login of %s\n%s", service, user, s.Log())
		}
		all = append(all, c)
	}
	return all
}

func must(t *testing.T, s *sandbox.Sandbox, stdin string, args ...string) string {
	t.Helper()
	out, err := s.Mailctl(stdin, args...)
	if err != nil {
		t.Fatalf("mailctl %v: %v", args, err)
	}
	return strings.TrimSpace(out)
}

// TestSessionsEndWithTheirLogin holds that a session of any protocol lasts no
// longer than what it was let in by, also when authd died in between, and that
// nothing secret gets into the logs.
func TestSessionsEndWithTheirLogin(t *testing.T) {
	s := sandbox.Start(t, "pop3-login-delay=0s", "password-change=yes")
	alice, bob, main := s.Env["PEYK_USER1"], s.Env["PEYK_USER2"], s.Env["PEYK_PASS1"]
	others := everywhere(t, s, bob, s.Env["PEYK_PASS2"])
	secrets := []string{main, s.Env["PEYK_PASS2"]}
	endAll := func(all []*talk) {
		t.Helper()
		for _, c := range all {
			c.ended()
		}
		for _, c := range others {
			c.alive()
		}
	}

	open := everywhere(t, s, alice, main)
	app := must(t, s, "", "user", "app-password", "add", "-name", "one", alice)
	secrets = append(secrets, app, strings.ReplaceAll(app, "-", ""))
	endAll(open) // the main password opens none of these any more
	for _, service := range readers {
		if talkTLS(t, s, service).login(alice, main) {
			t.Errorf("%s takes the main password beside an app password", service)
		}
	}

	open = everywhere(t, s, alice, app)
	open[0].say("i IDLE", "+")
	s.Kill("authd")
	list := must(t, s, "", "user", "app-password", "list", alice)
	if !strings.Contains(list, "\tused ") || !strings.Contains(list, " 127.0.0.1") {
		t.Errorf("the list is %q", list)
	}
	id, _, _ := strings.Cut(list, "\t")
	must(t, s, "", "user", "app-password", "revoke", alice, id)
	endAll(open)

	open = everywhere(t, s, alice, main)
	must(t, s, "", "user", "suspend", alice)
	endAll(open)
	if talkTLS(t, s, "PEYK_IMAPS").login(alice, main) {
		t.Error("a suspended account logs in")
	}
	smtp := others[2]
	smtp.say("MAIL FROM:<"+bob+">", "250")
	smtp.say("RCPT TO:<"+alice+">", "450 4.2.1")
	must(t, s, "", "user", "resume", alice)
	smtp.say("RCPT TO:<"+alice+">", "250")
	smtp.say("RSET", "250")

	open = everywhere(t, s, alice, main)
	changed := main + "-changed"
	must(t, s, main+"\n"+changed+"\n", "passwd", alice)
	secrets = append(secrets, changed)
	endAll(open)
	open = everywhere(t, s, alice, changed)
	must(t, s, "", "user", "remove", alice)
	endAll(open)

	log := s.Log() + s.Output()
	for _, secret := range secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	for _, want := range []string{"event=session-ended", "reason=second-factor", "reason=credentials-changed", "reason=suspended", "rule=", "event=password-changed"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

// TestOwnPasswordWithSecondFactor holds that mailctl passwd asks for the code,
// in a system whose authd is confined, and that limits by country work there.
func TestOwnPasswordWithSecondFactor(t *testing.T) {
	s := sandbox.Start(t, "password-change=yes", "country-command=/bin/echo AT")
	alice, main := s.Env["PEYK_USER1"], s.Env["PEYK_PASS1"]
	at := strings.LastIndexByte(alice, '@')
	access := filepath.Join(s.Env["PEYK_CONTROL"], "access")
	for country, want := range map[string]bool{"DE,AT": true, "DE": false} {
		if err := new(commit.Disk).ReplaceFile(access, []byte("* countries="+country+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := talkTLS(t, s, "PEYK_IMAPS").login(alice, main); got != want {
			t.Errorf("from AT, with countries=%s: %v\n%s", country, got, s.Log())
		}
	}
	if err := os.Remove(access); err != nil {
		t.Fatal(err)
	}
	addr := table.User{}.Addr
	addr.Local, addr.Domain = alice[:at], alice[at+1:]
	secret := []byte("12345678901234567890")
	err := table.NewEditor(s.Env["PEYK_CONTROL"], new(commit.Disk)).SetSecondFactor(table.SecondFactor{User: addr, Secret: secret, Created: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mailctl(main+"\nnew\n000000\n", "passwd", alice); err == nil {
		t.Error("a wrong code changes the password")
	}
	code := totp.Code(secret, totp.Step(time.Now()))
	must(t, s, main+"\nnew\n"+code+"\n", "passwd", alice)
	if _, err := s.Mailctl("new\nold\n"+code+"\n", "passwd", alice); err == nil {
		t.Error("a code changes the password twice")
	}
	if log := s.Log() + s.Output(); strings.Contains(log, code) || strings.Contains(log, totp.Base32(secret)) {
		t.Error("the log shows a code or the secret")
	}
}
