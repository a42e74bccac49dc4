package pop3d

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asProgram makes the test binary be pop3d.
const asProgram = "PEYK_TEST_POP3D"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main(os.Args))
	}
	os.Exit(m.Run())
}

// process is a pop3d of its own on two pipes.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startProcess(t *testing.T, args ...string) *process {
	p := &process{cmd: exec.Command(os.Args[0], append([]string{"-control", t.TempDir()}, args...)...)}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	return p
}

func (p *process) say(t *testing.T, line, want string) {
	t.Helper()
	if line != "" {
		io.WriteString(p.in, line+"\r\n")
	}
	got, err := p.out.ReadString('\n')
	if !strings.HasPrefix(got, want) {
		t.Fatalf("%s: got %q, %v; want %q", line, got, err, want)
	}
}

// TestPreauthProcess is one session over pipes, as ssh makes it; kill -9
// between DELE and QUIT removes nothing and leaves no lock that stays.
func TestPreauthProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	makeMaildir(t, dir, people["mrose"].messages)

	killed := startProcess(t, "-preauth", dir)
	killed.say(t, "", "+OK")
	killed.say(t, "DELE 1", "+OK")
	second := startProcess(t, "-preauth", dir)
	second.say(t, "", "-ERR [IN-USE]")
	killed.cmd.Process.Kill()
	killed.cmd.Wait()

	p := startProcess(t, "-preauth", dir)
	p.say(t, "", "+OK")
	p.say(t, "STAT", "+OK 2 320")
	p.say(t, "DELE 1", "+OK")
	p.say(t, "QUIT", "+OK 1 messages removed")
	if _, err := p.out.ReadByte(); err != io.EOF {
		t.Fatalf("got %v", err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "cur", "1*")); len(files) != 1 {
		t.Fatalf("left: %q", files)
	}
}

func TestStdinProcess(t *testing.T) {
	p := startProcess(t, "-stdin")
	p.say(t, "", "+OK")
	p.say(t, "USER alice", "+OK") // a pipe is private: no TLS is asked for
	p.say(t, "PASS x", "-ERR [SYS/TEMP]")
	p.in.Close()
	if _, err := p.out.ReadByte(); err != io.EOF {
		t.Fatalf("got %v", err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestKillDuringUpdate: kill -9 in the midst of what QUIT does. Each message
// is there whole or gone, none is gone that was not to be removed, and the
// next session finds no lock.
func TestKillDuringUpdate(t *testing.T) {
	const n = 200
	text := "Subject: x\n\n" + strings.Repeat("0123456789\n", 300)
	cut := 0
	for round := range 6 {
		dir := filepath.Join(t.TempDir(), "m")
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		kept := map[string]bool{}
		for i := range n {
			name := fmt.Sprintf("%d.M%dP1.h:2,", 1_700_000_000+i, i)
			if err := os.WriteFile(filepath.Join(dir, "cur", name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			kept[name[:len(name)-3]] = i%3 == 0
		}
		p := startProcess(t, "-preauth", dir)
		p.say(t, "", "+OK")
		for i := range n {
			if i%3 != 0 {
				p.say(t, fmt.Sprint("DELE ", i+1), "+OK")
			}
		}
		io.WriteString(p.in, "QUIT\r\n")
		for victim := fmt.Sprintf("%s/cur/%d.M%dP1.h:2,", dir, 1_700_000_001+15*round, 1+15*round); ; {
			if _, err := os.Lstat(victim); err != nil {
				break // some are gone, others are not
			}
		}
		p.cmd.Process.Kill()
		p.cmd.Wait()
		left := messagesOf(t, dir)
		for name, content := range left {
			if content != text {
				t.Fatalf("%s is not whole: %d octets", name, len(content))
			}
		}
		for name, stays := range kept {
			if _, here := left[name]; stays && !here {
				t.Errorf("%s is gone, and nobody asked for that", name)
			}
		}
		if len(left) > (n+2)/3 {
			cut++
		}
		again := startProcess(t, "-preauth", dir)
		again.say(t, "", "+OK")
		again.say(t, "STAT", fmt.Sprintf("+OK %d ", len(left)))
		again.say(t, "QUIT", "+OK")
	}
	t.Logf("%d of 6 kills came before the end", cut)
}

// messagesOf reads the messages of a Maildir, by the base of their names.
func messagesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	paths, _ := filepath.Glob(filepath.Join(dir, "[cn]*", "*:2,*"))
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		base, _, _ := strings.Cut(filepath.Base(path), ":")
		all[base] = string(b)
	}
	return all
}
