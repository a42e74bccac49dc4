package table

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"peyk/internal/address"
)

// appPasswordsFile is the file of a domain that holds its app passwords.
const appPasswordsFile = "app-passwords"

// How many groups of four letters the random secrets have that are stored in
// the tables: 100 bits for an app password, 80 for a recovery code.
const (
	AppPasswordGroups = 5
	RecoveryGroups    = 4
)

// Rights say what a login may do.
type Rights string

// The rights of an app password.
const (
	Full       Rights = "full"
	ReadOnly   Rights = "read-only"   // look at mail, by IMAP and POP3
	AppendOnly Rights = "append-only" // IMAP's APPEND and nothing else
	SendOnly   Rights = "send-only"   // submission and nothing else
)

// ParseRights reads the name of a right.
func ParseRights(s string) (Rights, error) {
	switch r := Rights(s); r {
	case Full, ReadOnly, AppendOnly, SendOnly:
		return r, nil
	}
	return "", fmt.Errorf("cannot use %q as rights: expected full, read-only, append-only or send-only", s)
}

// AppPassword is one line of an app-passwords file:
//
//	user:id:hash:created:name=... rights=... protocols=... networks=... expires=...
type AppPassword struct {
	User      address.Address
	ID        string
	Hash      string // {SSHA256}...; the secret has 100 random bits, so one round is enough
	Created   time.Time
	Name      string
	Rights    Rights
	Protocols []string       // nil = all
	Networks  []netip.Prefix // nil = all
	Expires   time.Time      // zero = never
}

// String returns what tells this password from others, without the hash.
func (p AppPassword) String() string { return p.User.String() + " " + p.ID }

// GoString is String: no log can show the hash.
func (p AppPassword) GoString() string { return "table.AppPassword{" + p.String() + "}" }

// AppPasswords returns the app passwords of an account, expired ones too.
func (d *Domains) AppPasswords(addr address.Address) ([]AppPassword, error) {
	return lookup(d, &d.apps, addr, appPasswordsFile, parseAppPassword)
}

// MayHaveAppPasswords reports whether any account of a domain may have app
// passwords: a file that cannot be read may hold some.
func (d *Domains) MayHaveAppPasswords(domain string) bool {
	t, err := entriesOf(d, &d.apps, domain, appPasswordsFile, parseAppPassword)
	return err != nil || t != nil && (len(t.of) > 0 || len(t.all()) > 0)
}

// parseAppPassword reads a line behind its user.
func parseAppPassword(user address.Address, rest string) (AppPassword, error) {
	p := AppPassword{User: user, Rights: Full}
	f := strings.SplitN(rest, ":", 4)
	if len(f) < 3 || !isID(f[0]) || f[1] == "" {
		return p, errors.New("expected user:id:hash:created:fields")
	}
	f = append(f, "")
	p.ID, p.Hash = f[0], f[1]
	var err error
	if p.Created, err = ParseDate(f[2]); err != nil {
		return p, err
	}
	for word := range strings.FieldsSeq(f[3]) {
		if err := p.field(word); err != nil {
			return p, err
		}
	}
	return p, nil
}

// field reads one of the words at the end. One that is not known refuses the
// line: it may limit the password in a way that we would ignore.
func (p *AppPassword) field(word string) (err error) {
	name, value, _ := strings.Cut(word, "=")
	switch name {
	case "name":
		p.Name, err = decodeWord(value)
	case "rights":
		p.Rights, err = ParseRights(value)
	case "protocols":
		p.Protocols, err = parseProtocols(value)
	case "networks":
		p.Networks, err = parseNetworks(value)
	case "expires":
		p.Expires, err = ParseDate(value)
	default:
		err = fmt.Errorf("unknown field %q: expected name, rights, protocols, networks or expires", name)
	}
	return err
}

// isID reports whether s can name an app password: it stands in logs and on
// command lines.
func isID(s string) bool {
	return s != "" && len(s) <= 32 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

// format returns the line of an app password.
func (p AppPassword) format() (string, error) {
	words := []string{"name=" + encodeWord(p.Name), "rights=" + string(p.Rights)}
	if len(p.Protocols) > 0 {
		words = append(words, "protocols="+strings.Join(p.Protocols, ","))
	}
	if len(p.Networks) > 0 {
		words = append(words, "networks="+formatNetworks(p.Networks))
	}
	if !p.Expires.IsZero() {
		words = append(words, "expires="+FormatDate(p.Expires))
	}
	line := strings.Join([]string{p.User.Local, p.ID, p.Hash, p.Created.UTC().Format(momentForm), strings.Join(words, " ")}, ":")
	user, rest, err := splitOwner(p.User.Domain, []byte(line))
	if err == nil && isComment([]byte(line)) {
		err = errors.New("the line would be a comment")
	}
	if err == nil {
		_, err = parseAppPassword(user, rest)
	}
	if err != nil {
		return "", fmt.Errorf("cannot write the app password: %w", err)
	}
	return line, nil
}

// AddAppPassword adds an app password.
func (e *Editor) AddAppPassword(p AppPassword) error {
	line, err := p.format()
	if err != nil {
		return err
	}
	return e.edit(p.User.Domain, appPasswordsFile, usersPerm, func(t *text) error {
		if len(t.ownedBy(p.User, hasID(p.ID))) > 0 {
			return fmt.Errorf("cannot add the app password: %s has one with the id %s", p.User, p.ID)
		}
		t.replace(nil, line)
		return nil
	})
}

// RemoveAppPassword removes an app password; found is false when there was
// none of that id.
func (e *Editor) RemoveAppPassword(addr address.Address, id string) (found bool, err error) {
	return e.drop(addr, appPasswordsFile, hasID(id))
}

// drop removes the lines of a user that pick wants. A file that is not there
// has none.
func (e *Editor) drop(addr address.Address, file string, pick func(rest string) bool) (found bool, err error) {
	err = e.edit(addr.Domain, file, usersPerm, func(t *text) error {
		at := t.ownedBy(addr, pick)
		found = len(at) > 0
		t.replace(at, "")
		return nil
	})
	return found, err
}

func hasID(id string) func(string) bool {
	return func(rest string) bool {
		have, _, _ := strings.Cut(rest, ":")
		return have == id
	}
}
