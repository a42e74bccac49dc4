package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"peyk/internal/daemon"
	"peyk/test/sandbox"
)

// TestMain lets the test binary try forbidden acts from inside the powers that
// a daemon prints: with PEYK_TEST_POWERS set it does that instead of the tests.
func TestMain(m *testing.M) {
	if os.Getenv("PEYK_TEST_POWERS") != "" {
		os.Exit(tryActs())
	}
	os.Exit(sandbox.Main(m))
}

// parsePowers reads what PROGRAM -powers prints.
func parsePowers(text string) daemon.Powers {
	var p daemon.Powers
	for _, line := range strings.Split(text, "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "read":
			p.ReadOnly = append(p.ReadOnly, value)
		case "write":
			p.ReadWrite = append(p.ReadWrite, value)
		case "connect-tcp":
			p.ConnectTCP = value == "yes"
		case "bind-tcp":
			p.BindTCP = value == "yes"
		}
	}
	return p
}

// tryActs confines itself and prints for each act whether it was possible.
func tryActs() int {
	if _, err := parsePowers(os.Getenv("PEYK_TEST_POWERS")).Confine(); err != nil {
		fmt.Println(err)
		return 1
	}
	dir := os.Getenv("PEYK_TEST_DIR")
	at := func(elem ...string) string { return filepath.Join(append([]string{dir}, elem...)...) }
	report := func(act string, err error) {
		fmt.Println(act, !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EPERM))
	}
	_, err := os.ReadDir(at("mail"))
	report("read-mail", err)
	report("write-mail", os.WriteFile(at("mail", "x"), nil, 0o600))
	_, err = os.ReadDir(at("spool", "queue"))
	report("read-queue", err)
	report("write-queue", os.WriteFile(at("spool", "queue", "x"), nil, 0o600))
	report("write-drop", os.WriteFile(at("spool", "drop", "tmp", "x"), nil, 0o600))
	report("write-control", os.WriteFile(at("control", "hostname"), nil, 0o600))
	_, err = os.ReadFile("/etc/shadow")
	if os.Getuid() != 0 {
		_, err = os.ReadFile(at("sandbox.env"))
	}
	report("read-secret", err)
	_, err = net.Dial("tcp", os.Getenv("PEYK_TEST_ADDR"))
	report("connect", err)
	report("run", exec.Command("/bin/true").Run())
	return 0
}

// allowed lists what each daemon may do of all that tryActs tries; everything
// else must fail.
var allowed = map[string]string{
	"smtpd":     "write-drop",
	"queue-run": "read-queue write-queue write-drop",
	"deliver":   "read-mail write-mail write-drop",
	"remote":    "connect",
	"imapd":     "read-mail write-mail",
	"pop3d":     "read-mail write-mail",
	"authd":     "",

	"auth-remote": "connect",
}

func TestEachDaemonHasItsPowersAndNoOthers(t *testing.T) {
	s := sandbox.Start(t)
	if log := s.Log(); strings.Count(log, "event=sandboxed") != 8 {
		t.Errorf("not every daemon confined itself:\n%s", log)
	}
	if strings.Contains(s.Log(), "landlock=0") {
		t.Skip("this kernel has no Landlock")
	}
	for program, may := range allowed {
		powers, err := exec.Command(filepath.Join(s.Bin, program), "-control", s.Env["PEYK_CONTROL"], "-powers").Output()
		if err != nil {
			t.Fatalf("%s -powers: %v", program, err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PEYK_TEST_POWERS="+string(powers), "PEYK_TEST_DIR="+s.Dir, "PEYK_TEST_ADDR="+s.Env["PEYK_SMTP"])
		out, err := cmd.Output() // a confined program cannot write coverage, and says so on stderr
		if err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			act, possible, _ := strings.Cut(line, " ")
			if want := contains(may, act); possible != fmt.Sprint(want) {
				t.Errorf("%s: %s is possible: %s, want %v", program, act, possible, want)
			}
		}
	}
}

func contains(words, word string) bool {
	for _, w := range strings.Fields(words) {
		if w == word {
			return true
		}
	}
	return false
}
