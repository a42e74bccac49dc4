package deliver

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/status"
	"peyk/internal/sysexits"
)

// programPath is where the programs of .forward files are looked for.
const programPath = "/usr/local/bin:/usr/bin:/bin"

func dirOf(home, file string) string { return filepath.Dir(filepath.Join(home, file)) }

// runProgram runs a program of a .forward file, without a shell, with the
// message on its standard input. Its exit status says what became of the
// message (sysexits(3)).
func (a *Agent) runProgram(ctx context.Context, t *transaction, r *recipient, args []string) error {
	path, err := findProgram(args[0])
	if err != nil {
		return programError(err)
	}
	ctx, cancel := context.WithTimeout(ctx, a.policy().PipeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Dir = r.home
	cmd.Env = programEnv(t, r)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with all that it started
	cmd.WaitDelay = time.Second
	var said tail
	cmd.Stdout, cmd.Stderr = &said, &said
	err = a.feed(cmd, t, r)
	a.o.Log.Event(eventlog.ForwardProgram, "recipient", r.Address, "command", path, "status", exitText(err), "output", said.String())
	return exitError(err)
}

func findProgram(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	if strings.Contains(name, "/") {
		return "", errors.New("the path of a program must be absolute")
	}
	for dir := range strings.SplitSeq(programPath, ":") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// programEnv is the whole environment of a program. The values come from the
// network: they stand in variables, where no shell parses them.
func programEnv(t *transaction, r *recipient) []string {
	return []string{"PATH=" + programPath, "HOME=" + r.home, "USER=" + r.account, "LOGNAME=" + r.account,
		"SENDER=" + t.mail.Sender, "RECIPIENT=" + r.Address, "LOCAL=" + r.addr.Local, "DOMAIN=" + r.addr.Domain,
		"EXTENSION=" + r.detail, "QUEUEID=" + t.mail.Ident}
}

// feed runs the command with the message as its input. A program that does
// not read all of it is within its rights.
func (a *Agent) feed(cmd *exec.Cmd, t *transaction, r *recipient) error {
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	written := t.msg.plainText(in, r.Address)
	in.Close()
	err = cmd.Wait()
	if err == nil && written != nil && !errors.Is(written, syscall.EPIPE) {
		return written
	}
	return err
}

func programError(err error) error {
	return status.New(451, "4.3.0", "cannot run the program of this account").Because("run program", err)
}

// exitError turns the end of a program into a status. Only the statuses that
// sysexits(3) makes permanent are; whatever else happened, the mail waits.
func exitError(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err == nil {
			return nil
		}
		return programError(err)
	}
	text := "the program of this account refused the message"
	switch exit.ExitCode() {
	case sysexits.NoUser:
		return status.New(550, "5.1.1", text).Because("", err)
	case sysexits.NoPerm:
		return status.New(550, "5.7.1", text).Because("", err)
	case sysexits.CantCreat:
		return status.New(552, "5.2.2", text).Because("", err)
	case sysexits.DataErr, sysexits.NoInput, sysexits.Unavailable, sysexits.NoHost:
		return status.New(554, "5.3.0", text).Because("", err)
	}
	return programError(err)
}

func exitText(err error) string {
	if err == nil {
		return "0"
	}
	return err.Error()
}

// tail keeps the beginning of what a program says, for the log.
type tail struct{ b bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	if room := 500 - t.b.Len(); room > 0 {
		t.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string { return strings.TrimSpace(t.b.String()) }
