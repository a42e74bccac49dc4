package control

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLoadPrecedence(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "hostname", "# the name\n mx.example.org \n")
	write(t, dir, "connections", "7\n")
	c, err := Load(dir, All(), map[string]string{"connections": "9", "routes": `a b:1\n* c:2`})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Text(Hostname); got != "mx.example.org" || c.Origin(Hostname) != FromFile {
		t.Errorf("hostname %q from %s", got, c.Origin(Hostname))
	}
	if got := c.Int(Connections); got != 9 || c.Origin(Connections) != FromFlag {
		t.Errorf("connections %d from %s", got, c.Origin(Connections))
	}
	if got := c.Lines(Routes); len(got) != 2 || got[1] != "* c:2" {
		t.Errorf("routes %q", got)
	}
	if got := c.Duration(QueueLifetime); got != 120*time.Hour {
		t.Errorf("queue-lifetime %v", got)
	}
	if got := c.Size(MessageSize); got != 50<<20 {
		t.Errorf("message-size-limit %d", got)
	}
}

func TestBadValuesNameFileAndLine(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "connections", "# many\nlots\n")
	write(t, dir, "limits-exempt", "127.0.0.0/8\n\nhere\n")
	write(t, dir, "log-format", "xml\n")
	write(t, dir, "hostname", "one\ntwo\n")
	_, err := Load(dir, All(), nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"connections:2: cannot use \"lots\"",
		"limits-exempt:3: cannot use \"here\"",
		"log-format:1: cannot use \"xml\": expected one of logfmt, json",
		"hostname:2: more than one value",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	var fe *FileError
	if !errors.As(err, &fe) {
		t.Error("no *FileError inside")
	}
}

func TestHostileControlFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "routes", strings.Repeat("x", maxFile+1))
	if err := os.Mkdir(filepath.Join(dir, "hostname"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Load(dir, All(), nil)
	for _, want := range []string{"routes: larger than", "hostname: not a regular file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

func TestEverySettingIsDeclaredWell(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range All() {
		if seen[s.Name] {
			t.Errorf("%s is declared twice", s.Name)
		}
		seen[s.Name] = true
		if s.Help == "" || len(s.Programs) == 0 {
			t.Errorf("%s lacks its help or its programs", s.Name)
		}
		if _, err := s.parse(s.Default, "default", FromDefault); err != nil {
			t.Errorf("%s: its default does not parse: %v", s.Name, err)
		}
		if strings.ToLower(s.Name) != s.Name || strings.ContainsAny(s.Name, "_ ") {
			t.Errorf("%s is not a setting's name", s.Name)
		}
	}
	if len(Of("smtpd")) == 0 {
		t.Error("smtpd has no settings")
	}
}

func TestParseSizeAndDurationLimits(t *testing.T) {
	for _, bad := range []string{"", "K", "-1", "9223372036854775807G", "1T", "1.5M"} {
		if n, err := ParseSize(bad); err == nil {
			t.Errorf("ParseSize(%q) = %d", bad, n)
		}
	}
	for _, bad := range []string{"", "5", "-5m", "d", "99999999999d"} {
		if d, err := ParseDuration(bad); err == nil {
			t.Errorf("ParseDuration(%q) = %v", bad, d)
		}
	}
	if n, _ := ParseSize("2G"); n != 2<<30 {
		t.Errorf("2G = %d", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("# c\n5m\n", 3)
	f.Fuzz(func(t *testing.T, text string, kind int) {
		s := &Setting{Name: "x", Kind: Kind(uint(kind) % 9)}
		v, err := s.parse(text, "fuzz", FromFile)
		if err == nil && s.Kind <= Path && strings.ContainsAny(v.text, "\n") {
			t.Fatalf("a value of several lines: %q", v.text)
		}
	})
}

// What no program could work with stops the start, and mailctl config check
// finds it.
func TestNamesAndAddressesAreChecked(t *testing.T) {
	for setting, texts := range map[*Setting]struct{ good, bad []string }{
		Hostname: {[]string{"mx.example.org", "localhost", "a_b.example", "xn--a.example", ""},
			[]string{"a b", "???", "-1", "192.0.2.1", "\x01", "a\tb", "mx..example", "mx.example.", "../etc", "@"}},
		DefaultDomain: {[]string{"example.org", "bücher.example", ""}, []string{"???", "a b", "-1", "[192.0.2.1]", "@", "../etc", "a\tb"}},
		ListenSMTP: {[]string{":25", "127.0.0.1:smtp", "[::1]:25", "/run/x.sock", "", `:25\n:26`},
			[]string{"25", "x", "-1", "127.0.0.1", ":65536", ":-1", "a b:25", "::1:25", `:25\nx`, "../x"}},
		Resolver:        {[]string{"127.0.0.1:53", "127.0.0.1", "::1", "[::1]:53", "dns.example:53", ""}, []string{"???", "1.5.5", "a b", "x:y:z", "@"}},
		Subaddress:      {[]string{"+", "-", ""}, []string{"a", "+-", "@", "é", "." + "."}},
		TLSCertificate:  {[]string{"default", "mx.example.org"}, []string{"../x", "/etc", ".."}},
		MailDirectories: {[]string{"/home", ""}, []string{"home", "../x"}},
	} {
		for _, text := range texts.good {
			if _, err := Load(t.TempDir(), []*Setting{setting}, map[string]string{setting.Name: text}); err != nil {
				t.Errorf("%s: %v", setting.Name, err)
			}
		}
		for _, text := range texts.bad {
			var fe *FileError
			_, err := Load(t.TempDir(), []*Setting{setting}, map[string]string{setting.Name: text})
			if !errors.As(err, &fe) || fe.Line == 0 {
				t.Errorf("%s takes %q: %v", setting.Name, text, err)
			}
		}
	}
}
