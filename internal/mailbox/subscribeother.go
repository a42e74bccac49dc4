package mailbox

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"peyk/internal/status"
)

// otherSubscriptionsName is our file in the root of an account: the mailboxes
// of other users that it is subscribed to, as clients name them, in UTF-8,
// one a line. The file subscriptions has one hierarchy separator for all its
// names, and it is not theirs.
const otherSubscriptionsName = "peyk-subscriptions"

// maxOtherName is the longest line; maxOtherSubscriptions bounds the file.
const (
	maxOtherName          = 1000
	maxOtherSubscriptions = 1 << 20
)

// SubscribedOthers lists the mailboxes of other users that are subscribed.
func (a *Account) SubscribedOthers() ([]string, error) {
	path := filepath.Join(a.root, otherSubscriptionsName)
	text, _, err := readSmall(path, maxOtherSubscriptions)
	if err != nil {
		return nil, temporary("cannot read the subscriptions", path, err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && badOtherName(line) == "" {
			names = append(names, line)
		}
	}
	return names, nil
}

func badOtherName(name string) string {
	switch {
	case len(name) > maxOtherName:
		return "it is too long"
	case !utf8.ValidString(name):
		return "it is not UTF-8"
	case strings.ContainsFunc(name, unprintable):
		return "it holds a control character"
	}
	return ""
}

// SubscribeOther adds a mailbox of another user to the subscriptions.
func (a *Account) SubscribeOther(name string) error {
	if reason := badOtherName(name); reason != "" {
		return status.Newf(553, "5.1.3", "cannot use this folder name: %s", reason).Because("", ErrName)
	}
	return a.changeOthers(func(names []string) []string {
		if slices.Contains(names, name) {
			return names
		}
		return append(names, name)
	})
}

// UnsubscribeOther is the opposite of SubscribeOther.
func (a *Account) UnsubscribeOther(name string) error {
	return a.changeOthers(func(names []string) []string {
		return slices.DeleteFunc(names, func(n string) bool { return n == name })
	})
}

func (a *Account) changeOthers(change func([]string) []string) error {
	path := filepath.Join(a.root, otherSubscriptionsName)
	lock, err := a.host.locks.lock(context.Background(), path+".lock", path)
	if err != nil {
		return temporary("cannot lock the subscriptions", path, err)
	}
	defer lock.release()
	names, err := a.SubscribedOthers()
	if err != nil {
		return err
	}
	changed := change(slices.Clone(names))
	if slices.Equal(names, changed) {
		return nil
	}
	text := []byte(strings.Join(changed, "\n") + "\n")
	if len(text) > maxOtherSubscriptions {
		return status.New(552, "5.3.4", "cannot keep so many subscriptions").Because(path, ErrLimit)
	}
	return temporary("cannot save the subscriptions", path, a.host.o.Disk.ReplaceFile(path, text, 0o600))
}
