// Package daemon is the frame that Peyk's daemons hang in: the command line
// made from the declared settings, the log, reload on SIGHUP, the drain on
// SIGTERM, the sockets of systemd, the notice that the program is ready, and
// the sandbox. What remains in a program is what only that program does.
package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"peyk/internal/commit"
	"peyk/internal/control"
	"peyk/internal/eventlog"
	"peyk/internal/status"
	"peyk/internal/sysexits"
	"peyk/internal/version"
)

// DrainTime is how long sessions may finish after SIGTERM.
const DrainTime = 10 * time.Second

// A Program is what is particular to one daemon.
type Program struct {
	Name   string     // as in the manual, such as "pop3d"
	Usage  string     // one line, the .Nd of its manual page
	Args   string     // what may follow the flags, for the usage line
	Flags  []cli.Flag // its own flags, besides one for each setting
	Powers func(*control.Config) Powers
	Run    func(context.Context, *Env) error // ends when its context does; nil is a clean end
}

// Env is what the frame hands to a program.
type Env struct {
	Name  string
	Log   *eventlog.Log
	Disk  *commit.Disk
	Now   func() time.Time
	Rand  io.Reader
	Flags *cli.Context // the program's own flags and arguments

	program  Program
	mu       sync.Mutex
	config   *control.Config
	onReload []func(*control.Config)
}

// Main runs a daemon and returns its exit status (sysexits(3)).
func Main(p Program, args []string) int {
	exit := sysexits.OK
	app := newApp(p, func(c *cli.Context) error {
		exit = start(p, c)
		return nil
	})
	if err := app.Run(args); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v; see %s -help\n", p.Name, err, p.Name)
		return sysexits.Usage
	}
	return exit
}

func newApp(p Program, action cli.ActionFunc) *cli.App {
	return &cli.App{
		Name:                      p.Name,
		Usage:                     p.Usage,
		ArgsUsage:                 p.Args,
		Flags:                     allFlags(p),
		Action:                    action,
		HideVersion:               true,
		HideHelpCommand:           true,
		OnUsageError:              func(_ *cli.Context, err error, _ bool) error { return err },
		ExitErrHandler:            func(*cli.Context, error) {},
		DisableSliceFlagSeparator: true,
	}
}

// allFlags returns the flags of every daemon, the program's own, and one for
// each setting that it reads.
func allFlags(p Program) []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "control", Usage: "read the configuration in `DIR`", Value: control.DefaultDir, EnvVars: []string{"PEYK_CONTROL"}},
		&cli.BoolFlag{Name: "powers", Usage: "print what the program may do once it runs, and exit"},
		&cli.BoolFlag{Name: "version", Usage: "print the version, and exit"},
	}
	flags = append(flags, p.Flags...)
	for _, s := range control.Of(p.Name) {
		flags = append(flags, &cli.StringFlag{Name: s.Name, Usage: s.Help, DefaultText: s.Default, Category: "SETTINGS (see peyk-control(5))"})
	}
	return flags
}

func start(p Program, c *cli.Context) int {
	if c.Bool("version") {
		fmt.Printf("%s %s\n", p.Name, version.Version)
		return sysexits.OK
	}
	e := &Env{Name: p.Name, Disk: new(commit.Disk), Now: time.Now, Rand: rand.Reader, Flags: c, program: p}
	config, err := e.load()
	if err != nil {
		return badConfig(p.Name, err)
	}
	e.config = config
	if c.Bool("powers") {
		p.powers(config).print(os.Stdout, p.Name)
		return sysexits.OK
	}
	e.Log = eventlog.New(os.Stderr, p.Name, logFormat(config), e.Now)
	return e.run()
}

func (p Program) powers(c *control.Config) Powers {
	var powers Powers
	if p.Powers != nil {
		powers = p.Powers(c)
	}
	powers.ReadOnly = append([]string{c.Dir()}, powers.ReadOnly...)
	powers.ReadOnly = append(powers.ReadOnly, certificateDirs(c)...)
	return powers
}

func logFormat(c *control.Config) eventlog.Format {
	if c.Text(control.LogFormat) == "json" {
		return eventlog.JSON
	}
	return eventlog.Logfmt
}

// badConfig prints each error on a line of its own.
func badConfig(name string, err error) int {
	for _, e := range split(err) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, e)
	}
	return sysexits.Config
}

func split(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func (e *Env) load() (*control.Config, error) {
	dir := e.Flags.String("control")
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w; name its directory with -control", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("cannot read the configuration: %s is not a directory", dir)
	}
	settings := control.Of(e.Name)
	given := make(map[string]string)
	for _, s := range settings {
		if e.Flags.IsSet(s.Name) {
			given[s.Name] = e.Flags.String(s.Name)
		}
	}
	return control.Load(dir, settings, given)
}

// run runs the program until it ends or a signal ends it.
func (e *Env) run() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	go e.obey(signals, cancel)

	e.Log.Event(eventlog.Started, "version", version.Version, "pid", os.Getpid(), "control", e.Config().Dir())
	err := e.program.Run(ctx, e)
	code := exitStatus(ctx, err)
	e.Log.Event(eventlog.Stopped, "status", code, "error", err)
	return code
}

// obey turns signals into a reload, a drain, or, the second time, an end at
// once.
func (e *Env) obey(signals <-chan os.Signal, cancel context.CancelFunc) {
	stopping := false
	for s := range signals {
		switch {
		case s == syscall.SIGHUP:
			e.reload()
		case stopping:
			os.Exit(sysexits.TempFail)
		default:
			stopping = true
			e.Log.Event(eventlog.Stopping, "signal", s.String())
			notify("STOPPING=1")
			cancel()
		}
	}
}

func exitStatus(ctx context.Context, err error) int {
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return sysexits.OK
	}
	var fe *control.FileError
	if errors.As(err, &fe) {
		return sysexits.Config
	}
	return status.Of(err).Exit()
}

// reload reads the configuration again; a bad one changes nothing.
func (e *Env) reload() {
	config, err := e.load()
	if err != nil {
		for _, one := range split(err) {
			e.Log.Event(eventlog.BadConfig, "error", one)
		}
		return
	}
	e.mu.Lock()
	e.config = config
	hooks := e.onReload
	e.mu.Unlock()
	for _, hook := range hooks {
		hook(config)
	}
	e.Log.Event(eventlog.Reloaded)
}

// Config returns the configuration in force; it is another one after SIGHUP.
func (e *Env) Config() *control.Config {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.config
}

// OnReload has f called with each new configuration.
func (e *Env) OnReload(f func(*control.Config)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onReload = append(e.onReload, f)
}

// Hostname returns the name of this host, as the control hostname or the
// system says.
func (e *Env) Hostname() string { return Hostname(e.Config()) }

// Hostname returns the name of this host by a configuration.
func Hostname(c *control.Config) string {
	if name := c.Text(control.Hostname); name != "" {
		return name
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		return name
	}
	return "localhost"
}

// Ready gives up the powers that the program does not need, and tells systemd
// and the log that it answers. Call it once everything is open.
func (e *Env) Ready() error {
	abi, err := e.program.powers(e.Config()).Confine()
	if err != nil {
		return fmt.Errorf("cannot enter the sandbox: %w", err)
	}
	e.Log.Event(eventlog.Sandboxed, "landlock", abi)
	notify("READY=1")
	e.Log.Event(eventlog.Ready)
	return nil
}
