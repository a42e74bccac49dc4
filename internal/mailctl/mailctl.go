// Package mailctl is the administrator's tool: it looks at and changes
// domains, accounts, aliases, the queue, mailboxes and the configuration, runs
// a sandbox, and tells from the logs why something happened.
//
// Data goes to stdout, words to stderr; -json prints one object a line; what
// destroys has a -dry-run. Names that came from outside are escaped when they
// are printed, so that no file name or address can drive a terminal.
package mailctl

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/urfave/cli/v2"

	"peyk/internal/commit"
	"peyk/internal/control"
	"peyk/internal/status"
	"peyk/internal/sysexits"
	"peyk/internal/table"
	"peyk/internal/version"
)

// tool is one run of mailctl: where it reads, writes, and which configuration
// it works on.
type tool struct {
	in       io.Reader
	out, err io.Writer
	disk     *commit.Disk
	now      func() time.Time
	rand     io.Reader
}

// Main runs mailctl and returns its exit status (sysexits(3)).
func Main(args []string) int {
	// The programs must be able to read what root makes with a narrow umask;
	// whatever is secret is created with a mode of its own.
	syscall.Umask(0o022)
	t := &tool{in: os.Stdin, out: os.Stdout, err: os.Stderr, disk: new(commit.Disk), now: time.Now, rand: rand.Reader}
	return t.run(args)
}

func (t *tool) run(args []string) int {
	err := t.app().Run(asked(bareByH(args)))
	if err == nil {
		return sysexits.OK
	}
	for _, one := range split(err) {
		fmt.Fprintf(t.err, "mailctl: %s\n", printable(one.Error()))
	}
	return exitStatus(err)
}

// A usageError is a command line that cannot be obeyed.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

func exitStatus(err error) int {
	var usage usageError
	var file *control.FileError
	var line *table.LineError
	var wrong wrongMail
	var e *status.Error
	switch {
	case errors.As(err, &usage):
		return sysexits.Usage
	case errors.As(err, &wrong):
		return sysexits.DataErr
	case errors.As(err, &file), errors.As(err, &line):
		return sysexits.Config
	case errors.As(err, &e):
		return e.Exit()
	case errors.Is(err, os.ErrPermission):
		return sysexits.NoPerm
	case errors.Is(err, os.ErrNotExist):
		return sysexits.NoInput
	}
	return sysexits.Unavailable
}

func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func (t *tool) app() *cli.App {
	app := &cli.App{
		Name:  "mailctl",
		Usage: "look at and change a Peyk mail server",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "control", Usage: "work on the configuration in `DIR`", Value: control.DefaultDir, EnvVars: []string{"PEYK_CONTROL"}},
			&cli.BoolFlag{Name: "version", Usage: "print the version, and exit"},
		},
		Commands: []*cli.Command{
			t.sandboxCommand(), t.configCommand(), t.domainCommand(), t.userCommand(), t.passwdCommand(), t.aliasCommand(),
			t.queueCommand(), t.mailboxCommand(), t.aclCommand(), t.logCommand(), t.completionCommand(), t.versionCommand(),
		},
		Reader: t.in, Writer: t.out, ErrWriter: t.err,
		HideVersion:               true,
		EnableBashCompletion:      true,
		DisableSliceFlagSeparator: true,
		ExitErrHandler:            func(*cli.Context, error) {},
		OnUsageError:              onUsageError,
		Action:                    unknownCommand,
	}
	for _, c := range app.Commands {
		t.finish(c)
	}
	app.BashComplete = t.complete(app.Flags, app.Commands, "")
	return app
}

// finish gives a command and those below it one behaviour on errors.
func (t *tool) finish(c *cli.Command) {
	c.OnUsageError = onUsageError
	c.HideHelpCommand = true
	c.BashComplete = t.complete(c.Flags, c.Subcommands, c.ArgsUsage)
	switch {
	case len(c.Subcommands) > 0 && c.Action == nil:
		c.Action = unknownCommand
	case c.ArgsUsage == "":
		c.Action = withoutArgs(c.Action)
	}
	for _, sub := range c.Subcommands {
		t.finish(sub)
	}
}

// withoutArgs refuses what a command would not look at.
func withoutArgs(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() {
			return usagef("unexpected argument %q; see %s -help", c.Args().First(), c.Command.HelpName)
		}
		return action(c)
	}
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	return usagef("%v; see %s -help", err, c.Command.HelpName)
}

func unknownCommand(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("unknown command %q; see %s -help", c.Args().First(), c.Command.HelpName)
	}
	if c.Bool("version") {
		return printVersion(c)
	}
	cli.ShowSubcommandHelp(c)
	return usagef("say which command; see %s -help", c.Command.HelpName)
}

func (t *tool) versionCommand() *cli.Command {
	return &cli.Command{Name: "version", Usage: "print the version", Action: printVersion}
}

func printVersion(c *cli.Context) error {
	_, err := fmt.Fprintf(c.App.Writer, "peyk %s\n", version.Version)
	return err
}

// config reads the whole configuration.
func (t *tool) config(c *cli.Context) (*control.Config, error) {
	dir := c.String("control")
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w; name its directory with mailctl -control DIR or PEYK_CONTROL", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("cannot read the configuration: %s is not a directory", dir)
	}
	return control.Load(dir, control.All(), nil)
}

// Flags of several commands.
var (
	jsonFlag   = &cli.BoolFlag{Name: "json", Usage: "print one JSON object a line"}
	dryRunFlag = &cli.BoolFlag{Name: "dry-run", Usage: "say what would be done, and do nothing"}
)

// object prints one line of JSON.
func (t *tool) object(v any) error {
	enc := json.NewEncoder(t.out)
	enc.SetEscapeHTML(false) // a terminal is no web page
	return enc.Encode(v)
}

// oneArg returns the only argument of a command.
func oneArg(c *cli.Context, what string) (string, error) {
	if slices.ContainsFunc(c.Args().Tail(), func(arg string) bool { return strings.HasPrefix(arg, "-") }) {
		return "", usagef("expected one argument, %s; flags stand before it", what)
	}
	if c.NArg() != 1 {
		return "", usagef("expected one argument, %s; see %s -help", what, c.Command.HelpName)
	}
	return c.Args().First(), nil
}

// printable escapes what could drive a terminal or forge a line.
func printable(s string) string {
	clean := true
	for _, r := range s {
		if r != ' ' && !unicode.IsGraphic(r) || r == unicode.ReplacementChar {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	return strings.Trim(strconv.QuoteToGraphic(s), `"`)
}
