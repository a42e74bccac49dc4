package mailctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"peyk/internal/control"
	"peyk/internal/dovecotauth"
	"peyk/internal/status"
)

func (t *tool) passwdCommand() *cli.Command {
	return &cli.Command{Name: "passwd", Usage: "change the own password; reads the old one, the new one and perhaps a code from stdin", ArgsUsage: "USER@DOMAIN",
		Flags: []cli.Flag{&cli.StringFlag{Name: "socket", Usage: "ask authd on `PATH`, instead of the one in the control auth-socket"}}, Action: t.passwd}
}

// passwdTime is how long authd may take: it holds those up who fail.
const passwdTime = time.Minute

// passwd asks authd, which alone may write. Whoever runs it need not be able to
// read anything of the configuration but the path of the socket.
func (t *tool) passwd(c *cli.Context) error {
	user, err := oneArg(c, "an address USER@DOMAIN")
	if err != nil {
		return err
	}
	socket := c.String("socket")
	if socket == "" {
		config, err := control.Load(c.String("control"), []*control.Setting{control.AuthSocket}, nil)
		if err != nil {
			return err
		}
		socket = config.Text(control.AuthSocket)
	}
	in := &asker{tool: t, lines: bufio.NewReader(io.LimitReader(t.in, 4*longestPassword))}
	old, password, err := in.passwords()
	if err != nil {
		return err
	}
	auth := dovecotauth.NewAuth(socket, dovecotauth.Options{Timeout: passwdTime, Rand: t.rand})
	defer auth.Close()
	ctx, cancel := context.WithTimeout(context.Background(), passwdTime)
	defer cancel()
	err = auth.ChangePassword(ctx, user, old, password, "")
	if errors.Is(err, dovecotauth.ErrNeedCode) {
		code, asked := in.line("Code of the second factor, or a recovery code: ", false)
		if asked != nil {
			return asked
		}
		err = auth.ChangePassword(ctx, user, old, password, strings.TrimSpace(code))
	}
	if st := status.Of(err); err != nil && !st.Temporary() {
		return status.New(535, "5.7.8", "the password was not changed: the old one, or the code, is wrong, or the administrator does not allow it").Because("ask authd", st.Err)
	}
	if err == nil {
		fmt.Fprintln(t.err, "mailctl: the password was changed")
	}
	return err
}

// asker asks people on a terminal, and reads lines elsewhere.
type asker struct {
	*tool
	lines *bufio.Reader
}

// passwords returns the old password and the new one.
func (a *asker) passwords() (old, password string, err error) {
	if old, err = a.line("Current password: ", true); err != nil {
		return "", "", err
	}
	if password, err = a.line("New password: ", true); err != nil {
		return "", "", err
	}
	if a.terminal() {
		again, err := a.line("Again: ", true)
		if err != nil {
			return "", "", err
		}
		if again != password {
			return "", "", usagef("the two passwords differ; nothing was changed")
		}
	}
	password, err = goodPassword(password)
	return old, password, err
}

func (a *asker) terminal() bool {
	f, ok := a.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// line asks for one line, which a terminal does not show if it is secret.
func (a *asker) line(text string, secret bool) (string, error) {
	if a.terminal() && secret {
		return a.prompt(a.in.(*os.File), text)
	}
	if a.terminal() {
		fmt.Fprint(a.err, text)
	}
	line, err := a.lines.ReadString('\n')
	if err != nil && (line == "" || !errors.Is(err, io.EOF)) {
		return "", usagef("expected the old password, the new one, and the code if there is a second factor, each on a line of its own")
	}
	return strings.TrimRight(line, "\r\n"), nil
}
