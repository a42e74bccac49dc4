package mailbox

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Somebody who may write into a Maildir puts things in the place of our files
// that are none: nobody waits for a pipe, reads what a link points to, or
// reads without end. Mail stays readable.
func TestWhatStandsInPlaceOfOurFiles(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("V\t2\n\nTold\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	things := map[string]func(path string) error{
		"pipe":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"link":      func(path string) error { return os.Symlink(secret, path) },
		"zero":      func(path string) error { return os.Symlink("/dev/zero", path) },
		"hole": func(path string) error {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(path, 1<<31)
		},
	}
	names := []string{uidlistName, subscriptionsName, otherSubscriptionsName, specialUseName, uidvalidityName, aclName, metadataName, serverMetadataName, cacheName}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for what, put := range things {
		for _, name := range names {
			root := filepath.Join(t.TempDir(), "Maildir")
			a := openAccount(t, newTestHost(t), root)
			if err := put(filepath.Join(root, name)); errors.Is(err, unix.EFBIG) {
				continue // a file system without large files
			} else if err != nil {
				t.Fatal(err)
			}
			f := openFolder(t, a, Inbox)
			s, err := f.Refresh(t.Context())
			if err != nil && name != uidvalidityName && name != uidlistName || err == nil && s.Messages.Len() != 0 {
				t.Errorf("%s in place of %s: %v", what, name, err)
			}
			told := ""
			if names, err := a.Subscribed(); err == nil {
				told += strings.Join(names, " ")
			}
			if names, err := a.SubscribedOthers(); err == nil {
				told += strings.Join(names, " ")
			}
			if all, err := a.Folders(); err != nil || len(all) != 1 {
				t.Errorf("%s in place of %s: %v, %v", what, name, all, err)
			}
			if list, err := f.ACL(); err == nil {
				told += string(list.format())
			}
			if m, err := a.Metadata(Inbox); err == nil {
				all, _ := m.Entries("owner", MetaShared)
				told += string(formatMetadata(all))
			}
			all, _ := a.ServerMetadata().Entries("owner")
			told += string(formatMetadata(all))
			if strings.Contains(told, "Told") {
				t.Errorf("%s in place of %s: its text is told: %q", what, name, told)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 200 {
		t.Errorf("%d MB were allocated", got)
	}
}

// A list of subscriptions never becomes longer than what is read of it.
func TestSubscriptionsHaveALimit(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Maildir")
	a := openAccount(t, newTestHost(t), root)
	line := strings.Repeat("x", 199) + "\n"
	full := subscriptionsV2 + strings.Repeat(line, (maxSubscriptions-len(subscriptionsV2))/len(line))
	if err := os.WriteFile(filepath.Join(root, subscriptionsName), []byte(full), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.Subscribe(strings.Repeat("y", 239)); !errors.Is(err, ErrLimit) {
		t.Errorf("one more: %v", err)
	}
	if names, err := a.Subscribed(); err != nil || len(names) != 1 {
		t.Errorf("%d names, %v", len(names), err)
	}
	if err := a.Unsubscribe(strings.Repeat("x", 199)); err != nil {
		t.Error(err)
	}
	if err := a.Subscribe("y"); err != nil {
		t.Error(err)
	}
}
