package table

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"peyk/internal/address"
	"peyk/internal/control"
)

// entries is a parsed file whose lines each begin with a user of the domain.
type entries[T any] struct {
	of map[string][]T // by local part in look-up form
	problems
}

// find returns what the file says about a user. A line that cannot be read and
// may be about this user is an error: it may forbid something.
func (t *entries[T]) find(addr address.Address) ([]T, error) {
	key := address.KeyLocal(addr.Local)
	return t.of[key], t.doubt(key)
}

func parseEntries[T any](path, domain string, text []byte, parse func(address.Address, string) (T, error)) *entries[T] {
	t := &entries[T]{of: make(map[string][]T), problems: problems{file: path}}
	n := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		n++
		if isComment(line) {
			continue
		}
		user, rest, err := splitOwner(domain, line)
		if err != nil {
			t.add("", n, err)
			continue
		}
		v, err := parse(user, rest)
		if err != nil {
			t.add(user.Local, n, err)
			continue
		}
		t.of[user.Local] = append(t.of[user.Local], v)
	}
	return t
}

// splitOwner takes the user off a line.
func splitOwner(domain string, line []byte) (user address.Address, rest string, err error) {
	text, err := lineText(line)
	if err != nil {
		return user, "", err
	}
	name, rest, _ := strings.Cut(text, ":")
	user, err = userName(name, domain)
	return user, rest, err
}

// ownedBy returns the lines, 0-based, that are about a user and that pick
// wants: each a group of one.
func (t *text) ownedBy(addr address.Address, pick func(rest string) bool) [][]int {
	var groups [][]int
	for i, line := range t.lines {
		if isComment([]byte(line)) {
			continue
		}
		user, rest, err := splitOwner(t.domain, []byte(line))
		if err == nil && user.Local == address.KeyLocal(addr.Local) && pick(rest) {
			groups = append(groups, []int{i})
		}
	}
	return groups
}

func whichever(string) bool { return true }

// entriesOf reads a file of a domain's directory; nil when there is none.
func entriesOf[T any](d *Domains, c *cache[*entries[T]], domain, file string, parse func(address.Address, string) (T, error)) (*entries[T], error) {
	if !isDomain(domain) {
		return nil, nil
	}
	t, err := c.get(d.path(domain, file), func(path string, text []byte) *entries[T] {
		return parseEntries(path, domain, text, parse)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return t, nil
}

// lookup returns what a file of a domain's directory says about a user.
func lookup[T any](d *Domains, c *cache[*entries[T]], addr address.Address, file string, parse func(address.Address, string) (T, error)) ([]T, error) {
	t, err := entriesOf(d, c, addr.Domain, file, parse)
	if t == nil || err != nil {
		return nil, err
	}
	return t.find(addr)
}

// checkEntries returns what is wrong in a file of a domain's directory.
func checkEntries[T any](d *Domains, c *cache[*entries[T]], domain, file string, parse func(address.Address, string) (T, error)) []error {
	t, err := entriesOf(d, c, domain, file, parse)
	switch {
	case err != nil:
		return []error{err}
	case t == nil:
		return nil
	}
	return t.all()
}

// Forms of a time in the tables, which have no colon.
const (
	dayForm    = "2006-01-02"
	momentForm = "20060102T150405Z"
)

var errDate = errors.New("expected a date such as 2027-01-31, or a time such as 20270131T120000Z")

// ParseDate reads a day, which means its first moment in UTC, or a moment.
func ParseDate(s string) (time.Time, error) {
	for _, form := range []string{dayForm, momentForm} {
		if t, err := time.Parse(form, s); err == nil && t.Year() > 0 {
			return t, nil
		}
	}
	return time.Time{}, errDate
}

// FormatDate is the reverse of ParseDate.
func FormatDate(t time.Time) string {
	t = t.UTC()
	if t.Truncate(24 * time.Hour).Equal(t) {
		return t.Format(dayForm)
	}
	return t.Format(momentForm)
}

// encodeWord writes any text as one word of a line.
func encodeWord(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// decodeWord is the reverse of encodeWord.
func decodeWord(s string) (string, error) {
	out, err := url.PathUnescape(s)
	if err != nil {
		return "", errors.New("a percent sign must be followed by two hexadecimal digits")
	}
	return out, nil
}

// parseNetworks reads addresses and prefixes with commas between them.
func parseNetworks(s string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for item := range strings.SplitSeq(s, ",") {
		p, err := control.ParseNetwork(item)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func formatNetworks(all []netip.Prefix) string {
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = p.String()
	}
	return strings.Join(words, ",")
}

// protocolNames are the protocols that tables may name.
var protocolNames = [...]string{"imap", "pop3", "smtp", "sieve"}

// parseProtocols reads names of protocols with commas between them.
func parseProtocols(s string) ([]string, error) {
	var all []string
	for item := range strings.SplitSeq(s, ",") {
		if !isProtocol(item) {
			return nil, errors.New("expected protocols, such as imap,pop3,smtp,sieve")
		}
		all = append(all, item)
	}
	return all, nil
}

func isProtocol(s string) bool {
	for _, name := range protocolNames {
		if s == name {
			return true
		}
	}
	return false
}
