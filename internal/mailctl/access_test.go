package mailctl

import (
	"bytes"
	"crypto/rand"
	"encoding/base32"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/authstate"
	"peyk/internal/commit"
	"peyk/internal/sysexits"
	"peyk/internal/totp"
)

// accountSession is a session with the account alice@example.test.
func accountSession(t *testing.T) *session {
	s := newSession(t)
	state := filepath.Join(s.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	s.control("auth-state", state)
	s.must("domain", "add", "example.test")
	s.must("user", "add", "alice@example.test")
	return s
}

func (s *session) file(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "domains/example.test", name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func TestAppPasswordCommands(t *testing.T) {
	s := accountSession(t)
	secret := strings.TrimSpace(s.must("user", "app-password", "add", "-name", "Telefon\tneu", "-rights", "read-only", "-protocols", "imap,pop3",
		"-networks", "192.0.2.0/24,2001:db8::1", "-expires", "2030-01-31", "alice@example.test"))
	if len(secret) != 24 {
		t.Fatalf("the secret is %q", secret)
	}
	if text := s.file("app-passwords"); strings.Contains(text, secret) || strings.Contains(text, strings.ReplaceAll(secret, "-", "")) ||
		!strings.Contains(text, "name=Telefon%09neu rights=read-only protocols=imap,pop3 networks=192.0.2.0/24,2001:db8::1/128 expires=2030-01-31") {
		t.Errorf("the table holds\n%s", text)
	}
	out := s.must("user", "app-password", "list", "alice@example.test")
	id, _, _ := strings.Cut(out, "\t")
	if !strings.Contains(out, `Telefon\tneu`+"\tread-only imap,pop3 192.0.2.0/24 2001:db8::1/128\tcreated ") || !strings.Contains(out, "\texpires 2030-01-31T00:00:00Z\tnever used\n") {
		t.Errorf("the list is %q", out)
	}
	state := authstate.New(filepath.Join(s.dir, "state"), new(commit.Disk))
	if err := state.NoteUse("alice@example.test", id, authstate.Use{Time: time.Unix(1e9, 0), Address: "192.0.2.7", Service: "imap"}); err != nil {
		t.Fatal(err)
	}
	state.Close()
	if out := s.must("user", "app-password", "list", "alice@example.test"); !strings.HasSuffix(out, "\tused 2001-09-09T01:46:40Z imap 192.0.2.7\n") {
		t.Errorf("the list is %q", out)
	}
	if out := s.must("user", "app-password", "list", "-json", "alice@example.test"); !strings.Contains(out, `"used":"2001-09-09T01:46:40Z"`) || strings.Contains(out, "SSHA256") {
		t.Errorf("the list is %q", out)
	}
	for _, bad := range [][]string{{"add", "alice@example.test"}, {"add", "-name", "x", "-rights", "all", "alice@example.test"}, {"add", "-name", "x", "-networks", "here", "alice@example.test"},
		{"add", "-name", "x", "-expires", "tomorrow", "alice@example.test"}, {"revoke", "alice@example.test"}} {
		if status, _, err := s.do("", append([]string{"user", "app-password"}, bad...)...); status != sysexits.Usage {
			t.Errorf("%q: status %d, %s", bad, status, err)
		}
	}
	s.must("user", "app-password", "revoke", "alice@example.test", id)
	if status, _, err := s.do("", "user", "app-password", "revoke", "alice@example.test", id); status == sysexits.OK || !strings.Contains(err, "shows them") {
		t.Errorf("a second time: %d, %s", status, err)
	}
	if out := s.must("user", "app-password", "list", "alice@example.test"); out != "" {
		t.Errorf("after the removal: %q", out)
	}
}

// enroll runs totp enable as a person would: it answers with the code of the
// secret that was shown, after the given wrong ones.
func (s *session) enroll(wrong ...string) (status int, secret []byte, out string) {
	s.t.Helper()
	shown, show := io.Pipe()
	said, say := io.Pipe()
	done := make(chan int, 1)
	now := func() time.Time { return time.Unix(1e9, 0) }
	go func() {
		t := &tool{in: said, out: show, err: io.Discard, disk: s.disk, now: now, rand: rand.Reader}
		code := t.run([]string{"mailctl", "-control", s.dir, "user", "totp", "enable", "alice@example.test"})
		show.Close()
		said.Close() // whatever was not read
		done <- code
	}()
	var all bytes.Buffer
	buf := make([]byte, 64<<10)
	for secret == nil {
		n, err := shown.Read(buf)
		all.Write(buf[:n])
		_, after, found := strings.Cut(all.String(), "otpauth://")
		if uri, rest, whole := strings.Cut(after, "\n"); found && whole && strings.Contains(rest, "\n") {
			u, err := url.Parse("otpauth://" + uri)
			if err != nil {
				s.t.Fatal(err)
			}
			secret, err = base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret"))
			if err != nil || len(secret) != totp.SecretSize {
				s.t.Fatalf("%s: %v", uri, err)
			}
		}
		if err != nil {
			break
		}
	}
	go func() {
		for _, w := range append(wrong, totp.Code(secret, totp.Step(now()))) {
			io.WriteString(say, w+"\n")
		}
		say.Close()
	}()
	rest, _ := io.ReadAll(shown)
	return <-done, secret, string(rest)
}

func TestSecondFactorCommands(t *testing.T) {
	s := accountSession(t)
	if status, _, _ := s.enroll("1", "2", "3"); status != sysexits.Usage {
		t.Errorf("with three wrong codes: status %d", status)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "domains/example.test/second-factor")); err == nil {
		t.Error("a second factor was written without a right code")
	}
	status, secret, out := s.enroll("000000")
	codes := strings.Fields(out)
	if status != sysexits.OK || len(codes) != recoveryCodes {
		t.Fatalf("status %d, %q", status, out)
	}
	text := s.file("second-factor")
	if !strings.HasPrefix(text, "alice:"+totp.Base32(secret)+":{SSHA256}") || strings.Contains(text, codes[0]) {
		t.Errorf("the table holds\n%s", text)
	}
	if status, _, err := s.do("", "user", "totp", "enable", "alice@example.test"); status == sysexits.OK || !strings.Contains(err, "totp disable removes it") {
		t.Errorf("a second time: %d, %s", status, err)
	}
	again := strings.Fields(s.must("user", "totp", "recovery", "alice@example.test"))
	if len(again) != recoveryCodes || again[0] == codes[0] || s.file("second-factor") == text {
		t.Errorf("new recovery codes: %q", again)
	}
	if !strings.HasPrefix(s.file("second-factor"), "alice:"+totp.Base32(secret)+":") {
		t.Error("new recovery codes changed the secret")
	}
	s.must("user", "totp", "disable", "alice@example.test")
	if status, _, _ := s.do("", "user", "totp", "recovery", "alice@example.test"); status == sysexits.OK {
		t.Error("an account without a second factor got recovery codes")
	}
}

// TestQRCode holds that the drawing has its margin and is square: two modules
// in a character, one above the other.
func TestQRCode(t *testing.T) {
	var out bytes.Buffer
	tool := &tool{out: &out}
	if err := tool.showQR(totp.URI("example.test", "alice@example.test", make([]byte, totp.SecretSize))); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	width := len([]rune(lines[0]))
	if len(lines) != (width+1)/2 || width < 29 || strings.Trim(lines[0], "█") != "" || strings.Trim(lines[1], "█") != "" {
		t.Errorf("%d lines of %d:\n%s", len(lines), width, out.String())
	}
	// The finder pattern in the corner: seven dark modules, on the left of
	// which the margin stands.
	if corner := string([]rune(lines[2])[:12]); corner != "████ ▄▄▄▄▄ █" {
		t.Errorf("the corner is %q", corner)
	}
}

func TestLimitCommands(t *testing.T) {
	s := accountSession(t)
	s.control("access", "* protocols=imap,smtp\nexample.test suspended=refuse")
	s.must("user", "limits", "alice@example.test", "set", "hours=Mo-Fr/08:00-18:00", "zone=Europe/Berlin", "login=no", "reason=away till May", "suspended=no")
	if text := s.file("access"); text != "alice hours=Mo-Fr/08:00-18:00 zone=Europe/Berlin login=no reason=away%20till%20May suspended=no\n" {
		t.Errorf("the table holds %q", text)
	}
	if out := s.must("user", "limits", "alice@example.test"); !strings.Contains(out, "protocols=imap,smtp\t# "+filepath.Join(s.dir, "access")+":1\n") ||
		!strings.Contains(out, "login=no\t# "+filepath.Join(s.dir, "domains/example.test/access")+":1\n") {
		t.Errorf("limits are %q", out)
	}
	if out := s.must("user", "limits", "-json", "alice@example.test", "show"); !strings.Contains(out, `"reason":"away till May"`) {
		t.Errorf("limits are %q", out)
	}
	s.must("user", "limits", "alice@example.test", "set", "hours=", "zone=", "login=", "reason=")
	s.must("user", "suspend", "alice@example.test")
	if text := s.file("access"); text != "alice suspended=defer\n" {
		t.Errorf("the table holds %q", text)
	}
	s.must("user", "suspend", "-refuse", "alice@example.test")
	if text := s.file("access"); text != "alice suspended=refuse\n" {
		t.Errorf("the table holds %q", text)
	}
	if status, _, err := s.do("", "user", "resume", "alice@example.test"); status == sysexits.OK || !strings.Contains(err, "still suspended by "+filepath.Join(s.dir, "access")+":2") {
		t.Errorf("resume: %d, %s", status, err)
	}
	s.control("access", "* protocols=imap,smtp")
	s.must("user", "resume", "alice@example.test")
	for _, bad := range [][]string{{}, {"alice@example.test", "set"}, {"alice@example.test", "set", "hours"}, {"alice@example.test", "set", "hours=9-5"}, {"alice@example.test", "color"}} {
		if status, _, err := s.do("", append([]string{"user", "limits"}, bad...)...); status != sysexits.Usage {
			t.Errorf("%q: status %d, %s", bad, status, err)
		}
	}
	if status, _, err := s.do("", "config", "check"); status != sysexits.OK {
		t.Errorf("config check: %s", err)
	}
	s.control("access", "* colour=blue")
	if status, _, err := s.do("", "config", "check"); status != sysexits.Config || !strings.Contains(err, "access:1: unknown word") {
		t.Errorf("config check: %d, %s", status, err)
	}
}

// TestRemovedAccountsLeaveNothing holds that the next one of that name does
// not get what the last one had.
func TestRemovedAccountsLeaveNothing(t *testing.T) {
	s := accountSession(t)
	s.must("user", "app-password", "add", "-name", "x", "alice@example.test")
	s.must("user", "suspend", "alice@example.test")
	s.enroll()
	s.must("user", "remove", "alice@example.test")
	for _, name := range []string{"users", "app-passwords", "second-factor", "access"} {
		if text := s.file(name); text != "" {
			t.Errorf("%s still holds %q", name, text)
		}
	}
}

func TestSelfService(t *testing.T) {
	s := accountSession(t)
	dir := filepath.Join(s.dir, "domains/example.test")
	mode := func() fs.FileMode {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode() & (fs.ModePerm | fs.ModeSticky | fs.ModeSetgid)
	}
	s.must("domain", "self-service", "example.test")
	if mode() != sharedMode {
		t.Errorf("mode = %v", mode())
	}
	s.must("user", "add", "bob@example.test")
	s.must("domain", "self-service", "-off", "example.test")
	if mode() != privateMode {
		t.Errorf("mode = %v", mode())
	}
}
