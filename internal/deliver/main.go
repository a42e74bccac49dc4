package deliver

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/daemon"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/mailbox"
	"peyk/internal/spool"
	"peyk/internal/status"
	"peyk/internal/sysexits"
)

// How long answers of the user database are remembered: a burst of mail for
// one user asks once, and a change is seen soon.
const (
	rememberUser   = 5 * time.Second
	rememberNobody = time.Second
)

// Main is the program deliver; it returns the exit status.
func Main(args []string) int {
	m := &mda{words: os.Stderr, exit: sysexits.OK}
	if m.quiet(args) { // whoever calls us may send our words to the sender: no log among them
		if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
			os.Stderr = null
		}
	}
	code := daemon.Main(daemon.Program{
		Name:  "deliver",
		Usage: "put mail into mailboxes",
		Args:  "[USER@DOMAIN ...]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "listen", Usage: "serve LMTP; so it does without any recipient, too"},
			&cli.StringFlag{Name: "f", Usage: "the message comes from `SENDER`, empty for the null sender; default: what its Return-Path says"},
			&cli.BoolFlag{Name: "d", Usage: "recipients follow; they do so anyhow"},
			&cli.BoolFlag{Name: "v", Usage: "log on standard error even when delivering standard input"},
		},
		Powers: powers,
		Run:    m.run,
	}, args)
	if code == sysexits.Config && m.words != os.Stderr {
		fmt.Fprintln(m.words, "deliver: the configuration is wrong: see mailctl config check")
	}
	if code != sysexits.OK {
		return code
	}
	return m.exit
}

// mda is one run of the program.
type mda struct {
	words *os.File
	exit  int
}

// quiet reports whether the arguments ask for the delivery of standard input
// without -v.
func (m *mda) quiet(args []string) bool {
	last := args[len(args)-1]
	return len(args) > 1 && last[:min(1, len(last))] != "-" && strings.Contains(last, "@") &&
		!slices.Contains(args, "-v") && !slices.Contains(args, "-listen")
}

// powers: mail and the drop are written; programs run only where .forward may
// start some.
func powers(c *control.Config) daemon.Powers {
	p := daemon.Powers{ReadWrite: []string{filepath.Join(c.Text(control.Spool), "drop")}}
	for _, dir := range append(c.Lines(control.MailDirectories), c.Text(control.MailRoot), c.Text(control.CacheDir)) {
		if dir != "" {
			p.ReadWrite = append(p.ReadWrite, dir)
		}
	}
	if c.Bool(control.ForwardPipes) {
		p.Run = []string{"/usr", "/bin", "/lib", "/lib64", "/opt"}
	}
	return p
}

// policyOf reads the policy from the configuration.
func policyOf(c *control.Config) Policy {
	return Policy{
		Subaddress: c.Text(control.Subaddress),
		Quota:      mailbox.Quota{Bytes: c.Size(control.Quota)},
		RefuseFull: c.Text(control.QuotaExceeded) == "refuse",
		Pipes:      c.Bool(control.ForwardPipes),
		PipeTime:   c.Duration(control.ForwardPipeTime),
		HopLimit:   c.Int(control.HopLimit),
	}
}

func (m *mda) run(ctx context.Context, e *daemon.Env) error {
	c := e.Config()
	host, err := mailbox.NewHost(mailbox.Options{Disk: e.Disk, Log: e.Log, Now: e.Now, Rand: e.Rand,
		Hostname: e.Hostname(), CacheDir: c.Text(control.CacheDir)})
	if err != nil {
		return err
	}
	defer host.Close()
	users := dovecotauth.NewUserDB(c.Text(control.UserdbSocket), dovecotauth.Options{Now: e.Now, Rand: e.Rand,
		Positive: rememberUser, Negative: rememberNobody})
	defer users.Close()
	agent := New(Options{Users: users, Store: Maildirs{host}, Disk: e.Disk, Hostname: e.Hostname(), Log: e.Log, Now: e.Now,
		TempDir: filepath.Join(c.Text(control.Spool), "drop", "tmp"),
		Queue:   Drop{spool.OpenDrop(c.Text(control.Spool), e.Disk), e.Now, e.Rand}}, policyOf(c))
	e.OnReload(func(c *control.Config) {
		users.Forget()
		agent.SetPolicy(policyOf(c))
	})
	if recipients := e.Flags.Args().Slice(); len(recipients) > 0 && !e.Flags.Bool("listen") {
		return m.letterbox(ctx, e, agent, recipients)
	}
	return serve(ctx, e, agent)
}

// letterbox delivers standard input.
func (m *mda) letterbox(ctx context.Context, e *daemon.Env, agent *Agent, recipients []string) error {
	var sender *string
	if e.Flags.IsSet("f") {
		text := "<" + strings.Trim(e.Flags.String("f"), "<>") + ">"
		a, err := address.ParsePath(text, true)
		if err != nil {
			fmt.Fprintf(m.words, "deliver: sender %s: %s\n", text, status.Of(err).Text)
			m.exit = sysexits.Usage
			return nil
		}
		text = a.String()
		sender = &text
	}
	if err := e.Ready(); err != nil {
		return err
	}
	m.exit = agent.Letterbox(ctx, os.Stdin, m.words, sender, e.Config().Size(control.MessageSize), recipients)
	return nil
}

// serve answers LMTP until ctx ends.
func serve(ctx context.Context, e *daemon.Env, agent *Agent) error {
	c := e.Config()
	uids, err := userIDs(c.Lines(control.DeliverUIDs))
	if err != nil {
		return &control.FileError{File: c.Path(control.DeliverUIDs.Name), Err: err}
	}
	listeners, err := e.Listen("deliver", control.DeliverSocket)
	if err != nil {
		return err
	}
	if err := e.Ready(); err != nil {
		return err
	}
	o := lmtp.Options{Hostname: e.Hostname(), Again: true, MaxSize: c.Size(control.MessageSize), UIDs: uids, Log: e.Log, Now: e.Now}
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() { serveOne(ctx, e, l, agent, o) })
	}
	serving.Wait()
	return nil
}

func serveOne(ctx context.Context, e *daemon.Env, l net.Listener, agent *Agent, o lmtp.Options) {
	if err := lmtp.Serve(ctx, l, agent, o); err != nil {
		e.Log.Event(eventlog.Trouble, "reason", "a listener ended", "error", err)
	}
}

// userIDs turns user names and numbers into numbers.
func userIDs(names []string) ([]int, error) {
	var ids []int
	for _, name := range names {
		id, err := strconv.Atoi(name)
		if err != nil {
			u, err := user.Lookup(name)
			if err != nil {
				return nil, fmt.Errorf("no such user: %s", name)
			}
			if id, err = strconv.Atoi(u.Uid); err != nil {
				return nil, err
			}
		}
		ids = append(ids, id)
	}
	return ids, nil
}
