package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"peyk/internal/control"
	"peyk/internal/eventlog"
)

// certificates are all that lie below certs/, as read at one moment.
type certificates struct {
	byName map[string]*tls.Certificate // by DNS name, lower case, "*." kept
	main   *tls.Certificate
}

// Certificate returns a server's TLS configuration: TLS 1.2 and later, the
// certificate whose names match what the client asks for (SNI), else the one
// that the control tls-certificate names. It follows a reload: after SIGHUP
// new connections get the new certificates, and a broken one changes nothing.
// With tickets false no session tickets are handed out, because some senders
// fail on resumed sessions of port 25.
func (e *Env) Certificate(tickets bool) (*tls.Config, error) {
	now, err := readCertificates(e.Config())
	if err != nil {
		return nil, err
	}
	var current atomic.Pointer[certificates]
	current.Store(now)
	e.OnReload(func(c *control.Config) {
		next, err := readCertificates(c)
		if err != nil {
			e.Log.Event(eventlog.BadConfig, "error", err)
			return
		}
		current.Store(next)
	})
	config := &tls.Config{
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: !tickets,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return current.Load().find(hello.ServerName), nil
		},
	}
	return config, askClients(config, e.Config())
}

// askClients makes clients show a certificate if they have one. It is not
// verified in the handshake, which would turn away who only has a wrong one:
// what it is good for is said when somebody logs in with it. The authorities
// are read once, at the start.
func askClients(config *tls.Config, c *control.Config) error {
	if c.Text(control.TLSClientCertificates) != "request" {
		return nil
	}
	config.ClientAuth = tls.RequestClientCert
	path := c.Text(control.TLSClientCA)
	if path == "" {
		return nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return &control.FileError{File: c.Path(control.TLSClientCA.Name), Err: err}
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return &control.FileError{File: path, Err: errors.New("no certificate of an authority in it, in PEM")}
	}
	return nil
}

func (c *certificates) find(name string) *tls.Certificate {
	name = strings.ToLower(name)
	if cert := c.byName[name]; cert != nil {
		return cert
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		if cert := c.byName["*."+parent]; cert != nil {
			return cert
		}
	}
	return c.main
}

func readCertificates(c *control.Config) (*certificates, error) {
	main := c.Text(control.TLSCertificate)
	all := &certificates{byName: make(map[string]*tls.Certificate)}
	entries, err := os.ReadDir(c.Path("certs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if info, err := os.Stat(c.Path("certs", entry.Name())); err == nil && !info.IsDir() {
			continue // a note, or a key that lies about
		}
		cert, err := readCertificate(c.Path("certs", entry.Name()))
		if errors.Is(err, fs.ErrNotExist) && entry.Name() != main {
			continue // a directory without a certificate is none of our business
		}
		if err != nil {
			return nil, err
		}
		all.add(cert, entry.Name() == main)
	}
	if all.main == nil {
		return nil, &control.FileError{File: c.Path("certs", main, "fullchain.pem"),
			Err: errors.New("no certificate; put fullchain.pem and privkey.pem there, or name another one in the control tls-certificate")}
	}
	return all, nil
}

func (c *certificates) add(cert *tls.Certificate, main bool) {
	for _, name := range cert.Leaf.DNSNames {
		c.byName[strings.ToLower(name)] = cert
	}
	if main {
		c.main = cert
	}
}

func readCertificate(dir string) (*tls.Certificate, error) {
	chain, key := filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "privkey.pem")
	info, err := os.Stat(key)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, &control.FileError{File: key, Err: fmt.Errorf("everybody may use this private key (mode %04o); chmod o= it", info.Mode().Perm())}
	}
	cert, err := tls.LoadX509KeyPair(chain, key)
	if err != nil {
		return nil, &control.FileError{File: chain, Err: err}
	}
	if cert.Leaf == nil {
		cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0])
	}
	return &cert, err
}

// certificateDirs returns the other directories that certs/ points into, so
// that a sandboxed daemon can still read them after a renewal.
func certificateDirs(c *control.Config) []string {
	files, _ := filepath.Glob(c.Path("certs", "*", "*.pem"))
	var dirs []string
	for _, file := range files {
		real, err := filepath.EvalSymlinks(file)
		if dir := filepath.Dir(real); err == nil && !slices.Contains(dirs, dir) && !strings.HasPrefix(dir, c.Dir()+"/") {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
