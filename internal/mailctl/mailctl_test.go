package mailctl

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/commit"
	"peyk/internal/control"
	"peyk/internal/envelope"
	"peyk/internal/spool"
	"peyk/internal/sysexits"
)

// A session runs commands on one configuration.
type session struct {
	t    *testing.T
	dir  string // the control directory
	disk *commit.Disk
}

func newSession(t *testing.T) *session {
	s := &session{t, t.TempDir(), new(commit.Disk)}
	for _, d := range []string{"domains", "queue/drop/tmp", "queue/drop/new", "queue/queue", "queue/hold", "queue/corrupt"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.control("spool", filepath.Join(s.dir, "queue"))
	s.control("mail-root", filepath.Join(s.dir, "mail"))
	s.control("log-files", filepath.Join(s.dir, "*.log"))
	return s
}

func (s *session) control(name, value string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(value+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// do runs a command with a text on stdin.
func (s *session) do(stdin string, args ...string) (status int, out, err string) {
	var stdout, stderr bytes.Buffer
	t := &tool{in: strings.NewReader(stdin), out: &stdout, err: &stderr, disk: s.disk, now: time.Now, rand: rand.Reader}
	status = t.run(append([]string{"mailctl", "-control", s.dir}, args...))
	return status, stdout.String(), stderr.String()
}

// must runs a command that has to work, and returns its output.
func (s *session) must(args ...string) string {
	s.t.Helper()
	status, out, err := s.do("secret\n", args...)
	if status != sysexits.OK {
		s.t.Fatalf("mailctl %v: status %d, %s", args, status, err)
	}
	return out
}

// queued puts a message into the drop and returns its id.
func (s *session) queued(rcpt string) string {
	s.t.Helper()
	id, err := spool.NewID(time.Now(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	w, err := spool.OpenDrop(filepath.Join(s.dir, "queue"), s.disk).Create(&envelope.Envelope{ID: id, Sender: "me@example.test",
		Recipients: []envelope.Recipient{{Address: rcpt}}})
	if err != nil {
		s.t.Fatal(err)
	}
	w.Write([]byte("Subject: x\r\n\r\n"))
	if err := w.Commit(); err != nil {
		s.t.Fatal(err)
	}
	return id
}

func TestStatusesAndAdvice(t *testing.T) {
	s := newSession(t)
	s.must("domain", "add", "example.test")
	s.must("user", "add", "alice@example.test")
	for _, test := range []struct {
		args   string
		status int
		says   string
	}{
		{"", sysexits.Usage, "say which command; see mailctl -help"},
		{"nonsense", sysexits.Usage, `unknown command "nonsense"`},
		{"-nonsense", sysexits.Usage, "see mailctl -help"},
		{"queue", sysexits.Usage, "see mailctl queue -help"},
		{"queue nonsense", sysexits.Usage, "see mailctl queue -help"},
		{"queue list extra", sysexits.Usage, `unexpected argument "extra"`},
		{"config check extra", sysexits.Usage, `unexpected argument "extra"`},
		{"config show nonsense", sysexits.Usage, "mailctl config show lists all of them"},
		{"queue hold", sysexits.Usage, "mailctl queue list shows them"},
		{"queue show nope", sysexits.NoInput, "mailctl queue list shows which wait"},
		{"queue show ../../passwd", sysexits.NoInput, "no message"},
		{"domain add example.test", sysexits.Unavailable, "a local domain already"},
		{"domain add ../x", sysexits.Usage, "expected a name such as"},
		{"domain add [127.0.0.1]", sysexits.Usage, "expected a name such as"},
		{"domain remove nope.test", sysexits.NoHost, "mailctl domain list shows them"},
		{"user list nope.test", sysexits.NoHost, "mailctl domain list shows them"},
		{"alias list nope.test", sysexits.NoHost, "mailctl domain list shows them"},
		{"user add bob@nope.test", sysexits.NoHost, "mailctl domain add nope.test makes it one"},
		{"user add alice@example.test", sysexits.Unavailable, "mailctl user passwd changes its password"},
		{"user add bob@example.test -generate", sysexits.Usage, "flags stand before it"},
		{"user passwd bob@example.test", sysexits.NoUser, "mailctl user list shows them"},
		{"alias resolve bob@example.test", sysexits.NoUser, "no such user"},
		{"mailbox status alice@example.test", sysexits.NoInput, "no mail yet"},
		{"mailbox status /nowhere/at/all", sysexits.NoInput, "not a Maildir"},
		{"log explain nope", sysexits.NoInput, "name older log files"},
		{"completion tcsh", sysexits.Usage, "expected bash, zsh or fish"},
		{"sandbox -base-port 70000", sysexits.Usage, "expected 1 to 64000"},
		{"sandbox extra", sysexits.Usage, "unexpected argument"},
	} {
		status, out, err := s.do("secret\n", strings.Fields(test.args)...)
		if status != test.status || !strings.Contains(err, test.says) {
			t.Errorf("mailctl %s: status %d, said %q; want %d, %q", test.args, status, err, test.status, test.says)
		}
		if test.args != "" && test.args != "queue" && out != "" {
			t.Errorf("mailctl %s: failed, and printed %q", test.args, out)
		}
	}
}

func TestDomainsAreStoredInOneForm(t *testing.T) {
	s := newSession(t)
	s.must("domain", "add", "Upper.Test")
	s.must("user", "add", "-generate", "A@UPPER.test")
	if got := s.must("user", "list", "uppeR.TEST"); got != "a@upper.test\n" {
		t.Errorf("users: %q", got)
	}
	if got := s.must("domain", "remove", "-dry-run", "UPPER.test"); !strings.Contains(got, "upper.test with 1 users") {
		t.Errorf("dry run: %q", got)
	}
	if got := s.must("domain", "list"); got != "upper.test\n" {
		t.Errorf("domains: %q", got)
	}
}

// What queue list prints can be fed back: the indented lines are no ids.
func TestIDsFromStdin(t *testing.T) {
	s := newSession(t)
	first, second := s.queued("far@away.example"), s.queued("wide@away.example")
	status, out, err := s.do(s.must("queue", "list"), "queue", "remove", "-dry-run", "-")
	if status != sysexits.OK || !strings.Contains(out, first) || !strings.Contains(out, second) {
		t.Errorf("status %d, %q, %q", status, out, err)
	}
	status, _, err = s.do("nope\n"+first+" anything\n", "queue", "hold", "-")
	if status != sysexits.NoInput || strings.Count(err, "\n") != 1 {
		t.Errorf("one of two ids is wrong: status %d, %q", status, err)
	}
	if got := s.must("queue", "list", "-json"); !strings.Contains(got, `"queue_name":"hold","queue_id":"`+first) {
		t.Errorf("the good one was not put on hold: %s", got)
	}
}

func TestJSONIsOneObjectALine(t *testing.T) {
	s := newSession(t)
	s.must("domain", "add", "example.test")
	s.must("user", "add", "-generate", "alice@example.test")
	s.must("alias", "add", "x@example.test", "alice@example.test")
	s.queued("far@away.example")
	for _, args := range []string{"config show -json", "domain list -json", "user list -json", "user info -json alice@example.test",
		"alias list -json", "alias resolve -json x@example.test", "queue list -json"} {
		out := s.must(strings.Fields(args)...)
		if out == "" {
			t.Errorf("mailctl %s printed nothing", args)
		}
		for line := range strings.Lines(out) {
			var object map[string]any
			if err := json.Unmarshal([]byte(line), &object); err != nil {
				t.Errorf("mailctl %s: %v in %q", args, err, line)
			}
		}
	}
}

func TestCompletion(t *testing.T) {
	s := newSession(t)
	s.must("domain", "add", "example.test")
	s.must("user", "add", "-generate", "alice@example.test")
	id := s.queued("far@away.example")
	for _, test := range []struct{ words, word, want string }{
		{"", "", "queue\n"},
		{"queue", "re", "requeue\n"},
		{"queue remove", "", id + "\n"},
		{"queue remove", "-", "-dry-run\n"},
		{"queue remove", "--", "--dry-run\n"},
		{"queue flush -- " + id, "", ""}, // nothing runs
		{"user passwd -generate", "", "alice@example.test\n"},
		{"user list", "", "example.test\n"},
		{"config show", "", control.Retry.Name + "\n"},
		{"completion", "", "zsh\n"},
	} {
		t.Setenv("MAILCTL_WORD", test.word)
		words := append(strings.Fields(test.words), "--generate-bash-completion")
		if out := s.must(words...); !strings.Contains("\n"+out, "\n"+test.want) {
			t.Errorf("completion of %q %q: %q does not offer %q", test.words, test.word, out, test.want)
		}
	}
}

func TestVersionFlagAndCommand(t *testing.T) {
	s := newSession(t)
	if a, b := s.must("-version"), s.must("version"); a != b || !strings.HasPrefix(a, "peyk ") {
		t.Errorf("%q and %q", a, b)
	}
}

func TestConfigCheckNamesAllThatIsWrong(t *testing.T) {
	s := newSession(t)
	s.control("retry", "soon")
	s.control("routes", "nonsense here and there")
	s.control("hostnam", "mx.example.org") // mistyped
	s.control("hostname~", "the copy of an editor")
	status, _, err := s.do("", "config", "check")
	if status != sysexits.Config || !strings.Contains(err, "retry") || !strings.Contains(err, "routes") || !strings.Contains(err, "/hostnam: no program reads this") {
		t.Errorf("status %d, %q", status, err)
	}
	if strings.Contains(err, "hostname~") {
		t.Errorf("an editor's copy counts: %q", err)
	}
}

func TestConfigValuesByH(t *testing.T) {
	s := newSession(t)
	s.control("connections", "7")
	for _, words := range [][]string{{"config", "-h", "connections"}, {"config", "show", "-h", "connections"}, {"config", "show", "-value", "connections"}} {
		if out := s.must(words...); out != "7\n" {
			t.Errorf("%q prints %q", words, out)
		}
	}
}

// A sandbox whose place is taken says so before it has changed anything.
func TestSandboxPlaceTaken(t *testing.T) {
	s := newSession(t)
	dir := t.TempDir()
	first := &sandbox{}
	if err := first.findPlaces(dir); err != nil {
		t.Fatal(err)
	}
	status, _, err := s.do("", "sandbox", "-dir", dir)
	if status != sysexits.TempFail || !strings.Contains(err, "name another directory with -dir") {
		t.Errorf("taken directory: status %d, %q", status, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "control", "spool")); err == nil {
		t.Error("the second sandbox wrote into the first")
	}
	first.lock.Close()
	l, e := net.Listen("tcp", "127.0.0.1:0")
	if e != nil {
		t.Fatal(e)
	}
	defer l.Close()
	status, _, err = s.do("", "sandbox", "-dir", dir, "-set", "listen-smtp="+l.Addr().String())
	if status != sysexits.TempFail || !strings.Contains(err, l.Addr().String()) || !strings.Contains(err, "-base-port") {
		t.Errorf("taken port: status %d, %q", status, err)
	}
}

func TestSandboxSocketsStayOurs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 20))
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	first, err := socketDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := socketDir(dir); err != nil || again != first {
		t.Errorf("%q, then %q (%v)", first, again, err)
	}
	if err := os.Chmod(first, 0o777); err != nil { // as if made anew by somebody
		t.Fatal(err)
	}
	if other, err := socketDir(dir); err != nil || other == first {
		t.Errorf("a directory open to all is used again: %q (%v)", other, err)
	}
}

func TestQuoteAndBack(t *testing.T) {
	for _, word := range []string{"", "plain", "two words", "it's", `$x "y" \z`, "'", "پیک"} {
		if got := unquote(quote(word)); got != word {
			t.Errorf("%q came back as %q", word, got)
		}
	}
}
