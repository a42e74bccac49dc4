package control

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"peyk/internal/address"
)

// checkHostname refuses what cannot stand for this host in a greeting, a trace
// field and a HELO (RFC 5321 §2.3.5). Underscores are forgiven.
func checkHostname(text string) error {
	labels := strings.Split(text, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return fmt.Errorf("cannot use %q: expected a host name such as mx.example.org", text)
		}
	}
	if _, err := strconv.Atoi(labels[len(labels)-1]); err == nil || len(text) > 253 {
		return fmt.Errorf("cannot use %q: expected a host name such as mx.example.org", text)
	}
	return nil
}

func isLabel(label string) bool {
	if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	return strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// checkURI takes an absolute URI in printable ASCII.
func checkURI(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("cannot use %q: expected a URI such as mailto:postmaster@example.org", text)
	}
	return nil
}

// checkOthers takes one level of a mailbox name and a slash.
func checkOthers(text string) error {
	name, ok := strings.CutSuffix(text, "/")
	if text == "none" || ok && name != "" && !strings.EqualFold(name, "INBOX") && !strings.ContainsAny(name, "./*%&\"\\ ") {
		return nil
	}
	return fmt.Errorf("cannot use %q: expected a word and a slash, such as user/, or none", text)
}

// checkDomain takes what can stand behind the @ of a local address.
func checkDomain(text string) error {
	if a, err := address.Parse("postmaster@"+text, true); err != nil || a.IsLiteral() {
		return fmt.Errorf("cannot use %q: expected a domain such as example.org", text)
	}
	return nil
}

// checkListen refuses what no listener can be opened on.
func checkListen(text string) error {
	if strings.HasPrefix(text, "/") {
		return nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || !isPort(port) || strings.ContainsFunc(host, unicode.IsSpace) {
		return fmt.Errorf("cannot use %q: expected host:port, [address]:port, :port or the path of a socket", text)
	}
	return nil
}

// isPort takes numbers and the names of services.
func isPort(text string) bool {
	if n, err := strconv.Atoi(text); err == nil {
		return n >= 0 && n <= 65535
	}
	return isLabel(text)
}

// checkResolver takes an address or a host name, with or without port.
func checkResolver(text string) error {
	if _, err := netip.ParseAddr(text); err == nil {
		return nil
	}
	host, port := text, "53"
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	}
	if _, err := netip.ParseAddr(host); isPort(port) && (err == nil || checkHostname(host) == nil) {
		return nil
	}
	return fmt.Errorf("cannot use %q: expected the address of a resolver, such as 127.0.0.1:53", text)
}

// checkSeparator takes one character that does not belong to ordinary user
// names and needs no quotes in an address.
func checkSeparator(text string) error {
	c, size := utf8.DecodeRuneInString(text)
	if size != len(text) || !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", c) {
		return fmt.Errorf("cannot use %q: expected one character such as + or -", text)
	}
	return nil
}

// checkCommand takes a program by its absolute path, and arguments.
func checkCommand(text string) error {
	if path, _, _ := strings.Cut(text, " "); path != filepath.Clean(path) {
		return fmt.Errorf("cannot use %q: expected the path of a program without dots, and its arguments", path)
	}
	return checkDirectory(text)
}

// checkDirectory takes absolute paths.
func checkDirectory(text string) error {
	if !filepath.IsAbs(text) {
		return fmt.Errorf("cannot use %q: expected an absolute path", text)
	}
	return nil
}

var errCertificateName = errors.New("expected the name of a directory below certs/, without slashes")

// checkName takes the name of one file or directory.
func checkName(text string) error {
	if text == "." || text == ".." || strings.Contains(text, "/") {
		return fmt.Errorf("cannot use %q: %w", text, errCertificateName)
	}
	return nil
}

// Mechanisms are the SASL mechanisms that authd knows.
func Mechanisms() []string {
	return []string{"PLAIN", "LOGIN", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "EXTERNAL", "OAUTHBEARER", "XOAUTH2"}
}

func checkMechanism(text string) error {
	if slices.Contains(Mechanisms(), strings.ToUpper(text)) {
		return nil
	}
	return fmt.Errorf("cannot use %q: expected one of %s", text, strings.Join(Mechanisms(), ", "))
}
