package table

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"peyk/internal/address"
	"peyk/internal/passhash"
)

// User is one account, a line of a users file.
type User struct {
	Addr     address.Address   // its canonical address
	Password string            // {SCHEME}hash as it stands in the file; "" = no login
	UID, GID int               // -1 = not given
	Home     string            // "" = not given
	Fields   map[string]string // the extra fields, such as userdb_mail; a flag has the value ""
}

// String returns the address alone, so that no log can show the hash.
func (u User) String() string { return u.Addr.String() }

// GoString is String, for the same reason.
func (u User) GoString() string { return "table.User{" + u.Addr.String() + "}" }

// SCRAMField returns the name of the extra field with the keys of a SCRAM
// mechanism, such as scram_sha256.
func SCRAMField(hash passhash.SCRAM) string {
	return "scram_" + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(hash.String(), "SCRAM-"), "-", ""))
}

// users is a parsed users file.
type users struct {
	list  []User
	byKey map[string]int // local part in look-up form → index into list
	problems
}

// User looks up an account by the exact local part, without regard to case.
func (d *Domains) User(addr address.Address) (User, bool, error) {
	t, err := d.usersOf(addr.Domain)
	if t == nil || err != nil {
		return User{}, false, err
	}
	key := address.KeyLocal(addr.Local)
	if i, ok := t.byKey[key]; ok {
		return t.list[i], true, nil
	}
	return User{}, false, t.doubt(key)
}

// Users returns all accounts of a domain in the order of the file.
func (d *Domains) Users(domain string) ([]User, error) {
	t, err := d.usersOf(domain)
	if t == nil || err != nil {
		return nil, err
	}
	return slices.Clone(t.list), nil
}

// usersOf returns the users file of a domain, nil when there is none.
func (d *Domains) usersOf(domain string) (*users, error) {
	if !isDomain(domain) {
		return nil, nil
	}
	t, err := d.users.get(d.path(domain, "users"), func(path string, text []byte) *users {
		return parseUsers(path, domain, text)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return t, nil
}

func (d *Domains) checkUsers(domain string) []error {
	t, err := d.usersOf(domain)
	if err != nil {
		return []error{err}
	}
	if t == nil {
		return nil
	}
	return t.all()
}

func parseUsers(path, domain string, text []byte) *users {
	t := &users{byKey: make(map[string]int), problems: problems{file: path}}
	n := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		n++
		if isComment(line) {
			continue
		}
		u, name, err := parseUser(domain, line)
		if err != nil {
			t.add(name, n, err)
			continue
		}
		key := address.KeyLocal(u.Addr.Local)
		if _, twice := t.byKey[key]; twice {
			t.warn(n, fmt.Errorf("user %s stands here a second time; the first line counts", u.Addr.Local))
			continue
		}
		t.byKey[key] = len(t.list)
		t.list = append(t.list, u)
		if err := u.checkSecrets(); err != nil {
			t.warn(n, err)
		}
	}
	return t
}

// checkSecrets returns an error when nobody could log in with what stands in
// the line. Mail does not depend on it. A hash without a scheme is left alone:
// * and ! stand there where nobody shall.
func (u User) checkSecrets() error {
	if strings.HasPrefix(u.Password, "{") {
		if err := passhash.Check(u.Password); err != nil {
			return fmt.Errorf("user %s: %w", u.Addr.Local, err)
		}
	}
	for _, s := range []passhash.SCRAM{passhash.SHA256(), passhash.SHA1()} {
		if keys := u.Fields[SCRAMField(s)]; keys != "" {
			if _, err := s.Parse(keys); err != nil {
				return fmt.Errorf("user %s: the field %s: %w", u.Addr.Local, SCRAMField(s), err)
			}
		}
	}
	return nil
}

// isComment reports whether a line says nothing.
func isComment(line []byte) bool {
	line = bytes.TrimSpace(line)
	return len(line) == 0 || line[0] == '#'
}

// parseUser reads a line of the passwd-file format:
//
//	user:password:uid:gid:gecos:home:shell:extra fields
//
// Everything after the user may be missing. After an error name is the local
// part in look-up form that the line was about, "" when even that is unclear.
func parseUser(domain string, line []byte) (u User, name string, err error) {
	text, err := lineText(line)
	if err != nil {
		return User{}, "", err
	}
	f := strings.SplitN(text, ":", 8)
	f = append(f, make([]string, 8-len(f))...)
	addr, err := userName(f[0], domain)
	if err != nil {
		return User{}, "", err
	}
	u = User{Addr: addr, Password: f[1], Home: f[5], Fields: parseFields(f[7])}
	name = address.KeyLocal(addr.Local)
	u.UID, err = parseID("uid", f[2])
	if err == nil {
		u.GID, err = parseID("gid", f[3])
	}
	if err == nil && u.Home != "" && !strings.HasPrefix(u.Home, "/") {
		err = errors.New("the home directory must be an absolute path")
	}
	return u, name, err
}

// lineText returns a line without its line end, if it is text at all.
func lineText(line []byte) (string, error) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) > maxLine {
		return "", fmt.Errorf("line longer than %d bytes", maxLine)
	}
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", errors.New("control character in the line")
		}
	}
	return string(line), nil
}

// userName reads the first field: a local part, with or without the domain.
func userName(s, domain string) (address.Address, error) {
	if strings.ContainsAny(s, " \t") { // a colon was forgotten: whose line it is nobody knows
		return address.Address{}, errors.New("cannot use the user name: it holds a blank; expected user:password:uid:gid::home::fields")
	}
	local, given, ok := cutLast(s, "@")
	if ok && !strings.EqualFold(given, domain) {
		return address.Address{}, fmt.Errorf("the user belongs to another domain than %s", domain)
	}
	a := address.Address{Local: address.KeyLocal(local), Domain: domain}
	back, err := address.Parse(a.String(), true)
	if err != nil || back != a || !isFileName(local) || local == "*" {
		return address.Address{}, errors.New("cannot use the user name: expected a local part without a slash")
	}
	return a, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// isFileName reports whether a name may become that of a directory.
func isFileName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\x00")
}

// parseID reads a numeric user or group id; "" is -1.
func parseID(what, s string) (int, error) {
	if s == "" {
		return -1, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return -1, fmt.Errorf("the %s must be a number", what)
	}
	return int(n), nil
}

// parseFields reads the extra fields: name=value or name, separated by blanks.
func parseFields(s string) map[string]string {
	fields := make(map[string]string)
	for word := range strings.FieldsSeq(s) {
		name, value, _ := strings.Cut(word, "=")
		fields[name] = value
	}
	return fields
}

// format returns the line of a user. gecos and shell are kept from the line
// that it replaces.
func (u User) format(gecos, shell string) (string, error) {
	var fields []string
	for _, name := range slices.Sorted(maps.Keys(u.Fields)) {
		word := name
		if v := u.Fields[name]; v != "" {
			word += "=" + v
		}
		if name == "" || strings.ContainsAny(word, " \t\r\n\v\f\u0085\u00a0") {
			return "", fmt.Errorf("cannot write the field %q: it holds a blank", name)
		}
		fields = append(fields, word)
	}
	if strings.Contains(u.Password, ":") || strings.Contains(u.Home, ":") {
		return "", errors.New("cannot write the user: a colon in the hash or the home directory")
	}
	line := strings.Join([]string{u.Addr.Local, u.Password, formatID(u.UID), formatID(u.GID), gecos, u.Home, shell, strings.Join(fields, " ")}, ":")
	if _, err := lineText([]byte(line)); err != nil {
		return "", err
	}
	if isComment([]byte(line)) {
		return "", errors.New("cannot write the user: the line would be a comment")
	}
	if _, _, err := parseUser(u.Addr.Domain, []byte(line)); err != nil {
		return "", fmt.Errorf("cannot write the user: %w", err)
	}
	return line, nil
}

func formatID(id int) string {
	if id < 0 {
		return ""
	}
	return strconv.Itoa(id)
}
