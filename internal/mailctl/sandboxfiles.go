package mailctl

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/table"
)

// writeCertificate makes a certificate for localhost and 127.0.0.1, once, and
// the authority's that clients verify it with, which is written last.
func (s *sandbox) writeCertificate() error {
	dir, authority := s.path("control", "certs", "default"), s.path("ca.pem")
	if _, err := os.Stat(authority); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, cert, key, err := s.tool.issue("localhost", "mx.example.test")
	if err != nil {
		return err
	}
	if err := s.tool.disk.ReplaceFile(filepath.Join(dir, "privkey.pem"), key, 0o600); err != nil {
		return err
	}
	if err := s.tool.disk.ReplaceFile(filepath.Join(dir, "fullchain.pem"), append(cert, ca...), 0o644); err != nil {
		return err
	}
	return s.tool.disk.ReplaceFile(authority, ca, 0o644)
}

// issue returns the certificate of an authority that nobody can use again, as
// its key is forgotten, and one for the names that it has issued, with its
// key, all in PEM. Thunderbird and others refuse a certificate that is its own
// authority.
func (t *tool) issue(names ...string) (ca, cert, key []byte, err error) {
	authority, err := t.template("Peyk sandbox")
	if err != nil {
		return nil, nil, nil, err
	}
	authority.KeyUsage, authority.IsCA, authority.MaxPathLenZero = x509.KeyUsageCertSign, true, true
	secret, err := ecdsa.GenerateKey(elliptic.P256(), t.rand)
	if err != nil {
		return nil, nil, nil, err
	}
	if ca, err = t.sign(authority, authority, &secret.PublicKey, secret); err != nil {
		return nil, nil, nil, err
	}
	leaf, err := t.template(names[0])
	if err != nil {
		return nil, nil, nil, err
	}
	leaf.DNSNames, leaf.IPAddresses = names, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	private, err := ecdsa.GenerateKey(elliptic.P256(), t.rand)
	if err != nil {
		return nil, nil, nil, err
	}
	if cert, err = t.sign(leaf, authority, &private.PublicKey, secret); err != nil {
		return nil, nil, nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	return ca, cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), err
}

// template is what all certificates share.
func (t *tool) template(name string) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	if _, err := io.ReadFull(t.rand, serial); err != nil {
		return nil, err
	}
	serial[0] &= 0x7f // serial numbers are positive
	now := t.now()
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0), BasicConstraintsValid: true,
	}, nil
}

func (t *tool) sign(template, parent *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(t.rand, template, parent, public, key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

// writeAccounts makes the domain, the two users and the postmaster, where they
// are not there yet.
func (s *sandbox) writeAccounts() error {
	dir := s.path("control")
	domains, editor := table.OpenDomains(dir), table.NewEditor(dir, s.tool.disk)
	if has, err := domains.Has("example.test"); err != nil {
		return err
	} else if !has {
		if err := editor.AddDomain("example.test"); err != nil {
			return err
		}
	}
	for _, u := range s.users {
		if err := s.writeAccount(domains, editor, u); err != nil {
			return err
		}
	}
	postmaster := address.Address{Local: "postmaster", Domain: "example.test"}
	if _, found, err := domains.Alias(postmaster); err != nil || found {
		return err
	}
	return editor.SetAlias(postmaster, []string{s.users[0].address})
}

// writeAccount makes an account and its Maildir, so that a script may look into
// it before the first message has come.
func (s *sandbox) writeAccount(domains *table.Domains, editor *table.Editor, u account) error {
	_, done, err := s.tool.openAccount(u.maildir, "")
	if err != nil {
		return err
	}
	done()
	addr, err := address.Parse(u.address, false)
	if err != nil {
		return err
	}
	if _, found, err := domains.User(addr); err != nil || found && !s.fresh {
		return err
	}
	user := table.User{Addr: addr, UID: -1, GID: -1}
	if err := user.SetPassword(s.tool.rand, u.password, true); err != nil {
		return err
	}
	return editor.SetUser(user)
}

// alphabet has no letters that are mistaken for one another.
const alphabet = "abcdefghjkmnpqrstuvwxyz23456789"

// password makes a password of 16 letters, 79 bits.
func (t *tool) password() string {
	b := make([]byte, 0, 16)
	one := make([]byte, 1)
	for len(b) < 16 {
		if _, err := io.ReadFull(t.rand, one); err != nil {
			panic("mailctl: no randomness: " + err.Error()) // crypto/rand never fails
		}
		if n := int(one[0]) % 32; n < len(alphabet) {
			b = append(b, alphabet[n])
		}
	}
	return string(b)
}

// env returns the lines of sandbox.env, in a fixed order.
func (s *sandbox) env() [][2]string {
	var lines [][2]string
	for _, service := range services {
		lines = append(lines, [2]string{service.env, s.listens(service.setting)})
	}
	lines = append(lines,
		[2]string{"PEYK_LMTP", s.config.Text(control.DeliverSocket)},
		[2]string{"PEYK_AUTH", s.config.Text(control.AuthSocket)},
		[2]string{"PEYK_CONTROL", s.path("control")},
		[2]string{"PEYK_SPOOL", s.config.Text(control.Spool)},
		[2]string{"PEYK_CA", s.path("ca.pem")},
	)
	for i, u := range s.users {
		lines = append(lines,
			[2]string{fmt.Sprintf("PEYK_USER%d", i+1), u.address},
			[2]string{fmt.Sprintf("PEYK_PASS%d", i+1), u.password},
			[2]string{fmt.Sprintf("PEYK_MAILDIR%d", i+1), u.maildir})
	}
	sendmail := quote(s.bin+"/sendmail") + " -C " + quote(s.path("control"))
	lines = append(lines, [2]string{"PEYK_SENDMAIL", sendmail})
	if s.dns {
		lines = append(lines, [2]string{"PEYK_DNS", loopback(s.basePort + 53)})
	}
	return lines
}

// writeEnv writes DIR/sandbox.env by rename: whoever sees it can use it.
func (s *sandbox) writeEnv() error {
	var b strings.Builder
	for _, line := range s.env() {
		fmt.Fprintf(&b, "%s=%s\n", line[0], quote(line[1]))
	}
	return s.tool.disk.ReplaceFile(s.path("sandbox.env"), []byte(b.String()), 0o600)
}

// quote quotes a word for sh(1), where that is needed.
func quote(word string) string {
	plain := word != ""
	for _, r := range word {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%_+:,./-", r) {
			plain = false
		}
	}
	if plain {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// readEnv reads a file that writeEnv wrote.
func readEnv(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	values := make(map[string]string)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok {
			values[name] = unquote(value)
		}
	}
	return values, lines.Err()
}

func unquote(word string) string {
	if len(word) < 2 || word[0] != '\'' {
		return word
	}
	return strings.ReplaceAll(word[1:len(word)-1], `'\''`, "'")
}

// tell prints what to try, ready to copy into any Bourne shell. A client that
// fails must say so, hence -sS.
func (s *sandbox) tell() {
	submission, imaps, pop3s := port(s.listens(control.ListenSubmission)), port(s.listens(control.ListenIMAPS)), port(s.listens(control.ListenPOP3S))
	fmt.Fprintf(s.tool.out, `
The sandbox runs. Everything lies in %[1]s; Ctrl-C stops it.
In another terminal, first:

	. %[2]s

Send:
	printf 'Subject: hello\n\nHello Alice!\n' | curl -sS --crlf "smtp://$PEYK_SMTP" --mail-from you@example.net --mail-rcpt "$PEYK_USER1" -T -
	swaks --server "$PEYK_SMTP" --from you@example.net --to "$PEYK_USER1"
	printf 'Subject: from bob\n\nHi!\n' | curl -sS --crlf --ssl-reqd --cacert "$PEYK_CA" smtp://localhost:%[3]s -u "$PEYK_USER2:$PEYK_PASS2" --mail-from "$PEYK_USER2" --mail-rcpt "$PEYK_USER1" -T -
	printf 'Subject: local\n\nHi!\n' | sh -c "$PEYK_SENDMAIL $PEYK_USER1"
Read:
	curl -sS --cacert "$PEYK_CA" imaps://localhost:%[4]s/INBOX -u "$PEYK_USER1:$PEYK_PASS1" -X 'FETCH 1:* (FLAGS ENVELOPE)'
	curl -sS --cacert "$PEYK_CA" 'imaps://localhost:%[4]s/INBOX;MAILINDEX=1' -u "$PEYK_USER1:$PEYK_PASS1"
	curl -sS --cacert "$PEYK_CA" pop3s://localhost:%[5]s/1 -u "$PEYK_USER1:$PEYK_PASS1"
	s-nail -f "$PEYK_MAILDIR1"
Look:
	%[6]s -control "$PEYK_CONTROL" mailbox status "$PEYK_USER1"
	%[6]s -control "$PEYK_CONTROL" queue list
	tail -f %[7]s

`, s.dir, quote(s.path("sandbox.env")), submission, imaps, pop3s, quote(s.bin+"/mailctl"), quote(s.path("log", "peyk.log")))
}

func port(hostport string) string {
	_, p, _ := net.SplitHostPort(hostport)
	return p
}
