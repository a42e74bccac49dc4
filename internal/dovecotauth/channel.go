package dovecotauth

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

// The kinds of channel binding that a server of ours knows.
const (
	TLSExporter       = "tls-exporter"         // RFC 9266
	TLSServerEndPoint = "tls-server-end-point" // RFC 5929 §4
)

// Names of the parameters of AUTH that are ours: version 1.3 of the protocol
// announces mechanisms with channel binding, but no document says how the
// binding travels. A server that does not know them ignores them.
const (
	bindingField     = "peyk_cb_"          // and the kind: base64
	fingerprintField = "peyk_cert_sha256"  // hexadecimal
	subjectField     = "peyk_cert_subject" // RFC 2253
)

// maxSubject is the longest subject of a certificate that is passed on.
const maxSubject = 1024

// Certificate is what a client proved by TLS to hold.
type Certificate struct {
	SHA256   string // of the whole certificate, hexadecimal in lower case; "" when only Name is known
	Verified bool   // a trusted authority signed it; otherwise only SHA256 means anything
	Subject  string // as RFC 2253 writes it
	Name     string // the common name
}

// WithTLS returns the information with what a TLS connection adds: its channel
// bindings and the client's certificate. config is the one that the server
// made the connection with; its ClientCAs are who may vouch for clients.
func (i AuthInfo) WithTLS(state *tls.ConnectionState, config *tls.Config) AuthInfo {
	if state == nil {
		return i
	}
	i.Bindings = make(map[string][]byte)
	// RFC 9266 §2; it fails where TLS 1.2 lacks the extended master secret.
	if b, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
		i.Bindings[TLSExporter] = b
	}
	if b := endPoint(state, config); b != nil {
		i.Bindings[TLSServerEndPoint] = b
	}
	if len(state.PeerCertificates) > 0 {
		i.Certificate = certificate(state.PeerCertificates, config)
	}
	return i
}

// endPoint is the hash of the certificate that the server showed. TLS does not
// remember which one that was, so it is chosen again by the same rule; if it
// was renewed meanwhile, the client has to connect anew.
func endPoint(state *tls.ConnectionState, config *tls.Config) []byte {
	if config == nil {
		return nil
	}
	var shown *tls.Certificate
	switch {
	case config.GetCertificate != nil:
		shown, _ = config.GetCertificate(&tls.ClientHelloInfo{ServerName: state.ServerName})
	case len(config.Certificates) == 1:
		shown = &config.Certificates[0]
	}
	if shown == nil || len(shown.Certificate) == 0 {
		return nil
	}
	cert := shown.Leaf
	if cert == nil {
		var err error
		if cert, err = x509.ParseCertificate(shown.Certificate[0]); err != nil {
			return nil
		}
	}
	return endPointHash(cert)
}

// endPointHash hashes a certificate with the function of its signature, and
// with SHA-256 where that is MD5 or SHA-1 (RFC 5929 §4.1). A signature without
// such a function has no binding.
func endPointHash(cert *x509.Certificate) []byte {
	switch cert.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
		h := sha256.Sum256(cert.Raw)
		return h[:]
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h := sha512.Sum384(cert.Raw)
		return h[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h := sha512.Sum512(cert.Raw)
		return h[:]
	}
	return nil
}

// certificate describes a client's certificate, and verifies it if there is
// somebody to vouch for it.
func certificate(chain []*x509.Certificate, config *tls.Config) *Certificate {
	sum := sha256.Sum256(chain[0].Raw)
	c := &Certificate{SHA256: hex.EncodeToString(sum[:])}
	if config == nil || config.ClientCAs == nil {
		return c
	}
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	options := x509.VerifyOptions{Roots: config.ClientCAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if config.Time != nil {
		options.CurrentTime = config.Time()
	}
	if _, err := chain[0].Verify(options); err != nil {
		return c
	}
	c.Verified, c.Subject, c.Name = true, chain[0].Subject.String(), chain[0].Subject.CommonName
	return c
}

// appendChannel adds what is known of the connection to an AUTH request.
func (i AuthInfo) appendChannel(l *line) {
	for _, kind := range slices.Sorted(maps.Keys(i.Bindings)) {
		l.field(bindingField+kind, base64.StdEncoding.EncodeToString(i.Bindings[kind]))
	}
	c := i.Certificate
	if c == nil {
		return
	}
	l.field(fingerprintField, c.SHA256)
	if !c.Verified {
		return
	}
	l.word("valid-client-cert").field("cert_username", short(c.Name)).field(subjectField, short(c.Subject))
}

// short leaves out what would crowd a request.
func short(s string) string {
	if len(s) > maxSubject {
		return ""
	}
	return s
}

// channel reads what appendChannel wrote. A server of Dovecot's sends
// valid-client-cert and cert_username alone.
func channel(f map[string]string) (bindings map[string][]byte, c *Certificate) {
	for name, value := range f {
		kind, ours := strings.CutPrefix(name, bindingField)
		b, err := base64.StdEncoding.DecodeString(value)
		if !ours || err != nil || len(b) == 0 {
			continue
		}
		if bindings == nil {
			bindings = make(map[string][]byte)
		}
		bindings[kind] = b
	}
	_, verified := f["valid-client-cert"]
	if f[fingerprintField] == "" && !verified {
		return bindings, nil
	}
	c = &Certificate{SHA256: strings.ToLower(f[fingerprintField]), Verified: verified}
	if verified {
		c.Subject, c.Name = f[subjectField], f["cert_username"]
	}
	return bindings, c
}
