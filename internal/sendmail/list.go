package sendmail

import (
	"errors"
	"fmt"
	"strings"

	"peyk/internal/address"
)

// maxRecipients is how many recipients one message may have here.
const maxRecipients = 10000

// errTooMany stops the reading of a list.
var errTooMany = fmt.Errorf("more than %d recipients", maxRecipients)

// mailboxes returns the addresses of an address list (RFC 5322 §3.4), such as
// the value of a To field, in wire form without brackets. Display names,
// comments, groups and routes fall away. It understands what people write, but
// an address that makes no sense is an error: mail must not go astray.
// Addresses without a domain get the given one.
func mailboxes(list, domain string) ([]address.Address, error) {
	s := &scanner{rest: list}
	var all []address.Address
	for {
		item, ok := s.next()
		if !ok {
			return all, nil
		}
		if item == "" {
			continue
		}
		a, err := qualified(item, domain)
		if err != nil {
			return nil, err
		}
		if len(all) == maxRecipients {
			return nil, errTooMany
		}
		all = append(all, a)
	}
}

// qualified reads one address, with or without a domain.
func qualified(s, domain string) (address.Address, error) {
	if strings.HasPrefix(s, "@") {
		a, err := address.ParsePath("<"+s+">", true) // a source route
		return a, because(s, err)
	}
	a, err := address.Parse(s, true)
	if err == nil {
		return a, nil
	}
	if b, err := address.Parse(s+"@"+domain, true); err == nil {
		return b, nil
	}
	return a, because(s, err)
}

func because(s string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot use address %.80q: %w", s, err)
}

// scanner takes an address list apart.
type scanner struct {
	rest string
	text strings.Builder // of the item so far, outside angle brackets
	path string          // what stood in angle brackets
	full bool            // there were some
}

// next returns the next address; ok is false at the end. Empty items are "".
func (s *scanner) next() (item string, ok bool) {
	if s.rest == "" {
		return "", false
	}
	s.text.Reset()
	s.path, s.full = "", false
	for s.rest != "" {
		c := s.rest[0]
		switch c {
		case ',', ';':
			s.rest = s.rest[1:]
			return s.item(), true
		case ':': // what came was the name of a group
			s.rest = s.rest[1:]
			s.text.Reset()
		case '(':
			s.rest = s.rest[comment(s.rest):]
			s.text.WriteByte(' ')
		case '"':
			s.take(quoted(s.rest))
		case '[':
			s.take(until(s.rest, ']'))
		case '<':
			s.angle()
		default:
			s.take(1)
		}
	}
	return s.item(), true
}

func (s *scanner) take(n int) {
	s.text.WriteString(s.rest[:n])
	s.rest = s.rest[n:]
}

// angle takes "<…>", in which quoted strings may hold anything.
func (s *scanner) angle() {
	i := 1
	for i < len(s.rest) && s.rest[i] != '>' {
		if s.rest[i] == '"' {
			i += quoted(s.rest[i:])
			continue
		}
		i++
	}
	s.path, s.full = squeeze(s.rest[1:i]), true
	s.rest = s.rest[min(i+1, len(s.rest)):]
}

func (s *scanner) item() string {
	if s.full {
		return s.path
	}
	return squeeze(s.text.String())
}

// squeeze removes blanks around the address and around its dots and at signs,
// where RFC 5322 §4.4 once allowed them.
func squeeze(s string) string {
	s = strings.TrimSpace(s)
	if !strings.ContainsAny(s, " \t\r\n") || strings.Contains(s, `"`) {
		return s
	}
	for _, c := range []string{"@", "."} {
		parts := strings.Split(s, c)
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		s = strings.Join(parts, c)
	}
	return s
}

// comment returns the length of the comment at the beginning of s; comments
// nest.
func comment(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// quoted returns the length of the quoted string at the beginning of s.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

func until(s string, end byte) int {
	if i := strings.IndexByte(s, end); i >= 0 {
		return i + 1
	}
	return len(s)
}

// errNobody is a message that is for nobody.
var errNobody = errors.New("no recipient")
