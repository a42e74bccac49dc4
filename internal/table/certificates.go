package table

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"peyk/internal/address"
)

// A CertificateKind is what of a client's certificate is compared.
type CertificateKind string

// The kinds of a certificates file.
const (
	BySHA256  CertificateKind = "sha256"  // the fingerprint of the whole certificate
	BySubject CertificateKind = "subject" // the subject as RFC 2253 writes it
	ByName    CertificateKind = "name"    // the common name
)

// Certificate is a line of a certificates file: who may log in with it.
type Certificate struct {
	User  address.Address
	Kind  CertificateKind
	Value string // a fingerprint in lower case without colons
}

// certificates is a parsed certificates file.
type certificates struct {
	list []Certificate
	problems
}

// Certificates returns the certificates file of a domain, or with "" the one
// of all domains, in the order of the file.
func (d *Domains) Certificates(domain string) ([]Certificate, error) {
	t, err := d.certificatesOf(domain)
	if t == nil || err != nil {
		return nil, err
	}
	return slices.Clone(t.list), nil
}

func (d *Domains) certificatesOf(domain string) (*certificates, error) {
	path := filepath.Join(filepath.Dir(d.dir), "certificates")
	if domain != "" {
		if !isDomain(domain) {
			return nil, nil
		}
		path = d.path(domain, "certificates")
	}
	t, err := d.certs.get(path, func(path string, text []byte) *certificates { return parseCertificates(path, domain, text) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return t, nil
}

func (d *Domains) checkCertificates(domain string) []error {
	t, err := d.certificatesOf(domain)
	if err != nil {
		return []error{err}
	}
	if t == nil {
		return nil
	}
	return t.all()
}

func parseCertificates(path, domain string, text []byte) *certificates {
	t := &certificates{problems: problems{file: path}}
	n := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		n++
		if isComment(line) {
			continue
		}
		c, err := parseCertificate(domain, line)
		if err != nil {
			t.add("", n, err)
			continue
		}
		t.list = append(t.list, c)
	}
	return t
}

// parseCertificate reads a line: a user, a blank, and kind=value up to the end
// of the line. In the file of all domains the user has a domain.
func parseCertificate(domain string, line []byte) (Certificate, error) {
	text, err := lineText(line)
	if err != nil {
		return Certificate{}, err
	}
	name, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(text, "\t", " ")), " ")
	if domain == "" {
		if _, domain, _ = cutLast(name, "@"); !isDomain(domain) {
			return Certificate{}, errors.New("expected USER@DOMAIN before the certificate")
		}
	}
	user, err := userName(name, domain)
	if err != nil {
		return Certificate{}, err
	}
	kind, value, _ := strings.Cut(strings.TrimSpace(rest), "=")
	c := Certificate{user, CertificateKind(kind), strings.TrimSpace(value)}
	return c, c.check()
}

// check puts a fingerprint into its one form, and refuses what no certificate
// can have.
func (c *Certificate) check() error {
	switch c.Kind {
	case BySHA256:
		c.Value = strings.ToLower(strings.ReplaceAll(c.Value, ":", ""))
		if b, err := hex.DecodeString(c.Value); err != nil || len(b) != 32 {
			return errors.New("expected sha256= and the 64 hexadecimal digits of a fingerprint")
		}
	case BySubject, ByName:
		if c.Value == "" {
			return fmt.Errorf("expected %s= and a value", c.Kind)
		}
	default:
		return errors.New("expected sha256=, subject= or name= after the user")
	}
	return nil
}

// String returns the line of the file of all domains.
func (c Certificate) String() string {
	return c.User.Local + "@" + c.User.Domain + " " + string(c.Kind) + "=" + c.Value
}
