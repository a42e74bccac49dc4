package mailbox

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// vmail is the user that Dovecot works as; it refuses to be root.
const vmail = 65534

// dovecot runs doveadm on a Maildir, as its user.
type dovecot struct {
	t      testing.TB
	config string
	home   string
}

func newDovecot(t testing.TB) *dovecot {
	if _, err := exec.LookPath("doveadm"); err != nil {
		t.Skip("doveadm is not installed")
	}
	if os.Getuid() != 0 {
		t.Skip("doveadm needs root to take a private configuration")
	}
	home := t.TempDir()
	for dir := home; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755) // Dovecot drops root for the mail's owner
	}
	d := &dovecot{t: t, config: filepath.Join(home, "dovecot.conf"), home: home}
	run := filepath.Join(home, "run")
	os.Mkdir(run, 0o755)
	conf := fmt.Sprintf("base_dir = %s\nstate_dir = %s\nlog_path = /dev/stderr\nssl = no\nmail_location = maildir:%s/Maildir\n"+
		"first_valid_uid = 0\nfirst_valid_gid = 0\nmail_uid = %d\nmail_gid = %d\n", run, run, home, vmail, vmail)
	if err := os.WriteFile(d.config, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *dovecot) root() string { return filepath.Join(d.home, "Maildir") }

func (d *dovecot) adm(args ...string) string {
	d.t.Helper()
	return d.run("", args...)
}

func (d *dovecot) run(stdin string, args ...string) string {
	d.t.Helper()
	filepath.WalkDir(d.root(), func(path string, _ os.DirEntry, _ error) error { return os.Chown(path, vmail, vmail) })
	cmd := exec.Command("doveadm", append([]string{"-c", d.config}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+d.home, "USER=nobody")
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("doveadm %v: %v\n%s", args, err, out)
	}
	if strings.Contains(string(out), "Error:") || strings.Contains(string(out), "Warning:") {
		d.t.Errorf("doveadm %v: %s", args, out)
	}
	return string(out)
}

// list returns "UID flags" of each message, as Dovecot sees them.
func (d *dovecot) list(folder string) []string {
	d.t.Helper()
	out := d.adm("-f", "tab", "fetch", "uid flags size.virtual", "mailbox", folder)
	return strings.Split(strings.TrimSpace(out), "\n")[1:]
}

func ourList(s *Snapshot) []string {
	imap := []struct {
		flag Flags
		name string
	}{{Answered, `\Answered`}, {Flagged, `\Flagged`}, {Deleted, `\Deleted`}, {Seen, `\Seen`}, {Draft, `\Draft`}}
	var list []string
	for i := range s.all() {
		m := &s.all()[i]
		var words []string
		for _, f := range imap {
			if m.Flags&f.flag != 0 {
				words = append(words, f.name)
			}
		}
		words = append(words, s.keywordNames(m)...)
		list = append(list, fmt.Sprintf("%d\t%s\t%d", m.UID, strings.Join(words, " "), m.Size))
	}
	return list
}

// Dovecot 2.3 and we take turns: UIDs, UIDVALIDITY, keywords, sizes, folder
// names and subscriptions are the same for both.
func TestTakingTurnsWithDovecot(t *testing.T) {
	d := newDovecot(t)
	root := d.root()
	h := newTestHost(t)
	a := openAccount(t, h, root)
	f := openFolder(t, a, Inbox)
	for i := range 5 {
		deliver(t, h, root, fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", i))
	}
	refresh(t, f)
	storeIn(f, []uint32{2, 3}, Add, Flagged, []string{"Junk"})
	same := func(when string) {
		t.Helper()
		s := refresh(t, f)
		theirs := d.list("INBOX")
		for i := range theirs {
			theirs[i] = strings.ReplaceAll(strings.ReplaceAll(theirs[i], ` \Recent`, ""), `\Recent`, "")
		}
		if !slices.Equal(ourList(s), theirs) {
			t.Fatalf("%s:\nwe:      %q\nDovecot: %q", when, ourList(s), theirs)
		}
		status := strings.Fields(d.adm("-f", "flow", "mailbox", "status", "uidvalidity uidnext", "INBOX"))
		want := []string{fmt.Sprintf("uidvalidity=%d", s.UIDValidity), fmt.Sprintf("uidnext=%d", s.UIDNext)}
		for _, w := range want {
			if !slices.Contains(status, w) {
				t.Fatalf("%s: %q, want %s", when, status, w)
			}
		}
	}
	same("our mail")
	d.adm("flags", "add", `\Seen Work $Label`, "mailbox", "INBOX", "uid", "1,3")
	same("Dovecot's keywords")
	if err := storeIn(f, []uint32{4}, Add, 0, []string{"$Label", "Fourth"}); err != nil {
		t.Fatal(err)
	}
	same("our keyword after Dovecot's")
	d.adm("expunge", "mailbox", "INBOX", "uid", "2")
	same("Dovecot's expunge")
	f.Expunge([]uint32{5})
	uid, err := f.Append(Draft, []string{"Work"}, time.Now(), text("Subject: appended\n\nx\n"))
	if err != nil {
		t.Fatal(err)
	}
	same("our append and expunge")
	d.run("Subject: saved\r\n\r\nx\r\n", "save", "-m", "INBOX")
	same("Dovecot's append")
	deliver(t, h, root, "Subject: last\n\nx\n")
	d.list("INBOX") // Dovecot numbers it
	same("mail that Dovecot numbered")
	if s := refresh(t, f); s.all()[len(s.all())-1].UID != uid+2 {
		t.Fatalf("%v", uidsOf(s))
	}

	if err := a.Create("Äußeres.Büro & Co", ""); err != nil {
		t.Fatal(err)
	}
	a.Subscribe("Äußeres.Büro & Co")
	d.adm("mailbox", "create", "-s", "Von Dovecot.Schönes")
	if out := d.adm("mailbox", "list"); !strings.Contains(out, "Äußeres.Büro & Co\n") {
		t.Errorf("Dovecot lists %q", out)
	}
	if out := d.adm("mailbox", "list", "-s"); !strings.Contains(out, "Äußeres.Büro & Co\n") || !strings.Contains(out, "Von Dovecot.Schönes\n") {
		t.Errorf("Dovecot's subscriptions %q", out)
	}
	names, err := a.Subscribed()
	if err != nil || !slices.Equal(names, []string{"INBOX", "Äußeres.Büro & Co", "Von Dovecot.Schönes"}) {
		t.Errorf("subscriptions %q %v", names, err)
	}
	g := openFolder(t, a, "Von Dovecot.Schönes")
	if _, _, err := f.Copy(uidsOf(refresh(t, f)), g); err != nil {
		t.Fatal(err)
	}
	if theirs := d.list("Von Dovecot.Schönes"); len(theirs) != len(refresh(t, g).all()) || len(theirs) == 0 {
		t.Errorf("copied: %q", theirs)
	}
	d.adm("mailbox", "delete", "-s", "Äußeres.Büro & Co")
	if _, err := a.Folder("Äußeres.Büro & Co"); err == nil {
		t.Error("a folder that Dovecot deleted is there")
	}
	pop, _ := os.ReadFile(filepath.Join(root, uidlistName))
	t.Logf("uidlist:\n%s", pop)
}
