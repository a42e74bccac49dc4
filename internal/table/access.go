package table

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"peyk/internal/address"
)

// AccessFile is the name of the access tables: one for the server, and one for
// each domain.
const AccessFile = "access"

// A Clause is one word of an access table that counts for an account.
type Clause struct {
	Text      string // the value as it stands in the table
	Where     string // file:line
	Reason    string // the word reason of the same line, decoded
	List      []string
	Networks  []netip.Prefix
	Hours     Hours
	Date      time.Time
	Unlimited bool // the value is any, never, or what else lifts a limit
}

// Access is what the access tables say about one account: clauses by word.
type Access map[string]Clause

// accessTable is a parsed access table.
type accessTable struct {
	lines map[string]Access // by pattern: an address, a domain or *
	problems
}

// serverAccess is the path of the server's own table.
func (d *Domains) serverAccess() string { return filepath.Join(filepath.Dir(d.dir), AccessFile) }

// Access returns the limits of an account. For each word the most particular
// line counts: one about the account before one about its domain, that before
// one about everybody, and of two alike the server's before the domain's.
func (d *Domains) Access(addr address.Address) (Access, error) {
	server, err := d.accessOf(d.serverAccess(), "")
	if err != nil {
		return nil, err
	}
	var own *accessTable
	if isDomain(addr.Domain) {
		if own, err = d.accessOf(d.path(addr.Domain, AccessFile), addr.Domain); err != nil {
			return nil, err
		}
	}
	all := make(Access)
	for _, pattern := range []string{addr.Key(), addr.Domain, everybody} {
		for _, t := range []*accessTable{server, own} {
			if err := t.addTo(all, pattern); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// everybody is the pattern that matches all accounts of a table.
const everybody = "*"

// addTo adds the clauses of a pattern whose words are not there yet.
func (t *accessTable) addTo(all Access, pattern string) error {
	if t == nil {
		return nil
	}
	for word, c := range t.lines[pattern] {
		if _, have := all[word]; !have {
			all[word] = c
		}
	}
	return t.doubt(pattern)
}

// accessOf returns an access table, nil when there is none. The domain is ""
// for the server's.
func (d *Domains) accessOf(path, domain string) (*accessTable, error) {
	t, err := d.access.get(path, func(path string, text []byte) *accessTable {
		return parseAccess(path, domain, text)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return t, nil
}

func (d *Domains) checkAccess(path, domain string) []error {
	t, err := d.accessOf(path, domain)
	switch {
	case err != nil:
		return []error{err}
	case t == nil:
		return nil
	}
	return t.all()
}

func parseAccess(path, domain string, text []byte) *accessTable {
	t := &accessTable{lines: make(map[string]Access), problems: problems{file: path}}
	n := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		n++
		if isComment(line) {
			continue
		}
		pattern, clauses, err := parseAccessLine(domain, line)
		if err != nil {
			t.add(pattern, n, err)
			continue
		}
		t.put(pattern, clauses, n)
	}
	return t
}

// put adds a line to those of its pattern. The first of two equal words counts.
func (t *accessTable) put(pattern string, clauses Access, n int) {
	have := t.lines[pattern]
	if have == nil {
		have = make(Access)
		t.lines[pattern] = have
	}
	for _, word := range slices.Sorted(maps.Keys(clauses)) {
		if _, twice := have[word]; twice {
			t.warn(n, fmt.Errorf("%s stands here a second time for %s; the first line counts", word, pattern))
			continue
		}
		c := clauses[word]
		c.Where = fmt.Sprintf("%s:%d", t.file, n)
		have[word] = c
	}
}

// parseAccessLine reads a pattern and words. After an error pattern is what
// the line is about, "" when that is unclear.
func parseAccessLine(domain string, line []byte) (pattern string, clauses Access, err error) {
	text, err := lineText(line)
	if err != nil {
		return "", nil, err
	}
	f := strings.Fields(text)
	if pattern, err = accessPattern(f[0], domain); err != nil {
		return "", nil, err
	}
	clauses = make(Access)
	for _, word := range f[1:] {
		name, value, _ := strings.Cut(word, "=")
		c, err := parseClause(name, value)
		if err != nil {
			return pattern, nil, err
		}
		if _, twice := clauses[name]; twice {
			return pattern, nil, fmt.Errorf("%s stands here twice", name)
		}
		clauses[name] = c
	}
	if len(clauses) == 0 {
		return pattern, nil, errors.New("expected words behind the name, such as protocols=imap,smtp")
	}
	return pattern, clauses, clauses.join()
}

// join gives each clause what other words of its line say.
func (a Access) join() error {
	zone, err := time.LoadLocation(a["zone"].Text)
	if err != nil {
		return fmt.Errorf("cannot use the time zone %q", a["zone"].Text)
	}
	for _, helper := range []struct{ word, needs string }{{"reason", "login"}, {"zone", "hours"}} {
		_, has := a[helper.word]
		if _, ok := a[helper.needs]; has && !ok {
			return fmt.Errorf("%s needs the word %s on the same line", helper.word, helper.needs)
		}
	}
	for name, c := range a {
		c.Reason = a["reason"].Reason
		c.Hours.zone = zone
		a[name] = c
	}
	delete(a, "reason")
	delete(a, "zone")
	return nil
}

// accessPattern reads whom a line is about: *, a user, and in the server's
// table an address or a domain. It returns the look-up form.
func accessPattern(s, domain string) (string, error) {
	if s == everybody {
		return s, nil
	}
	if domain != "" {
		a, err := userName(s, domain)
		return a.Key(), err
	}
	if isDomain(s) && strings.Contains(s, ".") {
		return s, nil
	}
	a, err := address.Parse(s, true)
	if err != nil || !isDomain(a.Domain) {
		return "", errors.New("expected an address, a domain or * before the words")
	}
	return a.Key(), nil
}

// parseClause reads the value of one word.
func parseClause(name, value string) (c Clause, err error) {
	c.Text = value
	switch name {
	case "login", "send", "receive":
		if c.Unlimited = value == "yes"; !c.Unlimited && value != "no" {
			err = errors.New("expected yes or no")
		}
	case "suspended":
		if c.Unlimited = value == "no"; !c.Unlimited && value != "defer" && value != "refuse" {
			err = errors.New("expected no, defer or refuse")
		}
	case "expires":
		if c.Unlimited = value == "never"; !c.Unlimited {
			c.Date, err = ParseDate(value)
		}
	case "protocols", "networks", "hours", "countries":
		if c.Unlimited = value == "any"; !c.Unlimited {
			err = c.parseList(name)
		}
	case "reason":
		c.Reason, err = decodeWord(value)
	case "zone":
		if value == "" {
			err = errors.New("expected a time zone such as Europe/Berlin")
		}
	default:
		return c, fmt.Errorf("unknown word %q: expected protocols, networks, hours, zone, countries, login, reason, send, receive, suspended or expires", name)
	}
	if err != nil {
		err = fmt.Errorf("cannot use %s: %w", name, err)
	}
	return c, err
}

func (c *Clause) parseList(name string) (err error) {
	switch name {
	case "protocols":
		c.List, err = parseProtocols(c.Text)
	case "networks":
		c.Networks, err = parseNetworks(c.Text)
	case "hours":
		c.Hours, err = parseHours(c.Text)
	case "countries":
		c.List, err = parseCountries(c.Text)
	}
	return err
}

// parseCountries reads codes of two capital letters (ISO 3166-1).
func parseCountries(s string) ([]string, error) {
	list := strings.Split(s, ",")
	for _, code := range list {
		if !IsCountry(code) {
			return nil, errors.New("expected countries by their two capital letters, such as DE,AT")
		}
	}
	return list, nil
}

// IsCountry reports whether s has the form of a country's code.
func IsCountry(s string) bool {
	return len(s) == 2 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// AccountAccess returns the words that a domain's table has on the lines of
// one account, in the order of the file.
func (e *Editor) AccountAccess(addr address.Address) (words []string, err error) {
	text, _, err := readTable(filepath.Join(e.dir, addr.Domain, AccessFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t := newText(addr.Domain, string(text))
	for _, at := range t.accessLines(addr) {
		words = append(words, strings.Fields(t.lines[at[0]])[1:]...)
	}
	return words, nil
}

// SetAccess changes words of an account in its domain's table: those given,
// name=value, replace those of the same name; name= removes one.
func (e *Editor) SetAccess(addr address.Address, words ...string) error {
	return e.edit(addr.Domain, AccessFile, usersPerm, func(t *text) error {
		at := t.accessLines(addr)
		var merged []string
		for _, group := range at {
			merged = append(merged, strings.Fields(t.lines[group[0]])[1:]...)
		}
		for _, word := range words {
			merged = mergeWord(merged, word)
		}
		if len(merged) == 0 {
			t.replace(at, "")
			return nil
		}
		line := strings.Join(append([]string{addr.Local}, merged...), " ")
		if _, _, err := parseAccessLine(addr.Domain, []byte(line)); err != nil {
			return fmt.Errorf("cannot set the limits of %s: %w", addr, err)
		}
		if isComment([]byte(line)) {
			return errors.New("cannot write the limits: the line would be a comment")
		}
		t.replace(at, line)
		return nil
	})
}

// dropAccess removes the lines of an account from its domain's table.
func (e *Editor) dropAccess(addr address.Address) error {
	return e.edit(addr.Domain, AccessFile, usersPerm, func(t *text) error {
		t.replace(t.accessLines(addr), "")
		return nil
	})
}

// mergeWord replaces the word of the same name, or adds one.
func mergeWord(words []string, word string) []string {
	name, value, _ := strings.Cut(word, "=")
	i := slices.IndexFunc(words, func(have string) bool {
		n, _, _ := strings.Cut(have, "=")
		return n == name
	})
	switch {
	case value == "" && i < 0:
		return words
	case value == "":
		return slices.Delete(words, i, i+1)
	case i < 0:
		return append(words, word)
	}
	words[i] = word
	return words
}

// accessLines returns the lines, 0-based, about one account.
func (t *text) accessLines(addr address.Address) [][]int {
	var groups [][]int
	for i, line := range t.lines {
		if isComment([]byte(line)) {
			continue
		}
		pattern, _, _ := parseAccessLine(t.domain, []byte(line))
		if pattern == addr.Key() {
			groups = append(groups, []int{i})
		}
	}
	return groups
}

// EncodeReason writes a text as the value of the word reason.
func EncodeReason(s string) string { return encodeWord(s) }
