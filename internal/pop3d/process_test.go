package pop3d

import (
	"bufio"
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
