package table

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"peyk/internal/address"
)

// CatchAll is the alias name that stands for everybody who has no account and
// no alias.
const CatchAll = "*"

// Alias is one entry of an aliases file.
type Alias struct {
	Name    string   // local part in look-up form, or *
	Targets []string // as they stand in the file
	Line    int      // 1-based line of the name
}

// entry is an Alias that was understood.
type entry struct {
	Alias
	targets []target
}

// A target is where an alias points: to an address or to an included file.
type target struct {
	addr    address.Address
	exact   bool   // \user: the mailbox itself, whatever aliases say
	include string // path of the file with more targets
}

// aliases is a parsed aliases file.
type aliases struct {
	list  []entry
	byKey map[string]int
	problems
}

// include is a parsed file of targets.
type include struct {
	targets []target
	problems
}

// Alias looks up the direct targets of an alias by the exact local part, which
// may be CatchAll. Included files are read.
func (d *Domains) Alias(addr address.Address) ([]address.Address, bool, error) {
	targets, found, err := d.alias(addr)
	if err == nil && !found {
		err = d.aliasDoubt(addr.Domain)
	}
	if err != nil {
		return nil, false, err
	}
	addrs := make([]address.Address, 0, len(targets))
	for _, t := range targets {
		addrs = append(addrs, t.addr)
	}
	return addrs, found, nil
}

// alias returns the targets of an alias, those of included files in place.
func (d *Domains) alias(addr address.Address) ([]target, bool, error) {
	t, err := d.aliasesOf(addr.Domain)
	if t == nil || err != nil {
		return nil, false, err
	}
	key := address.KeyLocal(addr.Local)
	i, ok := t.byKey[key]
	if !ok && t.named[key] != nil {
		return nil, false, broken(t.named[key])
	}
	if !ok {
		return nil, false, nil
	}
	targets, err := d.withIncludes(t.list[i].targets, addr.Domain)
	return targets, err == nil, err
}

// aliasDoubt returns an error when the aliases file has a line of which it is
// unclear whom it was about: nobody may be called unknown then.
func (d *Domains) aliasDoubt(domain string) error {
	t, err := d.aliasesOf(domain)
	if t == nil || err != nil {
		return err
	}
	return t.doubt("")
}

func (d *Domains) withIncludes(targets []target, domain string) ([]target, error) {
	var all []target
	for _, t := range targets {
		if t.include == "" {
			all = append(all, t)
			continue
		}
		inc, err := d.include(t.include, domain)
		if err != nil {
			return nil, err
		}
		all = append(all, inc.targets...)
	}
	return all, nil
}

// include reads a file of targets. A line of it that cannot be used spoils
// the alias, as the mail for that member must not vanish.
func (d *Domains) include(path, domain string) (*include, error) {
	if err := checkInclude(path); err != nil {
		return nil, unreadable(err)
	}
	inc, err := d.includes.get(path, func(path string, text []byte) *include {
		return parseInclude(path, domain, text)
	})
	if err != nil {
		return nil, unreadable(err)
	}
	if inc.nameless != nil {
		return nil, broken(inc.nameless)
	}
	return inc, nil
}

// checkInclude refuses a file that anybody may write: whoever can name
// members can take copies of their mail.
func checkInclude(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&unix.S_IWOTH != 0 {
		return fmt.Errorf("%s: cannot include a file that everybody may write", path)
	}
	return nil
}

// Aliases returns all aliases of a domain in the order of the file.
func (d *Domains) Aliases(domain string) ([]Alias, error) {
	t, err := d.aliasesOf(domain)
	if t == nil || err != nil {
		return nil, err
	}
	list := make([]Alias, 0, len(t.list))
	for _, e := range t.list {
		e.Targets = slices.Clone(e.Targets)
		list = append(list, e.Alias)
	}
	return list, nil
}

// aliasesOf returns the aliases file of a domain, nil when there is none.
func (d *Domains) aliasesOf(domain string) (*aliases, error) {
	if !isDomain(domain) {
		return nil, nil
	}
	t, err := d.aliases.get(d.path(domain, "aliases"), func(path string, text []byte) *aliases {
		return parseAliases(path, domain, text)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return t, nil
}

func (d *Domains) checkAliases(domain string) []error {
	t, err := d.aliasesOf(domain)
	if err != nil {
		return []error{err}
	}
	if t == nil {
		return nil
	}
	errs := slices.Clone(t.all())
	for _, e := range t.list {
		if _, err := d.withIncludes(e.targets, domain); err != nil {
			errs = append(errs, &LineError{File: t.file, Line: e.Line, Err: err})
		}
	}
	return errs
}

func parseAliases(path, domain string, text []byte) *aliases {
	t := &aliases{byKey: make(map[string]int), problems: problems{file: path}}
	for _, l := range logicalLines(text) {
		e, err := parseAlias(domain, l.text)
		e.Line = l.first
		if err != nil {
			t.add(e.Name, l.first, err)
			continue
		}
		if _, twice := t.byKey[e.Name]; twice {
			t.warn(l.first, fmt.Errorf("alias %s stands here a second time; the first one counts", e.Name))
			continue
		}
		t.byKey[e.Name] = len(t.list)
		t.list = append(t.list, e)
	}
	return t
}

// A logicalLine is a line with those that continue it, by beginning with a
// blank (aliases(5)). Comments and empty lines do not end it.
type logicalLine struct {
	text  string // joined by blanks
	first int    // 1-based line of the beginning
	last  int    // 1-based line of the last part that counts
	parts []int  // the lines that it is made of
}

func logicalLines(text []byte) []logicalLine {
	var lines []logicalLine
	n := 0
	for raw := range bytes.SplitSeq(text, []byte("\n")) {
		n++
		if isComment(raw) {
			continue
		}
		s := string(bytes.TrimSuffix(raw, []byte("\r")))
		if (s[0] == ' ' || s[0] == '\t') && len(lines) > 0 {
			l := &lines[len(lines)-1]
			l.text += " " + strings.TrimSpace(s)
			l.last = n
			l.parts = append(l.parts, n)
			continue
		}
		lines = append(lines, logicalLine{text: strings.TrimSpace(s), first: n, last: n, parts: []int{n}})
	}
	return lines
}

// parseAlias reads "name: target, target". After an error Name is the name
// that the line was about, "" when that is unclear.
func parseAlias(domain, text string) (entry, error) {
	if _, err := lineText([]byte(text)); err != nil {
		return entry{}, err
	}
	i := unquotedIndex(text, ':')
	if i < 0 {
		return entry{}, errors.New("expected a name, a colon and targets")
	}
	name, err := aliasName(strings.TrimSpace(text[:i]), domain)
	if err != nil {
		return entry{}, err
	}
	e := entry{Alias: Alias{Name: name, Targets: splitTargets(text[i+1:])}}
	e.targets, err = parseTargets(e.Targets, domain, true)
	return e, err
}

// aliasName reads the name of an alias: *, or a local part with or without
// the domain, quoted if need be.
func aliasName(s, domain string) (string, error) {
	if s == CatchAll || strings.EqualFold(s, CatchAll+"@"+domain) {
		return CatchAll, nil
	}
	a, err := parseTargetAddress(s, domain)
	if err != nil {
		return "", errors.New("cannot use the name before the colon: expected a local part")
	}
	if a.Domain != domain {
		return "", fmt.Errorf("the alias belongs to another domain than %s", domain)
	}
	return address.KeyLocal(a.Local), nil
}

// unquotedIndex returns the first position of c outside double quotes.
func unquotedIndex(s string, c byte) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == c && !quoted:
			return i
		}
	}
	return -1
}

// splitTargets cuts a list at its commas. Empty items are dropped.
func splitTargets(s string) []string {
	var items []string
	for s != "" {
		item := s
		if i := unquotedIndex(s, ','); i >= 0 {
			item, s = s[:i], s[i+1:]
		} else {
			s = ""
		}
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func parseTargets(items []string, domain string, includes bool) ([]target, error) {
	if len(items) == 0 && includes {
		return nil, errors.New("an alias without a target")
	}
	var targets []target
	for _, item := range items {
		t, err := parseTarget(item, domain)
		if err != nil {
			return nil, err
		}
		if t.include != "" && !includes {
			return nil, errors.New("an included file cannot include another one")
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// parseTarget reads one target. Programs and files, which aliases(5) of other
// systems knows, are refused: nothing in Peyk runs a program as somebody else
// because a table says so. A user's .forward may do that as the user.
func parseTarget(item, domain string) (target, error) {
	plain := unquote(item)
	switch {
	case strings.HasPrefix(plain, "|"):
		return target{}, errors.New("an alias cannot run a program: give the address a user and use that user's .forward")
	case strings.HasPrefix(plain, "/"):
		return target{}, errors.New("an alias cannot name a file: give the address a user of its own")
	case len(plain) >= 9 && strings.EqualFold(plain[:9], ":include:"):
		return includeTarget(strings.TrimSpace(plain[9:]))
	}
	name, exact := strings.CutPrefix(item, `\`)
	a, err := parseTargetAddress(name, domain)
	if err != nil {
		return target{}, fmt.Errorf("cannot use the target %q: %w", item, err)
	}
	return target{addr: a, exact: exact}, nil
}

func includeTarget(path string) (target, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.IndexByte(path, 0) >= 0 {
		return target{}, errors.New("an included file needs an absolute path without dots in it")
	}
	return target{include: path}, nil
}

// parseTargetAddress reads an address, or a local part of this domain.
func parseTargetAddress(s, domain string) (address.Address, error) {
	if a, err := address.Parse(s, true); err == nil {
		return a, nil
	}
	a, err := address.Parse(s+"@"+domain, true)
	if err != nil {
		return address.Address{}, errors.New("expected an address, a local part, or :include: and a path")
	}
	return a, nil
}

// unquote removes the quotes around a whole item.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && unquotedIndex(s, 0) < 0 && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// parseInclude reads a file of targets, separated by commas or lines.
func parseInclude(path, domain string, text []byte) *include {
	inc := &include{problems: problems{file: path}}
	n := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		n++
		if isComment(line) {
			continue
		}
		s, err := lineText(line)
		var targets []target
		if err == nil {
			targets, err = parseTargets(splitTargets(s), domain, false)
		}
		if err != nil {
			inc.add("", n, err)
			continue
		}
		inc.targets = append(inc.targets, targets...)
	}
	return inc
}
