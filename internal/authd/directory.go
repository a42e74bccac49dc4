package authd

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"peyk/internal/dovecotauth"
	"peyk/internal/table"
)

// User answers who an account is; it is the userdb. Names are normalised as
// for a login.
func (s *Server) User(ctx context.Context, _, name string) (dovecotauth.User, bool, error) {
	set := s.settings.Load()
	addr, err := normalise(name, set.defaultDomain)
	if err != nil {
		return dovecotauth.User{}, false, nil
	}
	u, found, err := s.accounts.account(ctx, addr)
	if err != nil || !found {
		return dovecotauth.User{}, false, err
	}
	access, err := s.tables.Access(addr)
	if err != nil {
		return dovecotauth.User{}, false, err
	}
	d := set.describe(u)
	if line := s.mailRefusal(set, access); line != "" {
		d.Fields[dovecotauth.FieldMail] = line
	}
	return d, true, nil
}

// List returns the addresses of all accounts.
func (s *Server) List(ctx context.Context) ([]string, error) {
	domains, err := s.tables.List()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range domains {
		users, err := s.tables.Users(d)
		if err != nil {
			return names, err
		}
		for _, u := range users {
			names = append(names, u.Addr.String())
		}
		if f := s.backends.Load().foreign(d); f != nil {
			more, err := f.list(ctx, d)
			if err != nil {
				return names, err
			}
			names = append(names, slices.DeleteFunc(more, func(name string) bool { return slices.Contains(names, name) })...)
		}
	}
	return names, nil
}

// userdbPrefix marks the extra fields of a users file that are for whoever
// asks who exists.
const userdbPrefix = "userdb_"

// describe fills in what an account's entry leaves out.
func (set *settings) describe(u table.User) dovecotauth.User {
	d := dovecotauth.User{Name: u.Addr.String(), UID: u.UID, GID: u.GID, Home: u.Home, Fields: make(map[string]string)}
	for name, v := range u.Fields {
		if rest, ok := strings.CutPrefix(name, userdbPrefix); ok && rest != "" {
			d.Fields[rest] = v
		}
	}
	if d.Home == "" {
		d.Home = filepath.Join(set.mailRoot, u.Addr.Domain, u.Addr.Local)
	}
	d.Mail = expandHome(d.Fields["mail"], d.Home)
	if d.Mail == "" {
		d.Mail = "maildir:" + filepath.Join(d.Home, "Maildir")
	}
	d.Quota = d.Fields["quota_rule"]
	if d.Quota == "" && set.quota > 0 {
		d.Quota = "*:bytes=" + strconv.FormatInt(set.quota, 10)
	}
	return d
}

// expandHome puts the home directory in the place of ~ or %h, as Dovecot does.
func expandHome(mail, home string) string {
	kind, path, ok := strings.Cut(mail, ":")
	if !ok {
		kind, path = "", mail
	}
	if path == "~" || strings.HasPrefix(path, "~/") {
		path = home + path[1:]
	}
	path = strings.ReplaceAll(path, "%h", home)
	if ok {
		return kind + ":" + path
	}
	return path
}
