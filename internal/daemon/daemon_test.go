package daemon

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"peyk/internal/control"
	"peyk/internal/sysexits"
)

// TestMain lets the test binary play a daemon: with PEYK_TEST_PLAY set it runs
// the named part instead of the tests.
func TestMain(m *testing.M) {
	switch os.Getenv("PEYK_TEST_PLAY") {
	case "daemon":
		os.Exit(Main(player(), os.Args))
	case "forbidden":
		os.Exit(tryForbidden())
	}
	os.Exit(m.Run())
}

func player() Program {
	return Program{
		Name:  "pop3d",
		Usage: "play a daemon",
		Powers: func(c *control.Config) Powers {
			return Powers{ReadWrite: []string{filepath.Join(c.Dir(), "mail")}}
		},
		Run: func(ctx context.Context, e *Env) error {
			e.OnReload(func(c *control.Config) { fmt.Println("now", c.Text(control.Hostname)) })
			if err := e.Ready(); err != nil {
				return err
			}
			fmt.Println("up", e.Hostname())
			<-ctx.Done()
			return ctx.Err()
		},
	}
}

func play(t *testing.T, part, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "PEYK_TEST_PLAY="+part, "PEYK_CONTROL="+dir)
	return cmd
}

func TestUsageAndConfigErrorsHaveTheirStatus(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "connections"), []byte("\nmany\n"), 0o600)
	for _, c := range []struct {
		args   []string
		status int
		say    string
	}{
		{[]string{"-nonsense"}, sysexits.Usage, "pop3d: flag provided but not defined: -nonsense; see pop3d -help"},
		{nil, sysexits.Config, "pop3d: " + dir + "/connections:2: cannot use \"many\""},
		{[]string{"-control", dir + "/none"}, sysexits.Config, "name its directory with -control"},
		{[]string{"-connections", "5", "-powers"}, sysexits.OK, ""},
		{[]string{"-version"}, sysexits.OK, ""},
	} {
		var errs strings.Builder
		cmd := play(t, "daemon", dir, c.args...)
		cmd.Stderr = &errs
		cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != c.status || !strings.Contains(errs.String(), c.say) {
			t.Errorf("%q: status %d, want %d; stderr %q, want %q in it", c.args, got, c.status, errs.String(), c.say)
		}
	}
}

func TestReloadAndStop(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "hostname"), []byte("one.example\n"), 0o600)
	cmd := play(t, "daemon", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	expect := func(want string) {
		t.Helper()
		line := make([]byte, len(want)+1)
		if _, err := io.ReadFull(out, line); err != nil || string(line) != want+"\n" {
			t.Fatalf("read %q, %v; want %q", line, err, want)
		}
	}
	expect("up one.example")
	os.WriteFile(filepath.Join(dir, "hostname"), []byte("two\nlines\n"), 0o600)
	cmd.Process.Signal(syscall.SIGHUP) // a bad value: the daemon keeps what it had
	for log := bufio.NewScanner(errs); log.Scan(); {
		if strings.Contains(log.Text(), "event=bad-config") {
			break
		}
	}
	os.WriteFile(filepath.Join(dir, "hostname"), []byte("two.example\n"), 0o600)
	cmd.Process.Signal(syscall.SIGHUP)
	expect("now two.example")
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("after SIGTERM: %v", err)
	}
}

// tryForbidden confines itself and then tries what it must not be able to do.
func tryForbidden() int {
	dir := os.Getenv("PEYK_CONTROL")
	port := os.Getenv("PEYK_TEST_PORT")
	p := Powers{ReadOnly: []string{dir}, ReadWrite: []string{filepath.Join(dir, "mail")}}
	abi, err := p.Confine()
	if err != nil {
		fmt.Println("confine:", err)
		return 1
	}
	fmt.Println("abi", abi)
	act := func(name string, err error) {
		fmt.Println(name, errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM))
	}
	_, err = os.ReadFile(filepath.Join(dir, "..", "secret"))
	act("read-outside", err)
	act("write-readonly", os.WriteFile(filepath.Join(dir, "hostname"), nil, 0o600))
	act("create-outside", os.WriteFile(filepath.Join(dir, "..", "new"), nil, 0o600))
	act("unlink-outside", os.Remove(filepath.Join(dir, "..", "secret")))
	act("exec", exec.Command("/bin/true").Run())
	_, err = net.Dial("tcp", "127.0.0.1:"+port)
	act("connect", err)
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // Landlock does not look at multipath TCP: docs/SECURITY.md
	_, err = plain.Listen(context.Background(), "tcp", "127.0.0.1:0")
	act("listen", err)
	act("signal-parent", syscall.Kill(os.Getppid(), 0))
	act("write-mail", os.WriteFile(filepath.Join(dir, "mail", "x"), nil, 0o600))
	_, err = os.ReadFile(filepath.Join(dir, "hostname"))
	act("read-control", err)
	return 0
}

func TestForbiddenActsFailFromInside(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "control")
	os.MkdirAll(filepath.Join(dir, "mail"), 0o700)
	os.WriteFile(filepath.Join(top, "secret"), []byte("s"), 0o600)
	os.WriteFile(filepath.Join(dir, "hostname"), []byte("h\n"), 0o600)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	cmd := play(t, "forbidden", dir)
	cmd.Env = append(cmd.Env, "PEYK_TEST_PORT="+port)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var abi int
	fmt.Sscanf(string(out), "abi %d", &abi)
	if abi == 0 {
		t.Skip("this kernel has no Landlock")
	}
	forbidden := []string{"read-outside", "write-readonly", "create-outside", "unlink-outside", "exec"}
	if abi >= 4 {
		forbidden = append(forbidden, "connect", "listen")
	}
	if abi >= 6 {
		forbidden = append(forbidden, "signal-parent")
	}
	for _, act := range forbidden {
		if !strings.Contains(string(out), act+" true\n") {
			t.Errorf("%s was possible:\n%s", act, out)
		}
	}
	for _, act := range []string{"write-mail", "read-control"} {
		if !strings.Contains(string(out), act+" false\n") {
			t.Errorf("%s was refused:\n%s", act, out)
		}
	}
}

// pair writes a self-signed certificate for names into dir.
func pair(t *testing.T, dir string, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]},
		DNSNames: names, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	os.MkdirAll(dir, 0o700)
	os.WriteFile(filepath.Join(dir, "fullchain.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	os.WriteFile(filepath.Join(dir, "privkey.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600)
}

func env(t *testing.T, dir string) *Env {
	t.Helper()
	c, err := control.Load(dir, control.Of("pop3d"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Env{Name: "pop3d", config: c}
}

func TestCertificateByNameAndReload(t *testing.T) {
	dir := t.TempDir()
	pair(t, filepath.Join(dir, "certs", "default"), "mx.example")
	pair(t, filepath.Join(dir, "certs", "other"), "imap.other", "*.wild.other")
	os.MkdirAll(filepath.Join(dir, "certs", "empty"), 0o700)
	os.WriteFile(filepath.Join(dir, "certs", "README"), []byte("a note"), 0o600)
	e := env(t, dir)
	cfg, err := e.Certificate(false)
	if err != nil {
		t.Fatal(err)
	}
	name := func(asked string) string {
		c, err := cfg.GetCertificate(&tls.ClientHelloInfo{ServerName: asked})
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.DNSNames[0]
	}
	for asked, want := range map[string]string{"": "mx.example", "IMAP.other": "imap.other", "a.wild.other": "imap.other", "unknown\x00": "mx.example"} {
		if got := name(asked); got != want {
			t.Errorf("asked for %q: %q, want %q", asked, got, want)
		}
	}
	pair(t, filepath.Join(dir, "certs", "default"), "new.example")
	for _, hook := range e.onReload {
		hook(e.config)
	}
	if got := name(""); got != "new.example" {
		t.Errorf("after a reload: %q", got)
	}
	os.WriteFile(filepath.Join(dir, "certs", "default", "fullchain.pem"), []byte("torn"), 0o600)
	for _, hook := range e.onReload {
		hook(e.config)
	}
	if got := name(""); got != "new.example" {
		t.Errorf("after a broken reload: %q", got)
	}
}

func TestUnsafeOrMissingCertificateStopsTheStart(t *testing.T) {
	dir := t.TempDir()
	if _, err := env(t, dir).Certificate(true); err == nil || !strings.Contains(err.Error(), "no certificate; put") {
		t.Errorf("missing: %v", err)
	}
	pair(t, filepath.Join(dir, "certs", "default"), "mx.example")
	os.Chmod(filepath.Join(dir, "certs", "default", "privkey.pem"), 0o644)
	if _, err := env(t, dir).Certificate(true); err == nil || !strings.Contains(err.Error(), "chmod o=") {
		t.Errorf("world-readable key: %v", err)
	}
}

func TestGuardFollowsAReload(t *testing.T) {
	dir := t.TempDir()
	e := env(t, dir)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := e.Guarded(inner, e.Guard())
	defer l.Close()
	os.WriteFile(filepath.Join(dir, "proxy-networks"), []byte("127.0.0.0/8\n"), 0o600)
	for _, hook := range e.onReload {
		hook(env(t, dir).config)
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	fmt.Fprint(client, "PROXY TCP4 192.0.2.9 192.0.2.1 4000 110\r\n")
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.RemoteAddr().String(); got != "192.0.2.9:4000" {
		t.Errorf("a client behind a new proxy is %s", got)
	}
}
