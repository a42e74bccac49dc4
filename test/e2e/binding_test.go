package e2e_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"peyk/test/sandbox"
)

// A client of SCRAM-SHA-256-PLUS, of another project, logs in on every
// service: the daemons hand the bindings of their TLS on, and of no other.
func TestLoginsAreBoundToTheirConnection(t *testing.T) {
	s := sandbox.Start(t)
	pem, err := os.ReadFile(s.Env["PEYK_CA"])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	for _, c := range []struct{ addr, hello, last, offer, login, ask, good string }{
		{s.Env["PEYK_IMAPS"], "a CAPABILITY\r\n", "a OK", "AUTH=SCRAM-SHA-256-PLUS", "b AUTHENTICATE SCRAM-SHA-256-PLUS %s\r\n", "+ ", "b OK"},
		{s.Env["PEYK_POP3S"], "CAPA\r\n", ".", "SCRAM-SHA-256-PLUS", "AUTH SCRAM-SHA-256-PLUS %s\r\n", "+ ", "+OK"},
		{s.Env["PEYK_SUBMISSIONS"], "EHLO client.example\r\n", "250 ", "SCRAM-SHA-256-PLUS", "AUTH SCRAM-SHA-256-PLUS %s\r\n", "334 ", "235"},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			for _, kind := range []string{"tls-exporter", "tls-server-end-point", "wrong"} {
				conn, err := tls.Dial("tcp", c.addr, &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: version, MaxVersion: version})
				if err != nil {
					t.Fatal(err)
				}
				got := bound(t, conn, c.hello, c.last, c.offer, c.login, c.ask, kind, s.Env["PEYK_USER1"], s.Env["PEYK_PASS1"])
				conn.Close()
				if strings.HasPrefix(got, c.good) != (kind != "wrong") {
					t.Errorf("%s, TLS %x, %s: %s", c.addr, version, kind, got)
				}
			}
		}
	}
}

// bound logs in and returns the last line of the server.
func bound(t *testing.T, conn *tls.Conn, hello, last, offer, login, ask, kind, user, password string) string {
	t.Helper()
	state := conn.ConnectionState()
	binding, err := scram.NewTLSExporterBinding(&state)
	switch kind {
	case "tls-server-end-point":
		binding, err = scram.NewTLSServerEndpointBinding(&state)
	case "wrong":
		binding.Data[0]++
	}
	if err != nil {
		t.Fatal(err)
	}
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	conversation := client.NewConversationWithChannelBinding(binding)
	first, err := conversation.Step("")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	line := func() string {
		text, err := in.ReadString('\n')
		if err != nil {
			return "gone: " + err.Error()
		}
		return strings.TrimRight(text, "\r\n")
	}
	line()
	fmt.Fprint(conn, hello)
	offered := false
	for text := ""; !strings.HasPrefix(text, last); {
		text = line()
		offered = offered || strings.Contains(text, offer)
		if strings.HasPrefix(text, "gone") {
			return text
		}
	}
	if !offered {
		return "not offered"
	}
	fmt.Fprintf(conn, login, base64.StdEncoding.EncodeToString([]byte(first)))
	for {
		text := line()
		challenge, asked := strings.CutPrefix(text, ask)
		if !asked {
			return text
		}
		b, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			return "no base64: " + text
		}
		next, err := conversation.Step(string(b))
		if err != nil {
			return "the client: " + err.Error()
		}
		fmt.Fprint(conn, base64.StdEncoding.EncodeToString([]byte(next))+"\r\n")
	}
}
