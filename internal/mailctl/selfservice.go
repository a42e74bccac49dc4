package mailctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"peyk/internal/control"
)

// Modes of a domain's directory. With the sticky bit authd may replace what
// belongs to it, which is the users file, and nothing else of the directory.
const (
	sharedMode  = fs.ModeSetgid | fs.ModeSticky | 0o775
	privateMode = fs.ModeSetgid | 0o755
)

func (t *tool) selfServiceCommand() *cli.Command {
	return &cli.Command{Name: "self-service", Usage: "let authd replace the users file of a domain, so that its users can change their passwords", ArgsUsage: "DOMAIN",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "off", Usage: "take that back"}}, Action: t.selfService}
}

func (t *tool) selfService(c *cli.Context) error {
	domain, err := oneArg(c, "a domain")
	if err != nil {
		return err
	}
	domains, _, config, err := t.tables(c)
	if err != nil {
		return err
	}
	if domain, err = domainName(domain); err != nil {
		return err
	}
	if err := mustBeLocal(domain, domains); err != nil {
		return err
	}
	dir := config.Path("domains", domain)
	if c.Bool("off") {
		return withdraw(dir)
	}
	if !config.Bool(control.PasswordChange) {
		fmt.Fprintf(t.err, "mailctl: this has no effect before %s says yes\n", config.Path(control.PasswordChange.Name))
	}
	return share(config, dir)
}

// share gives the users file to whom the directory of authd's state belongs:
// that is authd.
func share(config *control.Config, dir string) error {
	var authd unix.Stat_t
	state := config.Text(control.AuthState)
	if err := unix.Stat(state, &authd); err != nil {
		return fmt.Errorf("cannot tell who authd is: %w", &fs.PathError{Op: "stat", Path: state, Err: err})
	}
	uid, gid := int(authd.Uid), int(authd.Gid)
	if err := os.Chown(dir, -1, gid); err != nil {
		return err
	}
	if err := os.Chmod(dir, sharedMode); err != nil {
		return err
	}
	if err := os.Chown(filepath.Dir(dir)+"/.lock", -1, gid); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := os.Chown(filepath.Join(dir, "users"), uid, gid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // mailctl user add gives it away
	}
	return err
}

func withdraw(dir string) error {
	if err := os.Chmod(dir, privateMode); err != nil {
		return err
	}
	err := os.Chown(filepath.Join(dir, "users"), os.Geteuid(), -1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// shareAgain gives a users file away that was just made, where others of its
// kind are.
func shareAgain(config *control.Config, domain string) error {
	dir := config.Path("domains", domain)
	info, err := os.Stat(dir)
	if err != nil || info.Mode()&(fs.ModeSticky|0o020) != fs.ModeSticky|0o020 {
		return err
	}
	return share(config, dir)
}
