package smtpclient

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// play starts a server that follows a script, and connects to it. Steps:
//
//	C: line   this command must come
//	S: text   send text and CRLF
//	B: text   send text as it stands
//	1: text   send text and CRLF, each byte in a segment of its own
//	BODY      read up to the final dot, keeping all
//	TLS       do a handshake
//	CLOSE     close
//	DEAF      read and say nothing more until the client closes
//	HANG      do not even read until the client closes
type script struct {
	t     *testing.T
	steps []string
	body  strings.Builder // what BODY read, dots and all
	err   error
	done  chan struct{}
	cert  tls.Certificate
	hang  chan struct{}
}

func play(t *testing.T, steps ...string) (*script, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &script{t: t, steps: steps, done: make(chan struct{}), hang: make(chan struct{}), cert: selfSigned(t)}
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go s.run(peer)
	t.Cleanup(func() { conn.Close(); close(s.hang); <-s.done })
	return s, conn
}

func (s *script) run(conn net.Conn) {
	defer close(s.done)
	defer func() { conn.Close() }()
	r := bufio.NewReader(conn)
	for _, step := range s.steps {
		var err error
		switch kind, text, _ := strings.Cut(step, " "); kind {
		case "C:":
			err = expect(r, text)
		case "S:":
			_, err = io.WriteString(conn, text+"\r\n")
		case "B:":
			_, err = io.WriteString(conn, text)
		case "1:":
			for _, b := range []byte(text + "\r\n") {
				_, err = conn.Write([]byte{b})
			}
		case "BODY":
			err = s.readBody(r)
		case "TLS":
			c := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{s.cert}})
			conn, err = c, c.Handshake()
			r.Reset(conn)
		case "CLOSE":
			return
		case "DEAF":
			_, err = io.Copy(io.Discard, r)
		case "HANG":
			<-s.hang
		default:
			err = errors.New("no such step: " + step)
		}
		if err != nil {
			s.err = fmt.Errorf("%s: %w", step, err)
			return
		}
	}
	rest, _ := io.ReadAll(r)
	if len(rest) > 0 {
		s.err = fmt.Errorf("after the script: %q", rest)
	}
}

func expect(r *bufio.Reader, want string) error {
	line, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	if line != want+"\r\n" {
		return fmt.Errorf("got %q", line)
	}
	return nil
}

func (s *script) readBody(r *bufio.Reader) error {
	for {
		line, err := r.ReadString('\n')
		s.body.WriteString(line)
		if err != nil || line == ".\r\n" {
			return err
		}
	}
}

// end waits until the script is over and fails the test if it was not kept to.
func (s *script) end(c *Client) {
	s.t.Helper()
	c.Close()
	<-s.done
	if s.err != nil {
		s.t.Error(s.err)
	}
}

func newClient(t *testing.T, conn net.Conn) *Client {
	return New(t.Context(), conn, Options{Hello: "me.test", Now: time.Now})
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.test"}, DNSNames: []string{"mx.test"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func pool(s *script) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(s.cert.Leaf)
	return p
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
