package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"peyk/test/sandbox"
)

// patience bounds every exchange, so that a hang fails and does not block.
const patience = 2 * time.Minute

// line is a line protocol spoken by hand.
type line struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr string) (*line, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	return &line{conn, bufio.NewReaderSize(conn, 64<<10)}, nil
}

// reply reads an SMTP reply and returns its last line.
func (l *line) reply(want string) (string, error) {
	for {
		s, err := l.r.ReadString('\n')
		if err != nil {
			return s, err
		}
		if len(s) > 3 && s[3] == '-' {
			continue
		}
		if !strings.HasPrefix(s, want) {
			return s, fmt.Errorf("got %q, want %s", s, want)
		}
		return strings.TrimRight(s, "\r\n"), nil
	}
}

// do sends a command and reads its reply.
func (l *line) do(command, want string) (string, error) {
	if _, err := io.WriteString(l, command+"\r\n"); err != nil {
		return "", err
	}
	return l.reply(want)
}

// hello opens an SMTP session.
func hello(addr string) (*line, error) {
	l, err := dial(addr)
	if err != nil {
		return nil, err
	}
	if _, err = l.reply("220"); err == nil {
		_, err = l.do("EHLO client.example", "250")
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// send sends one message by DATA, or by BDAT in chunks, and returns the queue
// id of the reply.
func (l *line) send(from, to string, text []byte, chunk int) (string, error) {
	if _, err := l.do("MAIL FROM:<"+from+"> BODY=8BITMIME", "250"); err != nil {
		return "", err
	}
	if _, err := l.do("RCPT TO:<"+to+">", "250"); err != nil {
		return "", err
	}
	var last string
	var err error
	if chunk > 0 {
		last, err = l.bdat(text, chunk)
	} else {
		last, err = l.data(text)
	}
	if err != nil {
		return "", err
	}
	_, id, ok := strings.Cut(last, "queued as ")
	if !ok {
		return "", fmt.Errorf("no queue id in %q", last)
	}
	return strings.Fields(id)[0], nil
}

func (l *line) data(text []byte) (string, error) {
	if _, err := l.do("DATA", "354"); err != nil {
		return "", err
	}
	stuffed := bytes.ReplaceAll(text, []byte("\r\n."), []byte("\r\n.."))
	if bytes.HasPrefix(stuffed, []byte(".")) {
		stuffed = append([]byte("."), stuffed...)
	}
	if _, err := l.Write(stuffed); err != nil {
		return "", err
	}
	return l.do(".", "250")
}

func (l *line) bdat(text []byte, chunk int) (last string, err error) {
	for len(text) > 0 && err == nil {
		n, mark := min(chunk, len(text)), ""
		if n == len(text) {
			mark = " LAST"
		}
		fmt.Fprintf(l, "BDAT %d%s\r\n", n, mark)
		if _, err = l.Write(text[:n]); err == nil {
			last, err = l.reply("250")
		}
		text = text[n:]
	}
	return last, err
}

// trusted returns a TLS configuration that trusts the sandbox's certificate.
func trusted(t testing.TB, s *sandbox.Sandbox) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(s.Env["PEYK_CA"])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("PEYK_CA holds no certificate")
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// imapLogin opens an IMAP session of a user (1 or 2) over TLS.
func imapLogin(t testing.TB, s *sandbox.Sandbox, user int) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialTLS(s.Env["PEYK_IMAPS"], &imapclient.Options{TLSConfig: trusted(t, s)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	n := strconv.Itoa(user)
	if err := c.Login(s.Env["PEYK_USER"+n], s.Env["PEYK_PASS"+n]).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

// imapBodies fetches BODY[] of every message of INBOX, by UID.
func imapBodies(t testing.TB, c *imapclient.Client) map[imap.UID][]byte {
	t.Helper()
	if _, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	section := &imap.FetchItemBodySection{Peek: true}
	cmd := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}})
	defer cmd.Close()
	bodies := map[imap.UID][]byte{}
	for {
		msg := cmd.Next()
		if msg == nil {
			break
		}
		data, err := msg.Collect()
		if err != nil {
			t.Fatal(err)
		}
		bodies[data.UID] = data.FindBodySection(section)
	}
	if err := cmd.Close(); err != nil {
		t.Fatal(err)
	}
	return bodies
}

// popLogin opens a POP3 session of a user over TLS.
func popLogin(t testing.TB, s *sandbox.Sandbox, user int) *line {
	t.Helper()
	conn, err := tls.Dial("tcp", s.Env["PEYK_POP3S"], trusted(t, s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	l := &line{conn, bufio.NewReaderSize(conn, 64<<10)}
	n := strconv.Itoa(user)
	l.pop(t, "")
	l.pop(t, "USER "+s.Env["PEYK_USER"+n])
	l.pop(t, "PASS "+s.Env["PEYK_PASS"+n])
	return l
}

// pop sends a command, if any, and expects +OK.
func (l *line) pop(t testing.TB, command string) string {
	t.Helper()
	if command != "" {
		io.WriteString(l, command+"\r\n")
	}
	s, err := l.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(s, "+OK") {
		t.Fatalf("%s: %q, %v", command, s, err)
	}
	return strings.TrimRight(s, "\r\n")
}

// popBody retrieves a message and undoes the dot-stuffing.
func (l *line) popBody(t testing.TB, n int) []byte {
	t.Helper()
	l.pop(t, "RETR "+strconv.Itoa(n))
	var body []byte
	for {
		s, err := l.r.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		if string(s) == ".\r\n" {
			return body
		}
		body = append(body, bytes.TrimPrefix(s, []byte("."))...)
	}
}

// untraced removes the fields that Peyk adds at the top: Return-Path,
// Delivered-To and one Received, folded with tabs or spaces. What the sender
// wrote under these names stands behind them.
func untraced(t testing.TB, message []byte) []byte {
	t.Helper()
	rest := message
	for _, name := range []string{"Return-Path:", "Delivered-To:", "Received:"} {
		if !bytes.HasPrefix(rest, []byte(name)) {
			t.Fatalf("the message does not go on with %s: %.300q", name, rest)
		}
		lines := 1
		if name == "Received:" {
			lines = receivedLines(rest)
		}
		for range lines {
			rest = rest[bytes.Index(rest, []byte("\r\n"))+2:]
		}
	}
	return rest
}

// receivedLines counts the lines of our Received field: it ends with the
// date, which is the only part behind a semicolon. The message's own first
// line may begin with a blank, so folding alone does not tell.
func receivedLines(field []byte) int {
	n := 1
	for bytes.IndexByte(field[:bytes.Index(field, []byte("\r\n"))], ';') < 0 {
		field = field[bytes.Index(field, []byte("\r\n"))+2:]
		n++
	}
	if next := field[bytes.Index(field, []byte("\r\n"))+2:]; field[bytes.Index(field, []byte("\r\n"))-1] == ';' && len(next) > 0 {
		n++ // the date stands alone on the next line
	}
	return n
}
