package authd

import (
	"context"
	"slices"
	"strings"

	"peyk/internal/address"
	"peyk/internal/dovecotauth"
	"peyk/internal/table"
)

// byCertificate is EXTERNAL (RFC 4422 appendix A): TLS has shown who the client
// is, and the certificates tables say which account that means.
func byCertificate(ctx context.Context, a *attempt, r *dovecotauth.Request) error {
	text := r.Initial
	if text == nil {
		var err error
		if text, err = r.Challenge(ctx, nil); err != nil {
			return err
		}
	}
	if len(text) > maxResponse {
		return malformed
	}
	if r.Certificate == nil {
		return noCertificate
	}
	a.strong = true
	if err := a.wait(ctx); err != nil {
		return err
	}
	if err := a.identify(*r.Certificate, string(text)); err != nil {
		return err
	}
	account, found, err := a.server.accounts.account(ctx, a.user)
	if err != nil {
		return err
	}
	return a.judge(account, found, true)
}

// identify finds the account of a certificate. A client may say which of
// several it means, and must if there are several.
func (a *attempt) identify(c dovecotauth.Certificate, authzid string) error {
	domains, err := a.server.tables.List()
	if err != nil {
		return err
	}
	if authzid != "" {
		if err := a.claim(authzid, ""); err != nil {
			return err
		}
		domains = []string{a.user.Domain}
	}
	users, err := a.server.holders(c, append([]string{""}, domains...))
	if err != nil {
		return err
	}
	switch {
	case authzid != "" && !slices.Contains(users, a.user):
		return noCertificate
	case authzid == "" && len(users) != 1:
		return noCertificate
	case authzid == "":
		a.user = users[0]
	}
	return nil
}

// holders returns whom the certificates tables of the domains name for a
// certificate, each once.
func (s *Server) holders(c dovecotauth.Certificate, domains []string) ([]address.Address, error) {
	var users []address.Address
	for _, domain := range domains {
		list, err := s.tables.Certificates(domain)
		if err != nil {
			return nil, err
		}
		for _, entry := range list {
			if fits(entry, c) && !slices.Contains(users, entry.User) {
				users = append(users, entry.User)
			}
		}
	}
	return users, nil
}

// fits compares a line of the table with a certificate. What a certificate
// says of itself counts only when a trusted authority has signed it.
func fits(entry table.Certificate, c dovecotauth.Certificate) bool {
	switch entry.Kind {
	case table.BySHA256:
		return c.SHA256 == entry.Value
	case table.BySubject:
		return c.Verified && c.Subject == entry.Value
	case table.ByName:
		return c.Verified && strings.EqualFold(c.Name, entry.Value)
	}
	return false
}
