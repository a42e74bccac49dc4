package mailctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"peyk/internal/control"
	"peyk/internal/nameserver"
)

// A sandbox is the whole system for one person on one machine: a private
// configuration, queue, mail store and certificate below one directory, every
// daemon as a child process on loopback ports, and two accounts.
type sandbox struct {
	tool     *tool
	dir      string // absolute
	bin      string // where the programs are
	sockets  string // directory of the Unix sockets
	basePort int
	dns      bool
	settings []string // NAME=VALUE of -set
	users    [2]account
	fresh    bool            // DIR was not a sandbox before
	lock     *os.File        // held against a second sandbox in DIR
	config   *control.Config // as written for this run
}

type account struct{ address, password, maildir string }

func (t *tool) sandboxCommand() *cli.Command {
	return &cli.Command{Name: "sandbox", Usage: "run the whole system in one directory, without root", Flags: []cli.Flag{
		&cli.StringFlag{Name: "dir", Usage: "keep everything below `DIR`", Value: "sandbox"},
		&cli.IntFlag{Name: "base-port", Usage: "put SMTP on port `N`+25, IMAP on N+143 and so on; default: as before, or the first free of 10000, 11000 …"},
		&cli.StringSliceFlag{Name: "set", Usage: "write a control file first: `NAME=VALUE`, with \\n between the lines of a list"},
		&cli.BoolFlag{Name: "dns", Usage: "run a small DNS server too, on port N+53, from the lines of DIR/zone"},
	}, Action: t.sandbox}
}

// services are the listening services of a sandbox: the name in sandbox.env,
// the control file, and the offset from the base port.
var services = []struct {
	env     string
	setting *control.Setting
	offset  int
}{
	{"PEYK_SMTP", control.ListenSMTP, 25},
	{"PEYK_SUBMISSION", control.ListenSubmission, 587},
	{"PEYK_SUBMISSIONS", control.ListenSubmissions, 465},
	{"PEYK_IMAP", control.ListenIMAP, 143},
	{"PEYK_IMAPS", control.ListenIMAPS, 993},
	{"PEYK_POP3", control.ListenPOP3, 110},
	{"PEYK_POP3S", control.ListenPOP3S, 995},
}

func (t *tool) sandbox(c *cli.Context) error {
	s := &sandbox{tool: t, dns: c.Bool("dns"), settings: c.StringSlice("set"), basePort: c.Int("base-port")}
	if c.IsSet("base-port") && !goodBase(s.basePort) {
		return usagef("cannot use base port %d; expected 1 to %d", s.basePort, lastBase)
	}
	if err := s.prepare(c.String("dir")); err != nil {
		return err
	}
	defer s.lock.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return s.run(ctx)
}

// prepare makes or finds everything that lies on disk.
func (s *sandbox) prepare(dir string) error {
	for _, step := range []func() error{
		func() error { return s.findPlaces(dir) },
		s.recall, s.choosePorts, s.writeControls, s.checkPorts, s.writeCertificate, s.writeAccounts,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// recall reads the passwords and the base port of an earlier run.
func (s *sandbox) recall() error {
	s.users = [2]account{{address: "alice@example.test"}, {address: "bob@example.test"}}
	old, err := readEnv(s.path("sandbox.env"))
	if errors.Is(err, os.ErrNotExist) {
		s.fresh = true
	} else if err != nil {
		return err
	}
	for i := range s.users {
		u := &s.users[i]
		user, _, _ := strings.Cut(u.address, "@")
		u.maildir = s.path("mail", "example.test", user, "Maildir")
		if u.password = old["PEYK_PASS"+strconv.Itoa(i+1)]; u.password == "" {
			u.password = s.tool.password()
		}
	}
	return nil
}

func (s *sandbox) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *sandbox) socket(name string) string { return filepath.Join(s.sockets, name) }

// controls returns the control files of the sandbox.
func (s *sandbox) controls() map[string]string {
	controls := map[string]string{
		"hostname":      "mx.example.test",
		"spool":         s.path("spool"),
		"mail-root":     s.path("mail"),
		"auth-state":    s.path("auth"),
		"auth-socket":   s.socket("auth.sock"),
		"userdb-socket": s.socket("userdb.sock"),

		"auth-remote-socket":   s.socket("auth-remote.sock"),
		"userdb-remote-socket": s.socket("userdb-remote.sock"),
		"deliver-socket":       s.socket("deliver.sock"),
		"remote-socket":        s.socket("remote.sock"),
		"listen-submit":        s.socket("submit.sock"),
		"log-files":            s.path("log", "*.log"),
		"limits-exempt":        "127.0.0.0/8\n::1",
		// Nothing may leave the machine: foreign mail waits in the queue
		// until somebody listens here or sets another route.
		"routes": "* " + loopback(s.basePort+26),
	}
	for _, service := range services {
		controls[service.setting.Name] = loopback(s.basePort + service.offset)
	}
	if s.dns {
		controls["resolver"] = loopback(s.basePort + 53)
	}
	return controls
}

// writeControls writes the control files: those that say where things are
// always, the rest only on the first run, and those of -set last.
func (s *sandbox) writeControls() error {
	for name, value := range s.controls() {
		path := s.path("control", name)
		ours := name != "hostname" && name != "limits-exempt" && name != "routes"
		if _, err := os.Stat(path); err == nil && !ours {
			continue
		}
		if err := s.tool.disk.ReplaceFile(path, []byte(value+"\n"), 0o600); err != nil {
			return err
		}
	}
	for _, setting := range s.settings {
		if err := s.set(setting); err != nil {
			return err
		}
	}
	var err error
	if s.config, err = control.Load(s.path("control"), control.All(), nil); err != nil {
		return err
	}
	return errors.Join(problems(s.config)...)
}

func (s *sandbox) set(setting string) error {
	name, value, ok := strings.Cut(setting, "=")
	if !ok {
		return usagef("cannot use -set %q; expected NAME=VALUE", setting)
	}
	if find(control.All(), name) == nil {
		return usagef("no setting is called %q; mailctl config show lists all of them", name)
	}
	text := strings.ReplaceAll(value, `\n`, "\n") + "\n"
	return s.tool.disk.ReplaceFile(s.path("control", name), []byte(text), 0o600)
}

// run starts everything, waits until all of it answers, tells the user what to
// try, and stops everything when ctx ends.
func (s *sandbox) run(ctx context.Context) error {
	log, err := os.OpenFile(s.path("log", "peyk.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	if err := s.serveNames(ctx); err != nil {
		return err
	}
	family := newFamily(s, log)
	defer family.stop()
	if err := family.start(ctx); err != nil {
		return err
	}
	if err := s.welcome(ctx); err != nil {
		return err
	}
	if err := s.writeEnv(); err != nil { // last: whoever sees it may count on everything
		return err
	}
	s.tell()
	family.watch(ctx)
	fmt.Fprintln(s.tool.err, "mailctl: stopping the sandbox")
	return nil
}

// serveNames answers DNS from DIR/zone, if that was asked for.
func (s *sandbox) serveNames(ctx context.Context) error {
	if !s.dns {
		return nil
	}
	lines := []string{"example.test. MX 10 mx.example.test.", "mx.example.test. A 127.0.0.1"}
	if b, err := os.ReadFile(s.path("zone")); err == nil {
		lines = strings.Split(strings.TrimSpace(string(b)), "\n")
	}
	zone, err := nameserver.Parse(lines)
	if err != nil {
		return fmt.Errorf("%s: %w", s.path("zone"), err)
	}
	_, err = nameserver.Listen(ctx, loopback(s.basePort+53), zone)
	return err
}

// welcomeTime is how long the welcome message may take on a slow machine.
const welcomeTime = 30 * time.Second

// welcome sends a first message through the whole path to a new sandbox. Where
// another program sits in a seat, its mail may lie elsewhere, so none is sent.
func (s *sandbox) welcome(ctx context.Context) error {
	if !s.fresh || slices.ContainsFunc(children, s.taken) {
		return nil
	}
	text := "From: Peyk <postmaster@example.test>\nTo: Alice <alice@example.test>\nSubject: Welcome to Peyk\n\n" +
		"This message went through the whole path: sendmail put it into the drop,\n" +
		"queue-run took it, deliver filed it, and your mail reader got it by IMAP or POP3.\n"
	cmd := s.program("sendmail", "-C", s.path("control"), "-i", "-f", "postmaster@example.test", "alice@example.test")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot send the welcome message: %w: %s", err, out)
	}
	deadline := time.Now().Add(welcomeTime)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		for _, sub := range []string{"new", "cur"} {
			if found, _ := filepath.Glob(filepath.Join(s.users[0].maildir, sub, "*")); len(found) > 0 {
				fmt.Fprintf(s.tool.out, "The welcome message lies in %s\n", found[0])
				return nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the welcome message did not arrive in %v; look into %s", welcomeTime, s.path("log", "peyk.log"))
}
