package dovecotauth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"maps"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// identity makes a certificate, signed by the issuer or by itself.
func identity(t testing.TB, name string, usage x509.ExtKeyUsage, algorithm x509.SignatureAlgorithm, issuer *tls.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"A, B\tC"}}, DNSNames: []string{name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), ExtKeyUsage: []x509.ExtKeyUsage{usage}, SignatureAlgorithm: algorithm,
		BasicConstraintsValid: true, IsCA: issuer == nil}
	parent, signer := template, any(key)
	if issuer != nil {
		parent, signer = issuer.Leaf, issuer.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// handshake connects the two and returns what each sees.
func handshake(t *testing.T, server, client *tls.Config) (s, c tls.ConnectionState) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ts, tc := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() { done <- ts.Handshake() }()
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	go tc.Read(make([]byte, 1)) // session tickets
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return ts.ConnectionState(), tc.ConnectionState()
}

func TestChannelOfAConnection(t *testing.T) {
	ca := identity(t, "ca", x509.ExtKeyUsageAny, 0, nil)
	alice := identity(t, "alice", x509.ExtKeyUsageClientAuth, 0, &ca)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		mx := identity(t, "mx.example", x509.ExtKeyUsageServerAuth, x509.ECDSAWithSHA384, nil)
		other := identity(t, "other.example", x509.ExtKeyUsageServerAuth, x509.ECDSAWithSHA256, nil)
		server := &tls.Config{ClientAuth: tls.RequestClientCert, MaxVersion: version, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if h.ServerName == "other.example" {
				return &other, nil
			}
			return &mx, nil
		}}
		client := &tls.Config{ServerName: "other.example", InsecureSkipVerify: true, Certificates: []tls.Certificate{alice}}
		s, c := handshake(t, server, client)
		info := AuthInfo{}.WithTLS(&s, server)
		exporter, err := c.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil || !bytes.Equal(info.Bindings[TLSExporter], exporter) {
			t.Errorf("TLS %x: tls-exporter differs from the client's, %v", version, err)
		}
		if sum := sha256.Sum256(c.PeerCertificates[0].Raw); !bytes.Equal(info.Bindings[TLSServerEndPoint], sum[:]) {
			t.Errorf("TLS %x: tls-server-end-point differs from the client's", version)
		}
		sum := sha256.Sum256(alice.Certificate[0])
		if info.Certificate == nil || info.Certificate.SHA256 != hex.EncodeToString(sum[:]) || info.Certificate.Verified || info.Certificate.Name != "" {
			t.Errorf("nobody vouches, and yet the certificate is %+v", info.Certificate)
		}
		server.ClientCAs = pool
		if info = (AuthInfo{}).WithTLS(&s, server); !info.Certificate.Verified || info.Certificate.Name != "alice" || !strings.HasPrefix(info.Certificate.Subject, "CN=alice,O=A\\, B") {
			t.Errorf("certificate = %+v", info.Certificate)
		}
		server.Time = func() time.Time { return time.Unix(1<<34, 0) }
		if info = (AuthInfo{}).WithTLS(&s, server); info.Certificate.Verified {
			t.Error("an expired certificate is good")
		}
		client = &tls.Config{ServerName: "mx.example", InsecureSkipVerify: true}
		s, c = handshake(t, server, client)
		info = AuthInfo{}.WithTLS(&s, server)
		if sum := sha512.Sum384(c.PeerCertificates[0].Raw); !bytes.Equal(info.Bindings[TLSServerEndPoint], sum[:]) || info.Certificate != nil {
			t.Error("SHA-384: tls-server-end-point differs from the client's")
		}
	}
	if info := (AuthInfo{}).WithTLS(nil, nil); info.Bindings != nil || info.Certificate != nil {
		t.Error("without TLS there is a channel")
	}
}

// recorder remembers the last request.
type recorder struct{ last *Request }

func (r *recorder) Mechanisms() []Mechanism {
	return []Mechanism{{"PLAIN", []string{FlagPlaintext}}, {"SCRAM-SHA-256-PLUS", []string{FlagMutual, FlagChannelBinding, FlagPrivate}},
		{"SCRAM-SHA-256", []string{FlagMutual}}, {"APOP", []string{FlagPrivate}}, {"EXTERNAL", nil}}
}

func (r *recorder) Authenticate(_ context.Context, request *Request) Verdict {
	r.last = request
	return Verdict{OK: true, User: "alice"}
}

func TestChannelTravels(t *testing.T) {
	r := &recorder{}
	socket, _ := serve(t, &Server{Auth: r, Directory: &fake{}})
	a := NewAuth(socket, Options{})
	defer a.Close()
	cert := &Certificate{SHA256: strings.Repeat("ab", 32), Verified: true, Subject: "CN=alice,O=x\ty", Name: "alice"}
	bindings := map[string][]byte{TLSExporter: {0, 1, 2}, TLSServerEndPoint: {9}}
	for _, info := range []AuthInfo{{}, {Bindings: bindings}, {Certificate: cert}, {Bindings: bindings, Certificate: &Certificate{SHA256: "cd"}}} {
		if _, err := a.Authenticate(t.Context(), "imap", "PLAIN", []byte("x"), info); err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(r.last.Bindings, info.Bindings, bytes.Equal) {
			t.Errorf("bindings %v became %v", info.Bindings, r.last.Bindings)
		}
		got, want := r.last.Certificate, info.Certificate
		if (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("certificate %+v became %+v", want, got)
		}
	}
	huge := &Certificate{SHA256: "ef", Verified: true, Subject: strings.Repeat("x", 5000), Name: "n"}
	if _, err := a.Authenticate(t.Context(), "imap", "PLAIN", []byte("x"), AuthInfo{Certificate: huge}); err != nil || r.last.Certificate.Subject != "" {
		t.Errorf("a huge subject: %v, %+v", err, r.last.Certificate)
	}
}

func TestOffer(t *testing.T) {
	socket, _ := serve(t, &Server{Auth: &recorder{}, Directory: &fake{}})
	a := NewAuth(socket, Options{})
	defer a.Close()
	bound := map[string][]byte{TLSExporter: {1}}
	for _, c := range []struct {
		info AuthInfo
		want string
	}{
		{AuthInfo{}, "SCRAM-SHA-256"}, {AuthInfo{Secured: true}, "PLAIN SCRAM-SHA-256"},
		{AuthInfo{Secured: true, Bindings: bound}, "PLAIN SCRAM-SHA-256-PLUS SCRAM-SHA-256"},
		{AuthInfo{Secured: true, Certificate: &Certificate{}}, "PLAIN SCRAM-SHA-256 EXTERNAL"},
	} {
		if got := strings.Join(a.Offer(t.Context(), c.info), " "); got != c.want {
			t.Errorf("Offer(%+v) = %s, want %s", c.info, got, c.want)
		}
	}
	gone := NewAuth(socket+".gone", Options{})
	defer gone.Close()
	if got := gone.Offer(t.Context(), AuthInfo{Secured: true}); !slices.Equal(got, []string{"PLAIN"}) {
		t.Errorf("without a server: %v", got)
	}
}
