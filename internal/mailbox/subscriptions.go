package mailbox

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"peyk/internal/status"
)

// subscriptionsName is Dovecot's list of subscribed folders, one a line, in
// modified UTF-7. Version 2 begins with a header and has tabs between the
// levels; the old format is read, and kept where it is found.
const subscriptionsName = "subscriptions"

const subscriptionsV2 = "V\t2\n\n"

const maxSubscriptions = 4 << 20

// subscriptions is the file. Lines that we cannot read are kept.
type subscriptions struct {
	old   bool     // the format without header
	lines []string // as they stand
}

func parseSubscriptions(text string) subscriptions {
	rest, v2 := strings.CutPrefix(text, subscriptionsV2)
	s := subscriptions{old: !v2 && text != ""}
	for line := range strings.Lines(rest) {
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			s.lines = append(s.lines, line)
		}
	}
	return s
}

func (s *subscriptions) format() []byte {
	var b strings.Builder
	if !s.old {
		b.WriteString(subscriptionsV2)
	}
	for _, line := range s.lines {
		b.WriteString(line + "\n")
	}
	return []byte(b.String())
}

// name returns the folder of a line, "" for one that is no folder.
func (s *subscriptions) name(line string) string {
	if !s.old {
		levels := strings.Split(line, "\t")
		for i := range levels {
			levels[i] = tabUnescape(levels[i])
		}
		line = strings.Join(levels, Separator)
	}
	name, ok := DecodeUTF7(line)
	if !ok && utf8.ValidString(line) {
		name = line
	}
	if badName(name) != "" {
		return ""
	}
	return CanonicalName(name)
}

func (s *subscriptions) line(name string) string {
	enc := EncodeUTF7(name)
	if s.old {
		return enc
	}
	return strings.ReplaceAll(enc, Separator, "\t") // modified UTF-7 has nothing to escape
}

// tabUnescape undoes Dovecot's escaping: 001 0, 001 1, 001 t, 001 r, 001 n.
func tabUnescape(s string) string {
	return strings.NewReplacer("\x010", "\x00", "\x011", "\x01", "\x01t", "\t", "\x01r", "\r", "\x01n", "\n").Replace(s)
}

// names returns all folders, each once, in the order of the file.
func (s *subscriptions) names() []string {
	var names []string
	seen := make(map[string]bool)
	for _, line := range s.lines {
		if name := s.name(line); name != "" && !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// Subscribed lists the subscribed folders in the order of the file; they need
// not exist. Who never changed the list is subscribed to INBOX, for clients
// that ask for nothing else than subscribed folders, as Thunderbird does.
func (a *Account) Subscribed() ([]string, error) {
	s, err := a.readSubscriptions()
	return s.names(), err
}

func (a *Account) readSubscriptions() (s subscriptions, err error) {
	path := filepath.Join(a.root, subscriptionsName)
	text, err := readRegular(path, maxSubscriptions)
	if os.IsNotExist(err) {
		return subscriptions{lines: []string{Inbox}}, nil
	}
	if err != nil {
		return s, temporary("cannot read the subscriptions", path, err)
	}
	return parseSubscriptions(string(text)), nil
}

// Subscribe adds a folder to the list; it need not exist (RFC 3501 §6.3.6).
func (a *Account) Subscribe(name string) error {
	name = CanonicalName(name)
	if err := CheckName(name); err != nil {
		return err
	}
	return a.changeSubscriptions(func(s *subscriptions) bool {
		if slices.Contains(s.names(), name) {
			return false
		}
		s.lines = append(s.lines, s.line(name))
		return true
	})
}

// Unsubscribe takes a folder off the list. One that is not on it is no error.
func (a *Account) Unsubscribe(name string) error {
	name = CanonicalName(name)
	return a.changeSubscriptions(func(s *subscriptions) bool {
		before := len(s.lines)
		s.lines = slices.DeleteFunc(s.lines, func(line string) bool { return s.name(line) == name })
		return len(s.lines) != before
	})
}

func (a *Account) changeSubscriptions(change func(s *subscriptions) bool) error {
	path := filepath.Join(a.root, subscriptionsName)
	lock, err := a.host.locks.lock(context.Background(), path+".lock", path)
	if err != nil {
		return temporary("cannot lock the subscriptions", path, err)
	}
	defer lock.release()
	s, err := a.readSubscriptions()
	if err != nil || !change(&s) {
		return err
	}
	text := s.format()
	if len(text) > maxSubscriptions { // it could not be read again
		return status.New(552, "5.3.4", "cannot keep so many subscriptions").Because(path, ErrLimit)
	}
	err = a.host.o.Disk.ReplaceFile(path, text, 0o600)
	return temporary("cannot save the subscriptions", path, err)
}
