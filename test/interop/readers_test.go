package interop_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"peyk/test/sandbox"
)

// many is how many messages the clients that synchronise get: what the
// environment says, or usual.
func many(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("PEYK_CLIENT_MESSAGES")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 100 {
		t.Fatalf("PEYK_CLIENT_MESSAGES=%s: want a number from 100", text)
	}
	return n
}

// stock puts n messages into a Maildir's cur/, every third one unread.
func stock(t *testing.T, maildir string, n int) {
	t.Helper()
	for i := range n {
		info := ":2,S"
		if i%3 == 0 {
			info = ":2,"
		}
		name := fmt.Sprintf("%d.M%dP1.stock%s", 1700000000+i, i, info)
		text := fmt.Sprintf("From: Sender %d <s%d@example.net>\nTo: you@example.test\nSubject: stocked %d\nDate: %s\nMessage-ID: <%d@example.net>\n\nThis is message %d.\n",
			i, i%50, i, time.Unix(1700000000+int64(i), 0).UTC().Format(time.RFC1123Z), i, i)
		write(t, filepath.Join(maildir, "cur", name), text, 0o600)
	}
}

// TestOfflineimapSyncs synchronises a mailbox both ways.
func TestOfflineimapSyncs(t *testing.T) {
	need(t, "offlineimap")
	s := sandbox.Start(t)
	n := many(t, 1000)
	theirs := s.Env["PEYK_MAILDIR2"]
	stock(t, theirs, n)
	home := filepath.Join(s.Dir, "home")
	write(t, filepath.Join(home, "offlineimaprc"), fmt.Sprintf(`[general]
accounts = peyk
metadata = %[1]s/offlineimap
[Account peyk]
localrepository = here
remoterepository = there
[Repository here]
type = Maildir
localfolders = %[1]s/offline
[Repository there]
type = IMAP
remotehost = localhost
remoteport = %[2]s
ssl = yes
sslcacertfile = %[3]s
remoteuser = %[4]s
remotepass = %[5]s
`, home, port(s.Env["PEYK_IMAPS"]), s.Env["PEYK_CA"], s.Env["PEYK_USER2"], s.Env["PEYK_PASS2"]), 0o600)
	sync := `offlineimap -o -1 -u quiet -c offlineimaprc`
	run(t, s, sync)
	ours := filepath.Join(home, "offline", "INBOX")
	if got := len(sandbox.Mail(ours)); got != n {
		t.Fatalf("%d messages came here, want %d", got, n)
	}
	before := listing(t, ours)
	run(t, s, sync)
	if listing(t, ours) != before {
		t.Error("the second run changed something")
	}
	// A flag and a removal here, new mail there.
	names := sandbox.Mail(ours)
	read := strings.TrimSuffix(names[0], ",S") // whatever it was, it is flagged and read now
	if err := os.Rename(names[0], strings.TrimSuffix(read, ",")+",FS"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(names[1]); err != nil {
		t.Fatal(err)
	}
	run(t, s, `swaks --server $PEYK_SMTP --from you@example.net --to $PEYK_USER2 --header 'Subject: came meanwhile' >/dev/null`)
	delivered(t, s, theirs, n+1)
	run(t, s, sync)
	run(t, s, sync)
	if got, want := len(sandbox.Mail(ours)), n; got != want {
		t.Errorf("%d messages here after one came and one went, want %d", got, want)
	}
	if there := sandbox.Mail(theirs); len(there) != n {
		t.Errorf("%d messages there, want %d", len(there), n)
	} else if flagged := strings.Count(strings.Join(there, "\n"), ":2,FS"); flagged != 1 {
		t.Errorf("%d flagged messages there, want 1", flagged)
	}
}

// A terminal is a program in a tmux of its own.
type terminal struct {
	t      *testing.T
	s      *sandbox.Sandbox
	socket string
}

// onTerminal starts a command where a person would, 100 columns by 30 lines.
func onTerminal(t *testing.T, s *sandbox.Sandbox, command string) *terminal {
	t.Helper()
	x := &terminal{t, s, filepath.Join(s.Dir, "tmux")}
	x.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "sh", "-c", command)
	t.Cleanup(func() { exec.Command("tmux", "-S", x.socket, "kill-server").Run() })
	return x
}

func (x *terminal) tmux(args ...string) string {
	x.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", x.socket}, args...)...)
	cmd.Dir = filepath.Join(x.s.Dir, "home")
	cmd.Env = append(os.Environ(), "HOME="+cmd.Dir, "TERM=xterm", "LC_ALL=C.UTF-8", "SSL_CERT_FILE="+x.s.Env["PEYK_CA"])
	out, err := cmd.CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// shows waits until the screen has a text.
func (x *terminal) shows(text string) {
	x.t.Helper()
	var screen string
	for range 600 {
		screen = x.tmux("capture-pane", "-p")
		if strings.Contains(screen, text) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	x.t.Fatalf("the screen does not show %q:\n%s", text, screen)
}

func (x *terminal) keys(keys ...string) {
	x.t.Helper()
	x.tmux(append([]string{"send-keys"}, keys...)...)
}

// TestAlpineReads reads, flags, files and expunges as a person does.
func TestAlpineReads(t *testing.T) {
	need(t, "alpine", "tmux")
	s := sandbox.Start(t)
	n := many(t, 1000)
	theirs := s.Env["PEYK_MAILDIR2"]
	stock(t, theirs, n)
	write(t, filepath.Join(s.Dir, "home", ".pinerc"), fmt.Sprintf(`inbox-path={localhost:%[1]s/ssl/user="%[2]s"}INBOX
folder-collections={localhost:%[1]s/ssl/user="%[2]s"}[]
feature-list=expunge-without-confirm,quit-without-confirm,enable-aggregate-command-set,no-compose-sets-newsgroup-without-confirm
last-version-used=9.99
`, port(s.Env["PEYK_IMAPS"]), s.Env["PEYK_USER2"]), 0o600)
	x := onTerminal(t, s, "alpine -i -p .pinerc")
	x.shows("Ret Accept") // the prompt itself may be under a progress bar
	x.keys("-l", s.Env["PEYK_PASS2"])
	x.keys("Enter")
	x.shows("Preserve password")
	x.keys("n")
	x.shows("stocked 0") // the first unread message
	x.keys("*")
	x.shows("or Important ?")
	x.keys("*")
	s.Eventually("the first message is flagged", func() bool { return strings.Contains(listing(t, theirs), ":2,F") })
	x.keys("J") // to message number
	x.shows("umber")
	x.keys("-l", strconv.Itoa(n))
	x.keys("Enter")
	x.shows(fmt.Sprintf("stocked %d", n-1))
	x.keys("Enter")
	x.shows(fmt.Sprintf("This is message %d.", n-1))
	x.keys("S") // file it
	x.shows("SAVE")
	x.keys("-l", "Kept")
	x.keys("Enter")
	x.shows("Create") // the folder is not there yet
	x.keys("y")
	kept := filepath.Join(theirs, ".Kept")
	s.Eventually("the message is in Kept", func() bool { return len(sandbox.Mail(kept)) == 1 })
	x.keys("q")
	s.Eventually("the message is gone from INBOX", func() bool { return len(sandbox.Mail(theirs)) == n-1 })
}
