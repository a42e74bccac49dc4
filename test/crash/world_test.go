package crash_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"peyk/test/crash/supervise"
	"peyk/test/sandbox"
)

// patience is how long anything may take on a machine that has other work.
const patience = 60 * time.Second

// answerTime is how long a daemon may take to answer again. It is judged where
// the machine is ours, in make crash.
const answerTime = 5 * time.Second

// A world is a place in which one path runs again and again: below base lie
// the configuration, the sockets and a running authd, below dir, whose files
// the faults are about, the mail and the queue.
type world struct {
	testing.TB
	bin     string
	base    string
	dir     string // base/w: made anew from a template before each run
	control string
	running []*supervise.Process // of this run
}

// newWorld makes a world; it lies in memory where it can, as the flushes are
// not what is tested here.
func newWorld(t testing.TB, bin string, settings ...string) *world {
	t.Helper()
	base, err := os.MkdirTemp("/dev/shm", "peyk-crash-")
	if err != nil {
		base, err = os.MkdirTemp("", "peyk-crash-")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	w := &world{TB: t, bin: bin, base: base, dir: base + "/w", control: base + "/control"}
	w.Cleanup(w.bury)
	w.writeControls(settings)
	w.startAuthd()
	return w
}

func (w *world) writeControls(settings []string) {
	w.Helper()
	home := ""
	values := map[string]string{"hostname": "mx.example.test", "spool": w.dir + "/spool", "mail-root": w.dir + "/mail",
		"auth-socket": w.base + "/auth.sock", "userdb-socket": w.base + "/userdb.sock", "deliver-socket": w.base + "/deliver.sock",
		"remote-socket": w.base + "/remote.sock", "listen-smtp": w.base + "/smtp.sock", "listen-submit": w.base + "/submit.sock",
		"limits-exempt": "127.0.0.0/8", "retry": "1s", "queue-poll": "1s", "mailbox-poll": "1s", "routes": "* 127.0.0.1:9", "imap-admins": "alice@example.test", "imap-plaintext-login": "127.0.0.0/8"}
	for _, s := range settings {
		name, value, ok := strings.Cut(s, "=")
		if ok {
			values[name] = value
		} else {
			home = w.dir + "/mail/home"
		}
	}
	for name, value := range values {
		w.write(w.control+"/"+name, value+"\n")
	}
	w.writeCertificate()
	w.write(w.control+"/domains/example.test/users", "alice:{PLAIN}secret::::"+home+"\nbob:{PLAIN}secret\n")
	w.write(w.control+"/domains/example.test/aliases", "postmaster: alice\n")
}

// writeCertificate makes the certificate without which some do not start.
func (w *world) writeCertificate() {
	w.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		w.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		w.Fatal(err)
	}
	dir := w.control + "/certs/default/"
	w.write(dir+"privkey.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
	w.write(dir+"fullchain.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
}

// write writes a file of the test, and the directories above it.
func (w *world) write(path, text string) {
	w.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

func (w *world) startAuthd() {
	w.Helper()
	log, err := os.Create(w.base + "/authd.log")
	if err != nil {
		w.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(w.bin+"/authd", "-control", w.control)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); cmd.Wait() })
	w.dial("userdb.sock").Close()
}

// dial connects to a socket below base, as soon as somebody listens there.
func (w *world) dial(name string) net.Conn {
	w.Helper()
	deadline := time.Now().Add(patience)
	for {
		conn, err := net.Dial("unix", w.base+"/"+name)
		if err == nil {
			return conn
		}
		if time.Now().After(deadline) {
			w.Fatalf("nobody listens: %v\n%s", err, w.log())
		}
		time.Sleep(time.Millisecond)
	}
}

// log returns what the daemons have logged in this run.
func (w *world) log() string {
	b, _ := os.ReadFile(w.base + "/log")
	return string(b)
}

// keep makes what is in dir the template of a name; reset puts it back.
func (w *world) keep(name string) {
	w.Helper()
	if err := os.Rename(w.dir, w.base+"/template-"+name); err != nil {
		w.Fatal(err)
	}
}

func (w *world) reset(name string) {
	w.Helper()
	w.bury()
	os.RemoveAll(w.dir)
	os.Remove(w.base + "/log")
	if err := copyTree(w.base+"/template-"+name, w.dir); err != nil {
		w.Fatal(err)
	}
}

// bury ends what a run that failed has left.
func (w *world) bury() {
	for _, p := range w.running {
		if !p.Ended() {
			p.WaitFor(0)
		}
	}
	w.running = nil
}

// copyTree copies directories and files, with their modes and times: caches
// know files by them. A second name of a file stays one.
func copyTree(from, to string) error {
	inodes := map[uint64]string{}
	type dir struct {
		path string
		info fs.FileInfo
	}
	var dirs []dir
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		if d.IsDir() {
			dirs = append(dirs, dir{target, info})
			return os.Mkdir(target, 0o700)
		}
		st := info.Sys().(*syscall.Stat_t)
		if first, ok := inodes[st.Ino]; ok {
			return os.Link(first, target)
		}
		inodes[st.Ino] = target
		return copyFile(path, target, info)
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- {
		os.Chmod(dirs[i].path, dirs[i].info.Mode())
		err = os.Chtimes(dirs[i].path, time.Time{}, dirs[i].info.ModTime())
	}
	return err
}

func copyFile(from, to string, info fs.FileInfo) error {
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, info.Mode().Perm())
	}
	if err == nil {
		err = os.Chtimes(to, time.Time{}, info.ModTime())
	}
	return err
}

// logFile opens the log of this run.
func (w *world) logFile() *os.File {
	w.Helper()
	f, err := os.OpenFile(w.base+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.Fatal(err)
	}
	return f
}

// start runs a program under supervision. Without a fault it is not counted.
func (w *world) start(fault supervise.Fault, looks bool, in *os.File, program string, args ...string) *supervise.Process {
	w.Helper()
	log := w.logFile()
	defer log.Close()
	p, err := supervise.Start(supervise.Options{Path: w.bin + "/" + program, Args: append([]string{"-control", w.control}, args...),
		Stdin: in, Stdout: in, Stderr: log, Dir: w.dir, Looks: looks, Fault: fault})
	if err != nil {
		w.Fatal(err)
	}
	w.running = append(w.running, p)
	return p
}

// socketpair returns the two ends of a stream: ours, and one for a program.
func (w *world) socketpair() (net.Conn, *os.File) {
	w.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		w.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		w.Fatal(err)
	}
	return conn, theirs
}

// tcpPair is socketpair with addresses.
func (w *world) tcpPair() (net.Conn, *os.File) {
	w.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		w.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		w.Fatal(err)
	}
	defer far.Close()
	theirs, err := far.(*net.TCPConn).File()
	if err != nil {
		w.Fatal(err)
	}
	return conn, theirs
}

// command is a program, with its configuration.
func (w *world) command(program string, args ...string) *exec.Cmd {
	return exec.Command(w.bin+"/"+program, append([]string{"-control", w.control}, args...)...)
}

// age makes everything below a directory look 40 hours older, for sweepers
// that spare what is young. Folders that were moved to tmp have their time in
// their name.
func age(dir string) {
	then := time.Now().Add(-40 * time.Hour)
	moved, _ := filepath.Glob(dir + "/tmp/*.*")
	for _, path := range moved {
		_, rest, _ := strings.Cut(filepath.Base(path), ".")
		os.Rename(path, fmt.Sprintf("%s/tmp/%d.%s", dir, then.Unix(), rest))
	}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink == 0 {
			os.Chtimes(path, then, then)
		}
		return nil
	})
}

// listing returns the paths of all files and empty directories below dir.
func listing(dir string) []string {
	var all []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != dir {
			all = append(all, strings.TrimPrefix(path, dir+"/"))
		}
		return nil
	})
	return all
}

// build returns the directory of the programs.
func build(t testing.TB) string {
	t.Helper()
	bin, err := sandbox.Build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// A run is one path under one fault.
type run struct {
	*world
	fault    supervise.Fault
	hit      bool
	call     supervise.Call
	calls    []supervise.Call
	problems []string
}

func (r *run) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// prompt complains of what took too long.
func (r *run) prompt(what string, start time.Time) {
	if took := time.Since(start); took > answerTime && os.Getenv("PEYK_CRASH") != "" {
		r.problem("%s took %v", what, took)
	}
}

// killed reports whether the fault is a death.
func (r *run) killed() bool { return r.fault.Action == supervise.Kill }

// note remembers what the supervisor saw.
func (r *run) note(p *supervise.Process) {
	if r.hit {
		return
	}
	r.call, r.hit = p.Injected()
	r.calls = p.Calls()
}
