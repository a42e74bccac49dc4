package power_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that is not measured.
const patience = 60 * time.Second

// domain is the only one; its accounts are u0, u1, …
const domain = "example.test"

// accounts is how many there are.
const accounts = 4

func accountName(i int) string { return fmt.Sprintf("u%d", i) }

// A system is the programs at work on one mounted disk. What must last lies on
// the disk: control/, spool/ and mail/. The sockets lie elsewhere.
type system struct {
	bin  string // where the programs are
	disk string // where the file system is mounted
	run  string // for sockets and logs
	smtp string // address of smtpd
	imap string // address of imapd

	procs []*exec.Cmd
	torn  []string // what the last check found broken off
}

func (s *system) maildir(account string) string {
	return filepath.Join(s.disk, "mail", domain, account, "Maildir")
}

func (s *system) socket(name string) string { return filepath.Join(s.run, name) }

// flags are the settings of a program that depend on where the disk is.
func (s *system) flags(program string) []string {
	spool, mail := []string{"-spool", s.disk + "/spool"}, []string{"-mail-root", s.disk + "/mail"}
	userdb := []string{"-userdb-socket", s.socket("userdb.sock")}
	deliver := []string{"-deliver-socket", s.socket("deliver.sock")}
	auth := []string{"-auth-socket", s.socket("auth.sock")}
	own := map[string][]string{
		"authd":     join(auth, userdb, mail),
		"deliver":   join(spool, mail, userdb, deliver),
		"queue-run": join(spool, deliver, userdb, []string{"-remote-socket", s.socket("remote.sock"), "-retry", "1s"}),
		"smtpd":     join(spool, auth, userdb, []string{"-limits-exempt", "0.0.0.0/0", "-listen-submission", "", "-listen-submissions", "", "-listen-submit", ""}),
		"imapd":     join(mail, auth, userdb, []string{"-limits-exempt", "0.0.0.0/0", "-imap-plaintext-login", "0.0.0.0/0"}),
	}
	return append([]string{"-control", s.disk + "/control"}, own[program]...)
}

func join(lists ...[]string) (all []string) {
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// command is one of the programs. It dies with us.
func (s *system) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), append(s.flags(program), args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + s.run}
	cmd.Dir = s.run
	return cmd
}

// start starts daemons in the given order and returns when they answer.
func (s *system) start(programs ...string) error {
	for _, program := range programs {
		if err := s.launch(program); err != nil {
			s.kill()
			return fmt.Errorf("%s: %w", program, err)
		}
	}
	return nil
}

func (s *system) launch(program string) error {
	var cmd *exec.Cmd
	switch program {
	case "deliver":
		cmd = s.command(program, "-listen")
	case "smtpd", "imapd":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		cmd = s.activated(program, l)
	default:
		cmd = s.command(program)
	}
	notice, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.socket("notify"), Net: "unixgram"})
	if err != nil {
		return err
	}
	defer os.Remove(s.socket("notify"))
	defer notice.Close()
	log, err := os.OpenFile(s.socket("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+s.socket("notify"))
	if err := cmd.Start(); err != nil {
		return err
	}
	s.procs = append(s.procs, cmd)
	notice.SetReadDeadline(time.Now().Add(patience))
	if _, err := notice.Read(make([]byte, 256)); err != nil {
		return fmt.Errorf("it does not get ready: %w\n%s", err, s.log())
	}
	return nil
}

// activated is a daemon that is given its socket as systemd gives it.
func (s *system) activated(program string, l net.Listener) *exec.Cmd {
	name := strings.TrimSuffix(program, "d")
	if name == "smtp" {
		s.smtp = l.Addr().String()
	} else {
		s.imap = l.Addr().String()
	}
	daemon := s.command(program)
	cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, daemon.Args...)...)
	cmd.Env = append(daemon.Env, "LISTEN_FDS=1", "LISTEN_FDNAMES="+name)
	cmd.Dir = daemon.Dir
	if f, err := l.(*net.TCPListener).File(); err == nil {
		cmd.ExtraFiles = []*os.File{f}
	}
	return cmd
}

func (s *system) log() string {
	b, _ := os.ReadFile(s.socket("log"))
	return string(b[max(0, len(b)-4000):])
}

// kill ends all daemons at once, as the power does.
func (s *system) kill() {
	for _, cmd := range s.procs {
		cmd.Process.Kill()
	}
	for _, cmd := range s.procs {
		cmd.Wait()
		for _, f := range cmd.ExtraFiles {
			f.Close()
		}
	}
	s.procs = nil
}

// once runs a program to its end and returns what it printed.
func (s *system) once(stdin, program string, args ...string) (string, error) {
	cmd := s.command(program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %q: %w: %s", program, args, err, errs.String())
	}
	return out.String(), nil
}

// session runs a program that serves one session on standard input and output.
func (s *system) session(program string, args ...string) (net.Conn, *exec.Cmd, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, err
	}
	cmd := s.command(program, args...)
	cmd.Stdin, cmd.Stdout = theirs, theirs
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, cmd, nil
}

// makeDisk makes the image of a disk with an empty system on it.
func makeDisk(t *testing.T, bin, dir string) (image string) {
	t.Helper()
	image = filepath.Join(dir, "empty.img")
	if err := mkfs(image); err != nil {
		t.Fatal(err)
	}
	s := &system{bin: bin, disk: filepath.Join(dir, "m"), run: filepath.Join(dir, "run")}
	mounted(t, image, s.disk)
	err := s.furnish()
	s.kill()
	unmounted(t, s.disk)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// furnish makes the configuration and the accounts.
func (s *system) furnish() error {
	home := filepath.Join(s.disk, "control", "domains", domain)
	certs := filepath.Join(s.disk, "control", "certs", "default")
	err := errors.Join(os.MkdirAll(home, 0o700), os.MkdirAll(certs, 0o700), os.Mkdir(filepath.Join(s.disk, "mail"), 0o700), os.Mkdir(filepath.Join(s.disk, "spool"), 0o751))
	if err != nil {
		return err
	}
	var users strings.Builder
	for i := range accounts {
		fmt.Fprintf(&users, "%s:{PLAIN}secret::::::\n", accountName(i))
	}
	cert, key, err := certificate()
	for path, data := range map[string][]byte{
		filepath.Join(home, "users"):                 []byte(users.String()),
		filepath.Join(s.disk, "control", "hostname"): []byte("mx.example.test\n"),
		filepath.Join(certs, "fullchain.pem"):        cert,
		filepath.Join(certs, "privkey.pem"):          key,
	} {
		err = errors.Join(err, os.WriteFile(path, data, 0o600))
	}
	if err != nil {
		return err
	}
	return s.start("authd", "deliver", "queue-run") // they make the rest
}

// certificate makes one that nobody verifies, because imapd wants one.
func certificate() (cert, key []byte, err error) {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(secret)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), err
}
