package pop3d

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/urfave/cli/v2"

	"peyk/internal/control"
	"peyk/internal/daemon"
	"peyk/internal/dovecotauth"
	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
)

// refusal is the line for a client over a limit of connections.
const refusal = "-ERR [SYS/TEMP] too many connections, try again later"

// Main runs pop3d(8) and returns its exit status.
func Main(args []string) int {
	var preauth string // known once the command line is read
	return daemon.Main(daemon.Program{
		Name:  "pop3d",
		Usage: "serve mailboxes by POP3",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "stdin", Usage: "serve one session on standard input and output"},
			&cli.StringFlag{Name: "preauth", Usage: "serve one session on standard input and output, logged in to `MAILDIR`", Destination: &preauth},
		},
		Powers: func(c *control.Config) daemon.Powers { return powers(c, preauth) },
		Run:    run,
	}, args)
}

// powers are what a session needs: the mail, and nothing of the network but
// the connections it gets.
func powers(c *control.Config, preauth string) daemon.Powers {
	writable := append([]string{c.Text(control.MailRoot), c.Text(control.CacheDir), preauth}, c.Lines(control.MailDirectories)...)
	return daemon.Powers{ReadWrite: slices.DeleteFunc(writable, func(dir string) bool { return dir == "" })}
}

func run(ctx context.Context, e *daemon.Env) error {
	c := e.Config()
	host, err := mailbox.NewHost(mailbox.Options{Disk: e.Disk, Log: e.Log, Now: e.Now, Rand: e.Rand,
		Hostname: e.Hostname(), CacheDir: c.Text(control.CacheDir)})
	if err != nil {
		return err
	}
	defer host.Close()
	auth := dovecotauth.NewAuth(c.Text(control.AuthSocket), dovecotauth.Options{Now: e.Now, Rand: e.Rand})
	defer auth.Close()
	users := dovecotauth.NewUserDB(c.Text(control.UserdbSocket), dovecotauth.Options{Now: e.Now, Rand: e.Rand})
	defer users.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sessions := dovecotauth.NewSessions(auth, service)
	go sessions.Follow(ctx)
	o := Options{Accounts: Dovecot{auth, users}, Sessions: sessions, Drops: Maildirs{host}, Log: e.Log, Now: e.Now, Rand: e.Rand}
	if e.Flags.Bool("stdin") || e.Flags.String("preauth") != "" {
		return runStdin(ctx, e, o)
	}
	return runDaemon(ctx, e, o)
}

// configured returns o with what the configuration says.
func (o Options) configured(c *control.Config) Options {
	o.Hostname = daemon.Hostname(c)
	o.Plaintext = c.Networks(control.POP3PlaintextLogin)
	o.HandshakeTimeout = c.Duration(control.TLSHandshakeTimeout)
	o.LoginTimeout = c.Duration(control.POP3LoginTimeout)
	o.IdleTimeout = c.Duration(control.POP3IdleTimeout)
	o.LoginDelay = c.Duration(control.POP3LoginDelay)
	return o
}

// runStdin serves one session, which ends the program.
func runStdin(ctx context.Context, e *daemon.Env, o Options) error {
	o.Preauth = e.Flags.String("preauth")
	if o.Preauth != "" {
		dir, err := filepath.Abs(o.Preauth)
		if err != nil {
			return err
		}
		o.Preauth = dir
	} else if config, err := e.Certificate(false); err == nil {
		o.TLS = config // without a certificate there is no STLS, and no harm: a pipe is private
	}
	server := NewServer(o.configured(e.Config()))
	l := guardconn.New(guardconn.Stdin(os.Stdin, os.Stdout), guardconn.Options{Tracker: &server.Tracker, Log: e.Log, Now: e.Now})
	if err := e.Ready(); err != nil {
		return err
	}
	err := server.Serve(ctx, l)
	if errors.Is(err, net.ErrClosed) {
		return nil // the session is over
	}
	return err
}

// runDaemon listens until ctx ends.
func runDaemon(ctx context.Context, e *daemon.Env, o Options) error {
	config, err := e.Certificate(true)
	if err != nil {
		return err
	}
	o.TLS = config
	server := NewServer(o.configured(e.Config()))
	listeners, err := listen(e, server)
	if err != nil {
		return err
	}
	e.OnReload(func(c *control.Config) { server.SetOptions(o.configured(c)) })
	if err := e.Ready(); err != nil {
		return err
	}
	return serveAll(ctx, server, listeners)
}

// serveAll serves every listener, until ctx or one of them ends.
func serveAll(ctx context.Context, s *Server, listeners []net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error)
	for _, l := range listeners {
		go func() { ended <- s.Serve(ctx, l) }()
	}
	var first error
	for range listeners {
		if err := <-ended; err != nil && first == nil {
			first = err
		}
		cancel()
	}
	return first
}

// listen opens pop3 and pop3s.
func listen(e *daemon.Env, s *Server) ([]net.Listener, error) {
	plain, err := e.Listen("pop3", control.ListenPOP3)
	if err != nil {
		return nil, err
	}
	secure, err := e.Listen("pop3s", control.ListenPOP3S)
	if err != nil {
		return nil, err
	}
	if len(plain)+len(secure) == 0 {
		return nil, &control.FileError{File: e.Config().Path(control.ListenPOP3.Name),
			Err: errors.New("nothing to listen on; write an address such as 127.0.0.1:110 there, or start me by my socket unit")}
	}
	guard := e.Guard()
	guard.Tracker = &s.Tracker
	guard.Refusal = func(guardconn.Reason) string { return refusal }
	guarded := wrap(e, plain, guard)
	guard.TLS = s.Options().TLS
	return append(guarded, wrap(e, secure, guard)...), nil
}

// wrap guards listeners.
func wrap(e *daemon.Env, inner []net.Listener, o guardconn.Options) []net.Listener {
	var guarded []net.Listener
	for _, l := range inner {
		guarded = append(guarded, e.Guarded(l, o))
	}
	return guarded
}
