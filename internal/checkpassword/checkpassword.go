// Package checkpassword asks a program of the checkpassword interface
// (https://cr.yp.to/checkpwd/interface.html) whether a login is good: the
// program reads name, password and a timestamp from descriptor 3, and runs
// its arguments if they are right.
package checkpassword

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"peyk/internal/status"
)

// maxLogin is how much a program is promised to read, in octets.
const maxLogin = 512

// killDelay is how long a program has to end after its context did.
const killDelay = time.Second

// Exit statuses of the interface. Every other one is a temporary failure.
const (
	exitWrong  = 1
	exitMisuse = 2
)

// Check runs program and returns nil if the login is good. The error is a
// *status.Error: 535 5.7.8 when it is not, 454 4.7.0 when nobody can tell. No
// shell is involved, and the program sees nothing of our environment but PATH.
func Check(ctx context.Context, program []string, user, password string) error {
	login := user + "\x00" + password + "\x00" + "0" + "\x00"
	if user == "" || password == "" || strings.Count(login, "\x00") != 3 || len(login) > maxLogin {
		return refused(errors.New("not a name and a password that the interface can carry"))
	}
	if len(program) == 0 {
		return noAnswer(errors.New("no program given"))
	}
	return verdict(run(ctx, program, login))
}

// run starts the program with the login on descriptor 3 and true(1) as what it
// shall become.
func run(ctx context.Context, program []string, login string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.WriteString(login); err != nil { // fits: a pipe holds 4,096 octets and more
		return err
	}
	w.Close()
	cmd := exec.CommandContext(ctx, program[0], append(slices.Clone(program[1:]), "true")...)
	cmd.ExtraFiles = []*os.File{r} // descriptor 3
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.WaitDelay = killDelay
	return cmd.Run()
}

// verdict reads the exit status.
func verdict(err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() == exitWrong:
		return refused(errors.New("the program refused it"))
	case errors.As(err, &exit) && exit.ExitCode() == exitMisuse:
		return noAnswer(errors.New("the program says that it is called wrongly"))
	}
	return noAnswer(fmt.Errorf("run the program: %w", err))
}

func refused(err error) *status.Error {
	return status.New(535, "5.7.8", "cannot log in: user name or password is wrong").Because("checkpassword", err)
}

func noAnswer(err error) *status.Error {
	return status.New(454, "4.7.0", "cannot check logins now, try again later").Because("checkpassword", err)
}
