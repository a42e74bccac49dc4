package pop3d

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/dialog"
	"peyk/internal/mailbox"
)

// maildirs makes the mailboxes of people as real Maildirs, with the
// UIDVALIDITY of the dialogues.
func maildirs(t testing.TB) (*fakeDrops, Maildirs) {
	root := t.TempDir()
	for user, p := range people {
		makeMaildir(t, filepath.Join(root, user), p.messages)
	}
	host, err := mailbox.NewHost(mailbox.Options{Disk: new(commit.Disk), Now: time.Now, Rand: rand.Reader, Hostname: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	return &fakeDrops{root: root}, Maildirs{host}
}

func makeMaildir(t testing.TB, dir string, messages []string) {
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	list := fmt.Sprintf("3 V%d N%d G00000000000000000000000000000000\n", 0x5f3b2c1a, len(messages)+1)
	for i, m := range messages {
		name := fmt.Sprintf("1700000%03d.M%dP1.test,S=%d,W=%d", i, i, len(m), wireSize(m))
		if err := os.WriteFile(filepath.Join(dir, "cur", name+":2,"), []byte(m), 0o600); err != nil {
			t.Fatal(err)
		}
		list += fmt.Sprintf("%d :%s\n", i+1, name)
	}
	if err := os.WriteFile(filepath.Join(dir, "dovecot-uidlist"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
}

func startMaildirs(t *testing.T, settings map[string]string) *world {
	root, drops := maildirs(t)
	return startOver(t, settings, Options{Accounts: fakeAccounts{root.root}, Drops: drops}, root)
}

// TestDialoguesOverMaildirs holds the real store against the same dialogues.
func TestDialoguesOverMaildirs(t *testing.T) {
	dialog.RunDir(t, "../../test/e2e/pop3d", func(t *testing.T, settings map[string]string) dialog.Dialer {
		return startMaildirs(t, settings).dial
	})
}

func TestQuitRemovesFiles(t *testing.T) {
	w := startMaildirs(t, map[string]string{"preauth": "mrose"})
	c, in := open(t, w)
	io.WriteString(c, "DELE 1\r\nQUIT\r\n")
	io.ReadAll(in)
	files, _ := filepath.Glob(filepath.Join(w.drops.root, "mrose", "*", "1*"))
	if len(files) != 1 || !strings.Contains(files[0], "1700000001") {
		t.Fatalf("left: %q", files)
	}
}

// TestNewMailWaits: a message that arrives is for the next session.
func TestNewMailWaits(t *testing.T) {
	w := startMaildirs(t, map[string]string{"preauth": "mrose"})
	dir := filepath.Join(w.drops.root, "mrose")
	c, in := open(t, w)
	want(t, in, "+OK mail.example.test Peyk POP3 ready\r\n")
	if err := os.WriteFile(filepath.Join(dir, "new", "1800000000.M1P1.test"), []byte("Subject: new\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "STAT\r\nRETR 3\r\nQUIT\r\n")
	want(t, in, "+OK 2 320\r\n-ERR no such message, there are 2\r\n+OK bye\r\n")
	eventuallyOpen(t, w)
}

// eventuallyOpen waits until the lock of the last session is gone.
func eventuallyOpen(t *testing.T, w *world) {
	for range 2000 {
		c, in := open(t, w)
		io.WriteString(c, "STAT\r\nQUIT\r\n")
		got, _ := io.ReadAll(in)
		c.Close()
		if strings.Contains(string(got), "+OK 3 336\r\n") {
			return
		}
		if !strings.Contains(string(got), "[IN-USE]") {
			t.Fatalf("got %q", got)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the maildrop stays locked")
}
