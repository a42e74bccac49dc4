package control

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Settings of auth-remote, and of authd about it.
var (
	AuthBackends = &Setting{Name: "auth-backends", Kind: Lines, Check: checkBackend, Programs: []string{"authd", "auth-remote"},
		Help: "Who knows the passwords of a domain: lines of a domain (or * for all others), a kind and its arguments. users is the users file; dovecot SOCKET [USERDB-SOCKET] asks another authentication service; checkpassword PROGRAM [ARGUMENT ...], ldap NAME, postgresql NAME and sqlite NAME are asked by auth-remote, as the file backends/NAME says. Default: users."}
	AuthRemoteSocket = &Setting{Name: "auth-remote-socket", Kind: Path, Default: "/run/peyk/auth-remote.sock", Programs: []string{"authd", "auth-remote"},
		Help: "Socket on which authd asks auth-remote whether a login is good."}
	UserdbRemoteSocket = &Setting{Name: "userdb-remote-socket", Kind: Path, Default: "/run/peyk/userdb-remote.sock", Programs: []string{"authd", "auth-remote"},
		Help: "Socket on which authd asks auth-remote who exists."}
	OAuthIntrospection = &Setting{Name: "oauth-introspection", Kind: Text, Check: checkURI, Programs: []string{"authd", "auth-remote"},
		Help: "Address of the introspection endpoint of an identity provider, which is asked about the tokens of OAUTHBEARER and XOAUTH2."}
	OAuthClientID = &Setting{Name: "oauth-client-id", Kind: Text, Programs: []string{"auth-remote"},
		Help: "Our name at the identity provider, for introspection."}
	OAuthClientSecret = &Setting{Name: "oauth-client-secret", Kind: Path, Programs: []string{"auth-remote"},
		Help: "File that holds our password at the identity provider. Only auth-remote should be able to read it."}
	OAuthKeys = &Setting{Name: "oauth-keys", Kind: Text, Check: checkKeys, Programs: []string{"authd", "auth-remote"},
		Help: "Address, or path of a file, of the identity provider's JSON Web Key Set, with which the signature of a token is checked. Needs oauth-issuer and oauth-audience."}
	OAuthIssuer = &Setting{Name: "oauth-issuer", Kind: Text, Programs: []string{"auth-remote"},
		Help: "What a token must name as its issuer."}
	OAuthAudience = &Setting{Name: "oauth-audience", Kind: Text, Programs: []string{"auth-remote"},
		Help: "For whom a token must be, in its own words."}
	OAuthScope = &Setting{Name: "oauth-scope", Kind: Text, Programs: []string{"auth-remote"},
		Help: "Words that must be in the scope of a token, separated by blanks."}
	OAuthUserClaim = &Setting{Name: "oauth-user-claim", Kind: Text, Default: "email", Programs: []string{"auth-remote"},
		Help: "Claim of a token that holds the address of its user."}
	OAuthCA = &Setting{Name: "oauth-ca", Kind: Path, Programs: []string{"auth-remote"},
		Help: "File of the authorities, in PEM, that may vouch for the identity provider. Default: those of the system."}
)

var authRemoteSettings = []*Setting{AuthBackends, AuthRemoteSocket, UserdbRemoteSocket, OAuthIntrospection, OAuthClientID, OAuthClientSecret,
	OAuthKeys, OAuthIssuer, OAuthAudience, OAuthScope, OAuthUserClaim, OAuthCA}

// Backend is a line of auth-backends.
type Backend struct {
	Domain string // or *
	Kind   string
	Args   []string
}

// ParseBackend reads a line of auth-backends.
func ParseBackend(line string) (Backend, error) {
	f := strings.Fields(line)
	if len(f) < 2 {
		return Backend{}, errors.New("expected a domain, a kind and its arguments")
	}
	b := Backend{f[0], f[1], f[2:]}
	if b.Domain != "*" {
		if err := checkDomain(b.Domain); err != nil {
			return b, err
		}
	}
	least, most := 0, 0
	switch b.Kind {
	case "users":
	case "dovecot":
		least, most = 1, 2
	case "checkpassword":
		least, most = 1, 100
	case "ldap", "postgresql", "sqlite":
		least, most = 1, 1
	default:
		return b, fmt.Errorf("cannot use the kind %q: expected users, dovecot, checkpassword, ldap, postgresql or sqlite", b.Kind)
	}
	if len(b.Args) < least || len(b.Args) > most {
		return b, fmt.Errorf("%s has other arguments: see peyk-control(5)", b.Kind)
	}
	return b, b.checkArgs()
}

// checkArgs wants absolute paths, and the names of files below backends/.
func (b Backend) checkArgs() error {
	switch {
	case b.Kind == "dovecot":
		for _, socket := range b.Args {
			if err := checkDirectory(socket); err != nil {
				return err
			}
		}
	case b.Kind == "checkpassword":
		return checkDirectory(b.Args[0])
	case len(b.Args) > 0:
		return checkName(b.Args[0])
	}
	return nil
}

func checkBackend(line string) error {
	_, err := ParseBackend(line)
	return err
}

// Backends returns the lines of auth-backends, those for all domains last.
func (c *Config) Backends() []Backend {
	var all []Backend
	for _, line := range c.Lines(AuthBackends) {
		if b, err := ParseBackend(line); err == nil { // which the check has seen
			all = append(all, b)
		}
	}
	slices.SortStableFunc(all, func(a, b Backend) int { return strings.Compare(b.Domain, a.Domain) })
	return all
}

// checkKeys takes an absolute path or a URI.
func checkKeys(text string) error {
	if strings.HasPrefix(text, "/") {
		return nil
	}
	return checkURI(text)
}
