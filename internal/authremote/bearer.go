package authremote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"peyk/internal/control"
	"peyk/internal/dovecotauth"
	"peyk/internal/oauth"
)

// openBearer returns who judges tokens; nil when the configuration names no
// identity provider.
func openBearer(c *control.Config) (*oauth.Verifier, error) {
	o := oauth.Options{Introspection: c.Text(control.OAuthIntrospection), JWKS: c.Text(control.OAuthKeys), ClientID: c.Text(control.OAuthClientID),
		Issuer: c.Text(control.OAuthIssuer), Audience: c.Text(control.OAuthAudience), Scope: c.Text(control.OAuthScope), UserClaim: c.Text(control.OAuthUserClaim)}
	if o.Introspection == "" && o.JWKS == "" {
		return nil, nil
	}
	var err error
	if o.ClientSecret, err = secret(c.Text(control.OAuthClientSecret)); err != nil {
		return nil, &control.FileError{File: c.Path(control.OAuthClientSecret.Name), Err: err}
	}
	if o.Client, err = client(c.Text(control.OAuthCA)); err != nil {
		return nil, &control.FileError{File: c.Path(control.OAuthCA.Name), Err: err}
	}
	v, err := oauth.New(o)
	if err != nil {
		return nil, &control.FileError{File: c.Path(control.OAuthKeys.Name), Err: err}
	}
	return v, nil
}

// secret reads the first line of a file.
func secret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o007 != 0 || info.Size() > maxFile {
		return "", fmt.Errorf("everybody may read %s (mode %04o), or it is no secret at all", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line), err
}

// client is the HTTP client, with the authorities of a file instead of those
// of the system.
func client(ca string) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificate of an authority in it, in PEM")
		}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 4, ForceAttemptHTTP2: true}}, nil
}

// token holds the dialogue of OAUTHBEARER or XOAUTH2. A client that names
// another user than the token is refused.
func (s *sources) token(ctx context.Context, r *dovecotauth.Request) (string, error) {
	text := r.Initial
	if text == nil {
		var err error
		if text, err = r.Challenge(ctx, nil); err != nil {
			return "", err
		}
	}
	parse := oauth.ParseBearer
	if r.Mech == "XOAUTH2" {
		parse = oauth.ParseXOAUTH2
	}
	m, ok := parse(string(text))
	if !ok {
		return "", errRefused
	}
	user, err := s.bearer.User(ctx, m.Token)
	if err == nil && m.User != "" && !strings.EqualFold(m.User, user) {
		err = oauth.ErrInvalid
	}
	if errors.Is(err, oauth.ErrInvalid) || errors.Is(err, oauth.ErrScope) { // RFC 7628 §3.2.2: told, answered, refused
		if _, err := r.Challenge(ctx, s.bearer.Challenge(r.Mech, err)); err != nil {
			return m.User, err
		}
	}
	if err != nil {
		return m.User, err
	}
	return user, nil
}
