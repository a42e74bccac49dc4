package remote

import (
	"errors"
	"fmt"
	"strings"
)

// Credentials are the logins for smarthosts, by host.
type Credentials map[string]Login

// Login is one of them.
type Login struct{ User, Password string }

// ParseCredentials reads the lines of the control remote-credentials: host,
// user and password, separated by blanks. A password may hold blanks. Errors
// name the item, never what it holds.
func ParseCredentials(lines []string) (Credentials, error) {
	all := make(Credentials, len(lines))
	var errs []error
	for i, line := range lines {
		host, rest := word(line)
		user, password := word(rest)
		if host == "" || user == "" || password == "" || strings.ContainsAny(line, "\x00\r") {
			errs = append(errs, fmt.Errorf("cannot use item %d of remote-credentials: expected host, user and password", i+1))
			continue
		}
		all[strings.ToLower(strings.Trim(host, "[]"))] = Login{user, password}
	}
	return all, errors.Join(errs...)
}

// word cuts the first word off.
func word(s string) (first, rest string) {
	s = strings.TrimSpace(s)
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}

// of returns the login for a destination: only a host that a route names can
// have one, as anybody may publish MX records.
func (c Credentials) of(d destination) (Login, bool) {
	if d.host == "" {
		return Login{}, false
	}
	l, ok := c[d.host]
	return l, ok
}
