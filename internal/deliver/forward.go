package deliver

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of a .forward file.
const (
	maxForward = 64 << 10 // octets of the file, and of each that it includes
	maxEntries = 100
)

// A kind of entry in a .forward file.
type kind int

const (
	toAddress kind = iota // user@example.org, or a user of the same domain
	toLocal               // \user: to the mailbox, whatever its .forward says
	toFile                // /home/user/mbox
	toMaildir             // /home/user/Maildir.old/
	toProgram             // |/usr/bin/program argument …
	toInclude             // :include:/home/user/more
)

// An entry is one destination.
type entry struct {
	kind kind
	text string   // address or path
	args []string // of a program
}

// parseForward reads the text of a .forward file:
//
//	# a comment
//	\alice, bob@example.org
//	"/home/alice/mbox"
//	"|/usr/bin/procmail -t"
//	:include:/home/alice/.forward-more
//
// Entries are separated by commas or line ends. Anything that cannot be
// understood is an error: guessing would lose mail.
func parseForward(text string) ([]entry, error) {
	var entries []entry
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		items, err := splitItems(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		for _, item := range items {
			e, err := parseItem(item)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n+1, err)
			}
			entries = append(entries, e)
		}
		if len(entries) > maxEntries {
			return nil, fmt.Errorf("more than %d entries", maxEntries)
		}
	}
	return entries, nil
}

var (
	errQuote   = errors.New("a quoted string is not closed")
	errControl = errors.New("a control character")
	errShell   = errors.New("the command needs a shell, and none is used: put it into a script")
	errEmpty   = errors.New("an entry without a destination")
)

// splitItems splits a line at the commas outside of quotes.
func splitItems(line string) ([]string, error) {
	var items []string
	start, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c < ' ' && c != '\t' || c == 0x7f:
			return nil, errControl
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			items = append(items, line[start:i])
			start = i + 1
		}
	}
	if quoted {
		return nil, errQuote
	}
	items = append(items, line[start:])
	kept := items[:0]
	for _, item := range items {
		if item = strings.TrimSpace(item); item != "" {
			kept = append(kept, item)
		}
	}
	return kept, nil
}

// parseItem understands one entry.
func parseItem(item string) (entry, error) {
	if inner, ok := unquote(item); ok && inner != "" && strings.IndexByte(`|/:\`, inner[0]) >= 0 {
		item = inner // quotes around the whole; those of "john doe"@x stay
	}
	switch {
	case item[0] == '|':
		return parseProgram(item[1:])
	case item[0] == '/':
		if strings.HasSuffix(item, "/") {
			return entry{kind: toMaildir, text: item}, nil
		}
		return entry{kind: toFile, text: item}, nil
	case strings.HasPrefix(item, ":include:"):
		return entry{kind: toInclude, text: strings.TrimSpace(item[len(":include:"):])}, nil
	case item[0] == ':':
		return entry{}, fmt.Errorf("unknown instruction %.40q", item)
	case item[0] == '\\':
		if item == `\` {
			return entry{}, errEmpty
		}
		return entry{kind: toLocal, text: item[1:]}, nil
	case strings.ContainsAny(item, " \t") && !strings.Contains(item, `"`):
		return entry{}, fmt.Errorf("cannot read %.40q: separate addresses by commas", item)
	}
	return entry{kind: toAddress, text: item}, nil
}

// unquote removes the quotes around s, and the backslashes between them. It
// reports whether s is one quoted string.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' {
		return "", false
	}
	var out []byte
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return string(out), i == len(s)-1
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			out = append(out, s[i])
		default:
			out = append(out, c)
		}
	}
	return "", false
}

func parseProgram(command string) (entry, error) {
	command = strings.TrimSpace(command)
	if inner, ok := unquote(command); ok {
		command = strings.TrimSpace(inner)
	}
	args, err := splitWords(command)
	if err != nil {
		return entry{}, err
	}
	if len(args) == 0 {
		return entry{}, errEmpty
	}
	return entry{kind: toProgram, args: args}, nil
}

// splitWords splits a command line at blanks outside of quotes. What a shell
// would do more than that is refused.
func splitWords(s string) ([]string, error) {
	var words []string
	var word []byte
	inWord := false
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'':
			if i++; i == len(s) {
				return nil, errQuote
			}
			word, inWord = append(word, s[i]), true
		case quote != 0:
			word = append(word, c)
		case c == '"' || c == '\'':
			quote, inWord = c, true
		case c == ' ' || c == '\t':
			if inWord {
				words = append(words, string(word))
			}
			word, inWord = nil, false
		case strings.IndexByte("|&;<>()$`*?~", c) >= 0:
			return nil, errShell
		default:
			word, inWord = append(word, c), true
		}
	}
	if quote != 0 {
		return nil, errQuote
	}
	if inWord {
		words = append(words, string(word))
	}
	return words, nil
}
