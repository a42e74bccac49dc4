package imapd

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"peyk/internal/control"
	"peyk/internal/daemon"
	"peyk/internal/dovecotauth"
	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
)

// refusal is the line for a client over a limit of connections.
const refusal = "* BYE too many connections, try again later"

// Main runs imapd(8) and returns its exit status.
func Main(args []string) int {
	var preauth string // known once the command line is read
	return daemon.Main(daemon.Program{
		Name:  "imapd",
		Usage: "serve mailboxes by IMAP",
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
	host, err := mailbox.NewHost(mailbox.Options{Disk: e.Disk, Log: e.Log, Now: e.Now, Rand: e.Rand, Hostname: e.Hostname(),
		Poll: c.Duration(control.MailboxPoll), CacheDir: c.Text(control.CacheDir), Watch: true})
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
	o := Options{Host: host, Users: Dovecot{Auth: auth, Users: users}, Sessions: sessions, Log: e.Log, Now: e.Now, Rand: e.Rand}
	if e.Flags.Bool("stdin") || e.Flags.String("preauth") != "" {
		return runStdin(ctx, e, o)
	}
	return runDaemon(ctx, e, o)
}

// configured returns o with what the configuration says.
func (o Options) configured(c *control.Config) Options {
	o.Hostname = daemon.Hostname(c)
	o.TextIndex = c.Bool(control.TextIndex)
	o.Plaintext = c.Networks(control.IMAPPlaintextLogin)
	o.Exempt = c.Networks(control.LimitsExempt)
	if d, ok := o.Users.(Dovecot); ok {
		d.Quota, d.Mailboxes = c.Size(control.Quota), int64(c.Int(control.IMAPMailboxes))
		o.Users = d
	}
	o.Admins = c.Lines(control.IMAPAdmins)
	o.Others = strings.TrimPrefix(c.Text(control.IMAPOthers), "none")
	o.AdminURI = c.Text(control.IMAPAdminURI)
	if root := c.Text(control.MailRoot); root != "" && o.Shared == nil {
		o.Shared = o.Host.SharedList(filepath.Join(root, mailbox.SharedName))
		o.Metadata = o.Host.MetaStore(filepath.Join(root, mailbox.ServerMetaName))
	}
	o.Limits = Limits{
		LoginTime:   c.Duration(control.IMAPLoginTimeout),
		Handshake:   c.Duration(control.TLSHandshakeTimeout),
		Autologout:  c.Duration(control.IMAPIdleTimeout),
		SearchTime:  c.Duration(control.IMAPSearchTime),
		StillHere:   c.Duration(control.IMAPIdleNotify),
		Line:        int(c.Size(control.IMAPLineLimit)),
		Literals:    c.Size(control.IMAPLiteralLimit),
		MessageSize: c.Size(control.MessageSize),
		Errors:      c.Int(control.IMAPErrors),
		Logins:      c.Int(control.IMAPLoginFailures),
		PerUser:     c.Int(control.IMAPUserConnections),
	}
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
		o.TLS = config // without a certificate there is no STARTTLS
	}
	server := New(o.configured(e.Config()))
	defer server.Close()
	l := guardconn.New(guardconn.Stdin(os.Stdin, os.Stdout),
		guardconn.Options{Tracker: &server.Tracker, Farewell: Farewell, Log: e.Log, Now: e.Now})
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
	server := New(o.configured(e.Config()))
	defer server.Close()
	listeners, err := listen(e, server, o)
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
func serveAll(ctx context.Context, srv *Server, listeners []net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error)
	for _, l := range listeners {
		go func() { ended <- srv.Serve(ctx, l) }()
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

// listen opens imap and imaps.
func listen(e *daemon.Env, srv *Server, o Options) ([]net.Listener, error) {
	plain, err := e.Listen("imap", control.ListenIMAP)
	if err != nil {
		return nil, err
	}
	secure, err := e.Listen("imaps", control.ListenIMAPS)
	if err != nil {
		return nil, err
	}
	if len(plain)+len(secure) == 0 {
		return nil, &control.FileError{File: e.Config().Path(control.ListenIMAP.Name),
			Err: errors.New("nothing to listen on; write an address such as 127.0.0.1:143 there, or start me by my socket unit")}
	}
	guard := e.Guard()
	guard.Tracker = &srv.Tracker
	guard.Farewell = Farewell
	guard.Refusal = func(guardconn.Reason) string { return refusal }
	guarded := wrap(e, plain, guard)
	guard.TLS = o.TLS
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
