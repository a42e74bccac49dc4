package mailbox

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What programs that died left is removed when it is old, in every folder, and
// nothing else is.
func TestSweep(t *testing.T) {
	h := newTestHost(t)
	root := filepath.Join(t.TempDir(), "Maildir")
	a := openAccount(t, h, root)
	if err := a.Create("Work", ""); err != nil {
		t.Fatal(err)
	}
	a.Close()
	then := time.Now().Add(-40 * time.Hour)
	litter := []string{"tmp/1700000000.M1P1.h", ".Work/tmp/1700000000.M2P1.h", ".subscriptions.77.0.tmp", ".Work/.peyk-metadata.77.0.tmp",
		".Work/peyk-cache.1700000000.M1P1.h", "peyk-facts.1700000000.M1P1.h", "dovecot-uidlist.lock.77.123", fmt.Sprintf("tmp/%d.M3P1.h/cur/x", then.Unix())}
	kept := []string{"cur/1700000000.M4P1.h:2,S", "subscriptions", ".Work/maildirfolder", "notes.txt", ".Work/peyk-metadata"}
	young := []string{"tmp/1700000000.M5P1.h", ".Work/.dovecot-acl.78.0.tmp", fmt.Sprintf("tmp/%d.M6P1.h/cur/y", time.Now().Unix())}
	for i, names := range [][]string{litter, kept, young} {
		for _, name := range names {
			path := filepath.Join(root, name)
			os.MkdirAll(filepath.Dir(path), 0o700)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if i < 2 {
				os.Chtimes(path, then, then)
			}
		}
	}
	again := openAccount(t, newTestHost(t), root)
	openFolder(t, again, "Work")
	for _, name := range litter {
		if _, err := os.Lstat(filepath.Join(root, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	for _, name := range append(kept, young...) {
		if _, err := os.Lstat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
	}
}
