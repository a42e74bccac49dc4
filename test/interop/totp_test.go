package interop_test

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"peyk/internal/totp"
	"peyk/test/sandbox"
)

// oathtool returns the code of a secret in base32 at a time.
func oathtool(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	out, err := exec.Command("oathtool", "--totp", "--base32", "--now", at.UTC().Format("2006-01-02 15:04:05 UTC"), secret).CombinedOutput()
	if err != nil {
		t.Fatalf("oathtool: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestCodesOfOathtool holds our codes against those of OATH Toolkit.
func TestCodesOfOathtool(t *testing.T) {
	need(t, "oathtool")
	for i := range 50 {
		secret := []byte(fmt.Sprintf("%020d", i*i*7919))
		at := time.Unix(int64(i)*100_000_007, 0)
		if want, got := oathtool(t, totp.Base32(secret), at), totp.Code(secret, totp.Step(at)); got != want {
			t.Errorf("at %v: %s, oathtool says %s", at, got, want)
		}
	}
}

// TestSecondFactorWithOathtool enrols as a person does whose authenticator is
// oathtool, and changes the password with a code and with a recovery code.
func TestSecondFactorWithOathtool(t *testing.T) {
	need(t, "oathtool")
	s := sandbox.Start(t, "password-change=yes")
	user, password := s.Env["PEYK_USER1"], s.Env["PEYK_PASS1"]
	cmd := exec.Command(filepath.Join(s.Bin, "mailctl"), "-control", s.Env["PEYK_CONTROL"], "user", "totp", "enable", user)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	secret := shownSecret(t, out)
	fmt.Fprintln(in, oathtool(t, secret, time.Now()))
	rest, err := io.ReadAll(out)
	if err != nil || cmd.Wait() != nil {
		t.Fatalf("mailctl user totp enable: %v\n%s", err, rest)
	}
	recovery := strings.Fields(string(rest))
	if len(recovery) != 10 {
		t.Fatalf("recovery codes: %q", recovery)
	}
	change := func(old, password, code string) error {
		_, err := s.Mailctl(strings.Join([]string{old, password, code, ""}, "\n"), "passwd", user)
		return err
	}
	if err := change(password, "second", oathtool(t, secret, time.Now().Add(-5*time.Minute))); err == nil {
		t.Error("an old code is taken")
	}
	if err := change(password, "second", oathtool(t, secret, time.Now())); err != nil {
		t.Errorf("a code of oathtool: %v\n%s", err, s.Log())
	}
	if err := change("second", "third", strings.ToUpper(recovery[3])); err != nil {
		t.Errorf("a recovery code: %v\n%s", err, s.Log())
	}
	if err := change("third", "fourth", recovery[3]); err == nil {
		t.Error("a recovery code is taken twice")
	}
}

// shownSecret reads what mailctl shows up to the secret in base32, which stands
// behind the URI.
func shownSecret(t *testing.T, out io.Reader) string {
	t.Helper()
	var text string
	buf := make([]byte, 4096)
	for {
		n, err := out.Read(buf)
		text += string(buf[:n])
		_, uri, found := strings.Cut(text, "otpauth://")
		lines := strings.Split(uri, "\n")
		if found && len(lines) > 2 {
			return lines[1]
		}
		if err != nil {
			t.Fatalf("mailctl shows no secret: %v\n%s", err, text)
		}
	}
}
