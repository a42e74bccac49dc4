package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"peyk/internal/control"
	"peyk/internal/daemon"
	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/mx"
	"peyk/internal/smtpclient"
	"peyk/internal/table"
)

// Main is remote(8); it returns the exit status.
func Main(args []string) int {
	return daemon.Main(daemon.Program{
		Name:   "remote",
		Usage:  "relay mail to other hosts",
		Powers: powers,
		Run:    run,
	}, args)
}

func powers(c *control.Config) daemon.Powers {
	powers := daemon.Powers{ConnectTCP: true}
	if ca := c.Text(control.RemoteCA); ca != "" {
		powers.ReadOnly = []string{ca}
	}
	return powers
}

func run(ctx context.Context, e *daemon.Env) error {
	o, err := options(e, e.Config())
	if err != nil {
		return err
	}
	listeners, err := e.Listen("remote", control.RemoteSocket)
	if err != nil {
		return err
	}
	relay := New(o)
	e.OnReload(func(c *control.Config) {
		o, err := options(e, c)
		if err != nil {
			e.Log.Event(eventlog.BadConfig, "error", err)
			return
		}
		relay.Reload(o)
	})
	if err := e.Ready(); err != nil {
		return err
	}
	return serve(ctx, e, listeners, relay)
}

func serve(ctx context.Context, e *daemon.Env, listeners []net.Listener, relay *Relay) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := lmtp.Options{
		Hostname:   e.Hostname(),
		MaxSize:    e.Config().Size(control.MessageSize),
		Drain:      daemon.DrainTime,
		RequireTLS: true,
		Log:        e.Log,
		Now:        e.Now,
	}
	ends := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { ends <- lmtp.Serve(ctx, l, relay, o) }()
	}
	var errs []error
	for range listeners {
		errs = append(errs, <-ends)
		cancel() // one that ends takes the others along
	}
	return errors.Join(errs...)
}

// options reads the settings; an error is a *control.FileError.
func options(e *daemon.Env, c *control.Config) (Options, error) {
	o := Options{
		Hostname: daemon.Hostname(c),
		Port:     c.Int(control.RemotePort),
		Connect:  c.Duration(control.RemoteConnectTimeout),
		Open:     c.Duration(control.RemoteOpenTimeout),
		Limit:    c.Duration(control.RemoteTimeLimit),
		Timeouts: timeouts(c),
		Log:      e.Log,
		Now:      e.Now,
		Rand:     e.Rand,
	}
	o.Search = searcher(e, c, o.Hostname)
	var err error
	if o.Port < 1 || o.Port > 65535 {
		return o, bad(c, control.RemotePort, errors.New("expected a port from 1 to 65535"))
	}
	if o.Routes, err = table.ParseRoutes(c.Lines(control.Routes)); err != nil {
		return o, bad(c, control.Routes, err)
	}
	if o.Credentials, err = credentials(c); err != nil {
		return o, bad(c, control.RemoteCredentials, err)
	}
	if o.Roots, err = roots(c.Text(control.RemoteCA)); err != nil {
		return o, bad(c, control.RemoteCA, err)
	}
	return o, nil
}

func bad(c *control.Config, s *control.Setting, err error) error {
	return &control.FileError{File: c.Path(s.Name), Err: err}
}

func timeouts(c *control.Config) smtpclient.Timeouts {
	command := c.Duration(control.RemoteCommandTimeout)
	return smtpclient.Timeouts{
		Greeting: c.Duration(control.RemoteGreetingTimeout),
		Command:  command,
		TLS:      c.Duration(control.RemoteTLSTimeout),
		Mail:     command,
		Rcpt:     command,
		Data:     c.Duration(control.RemoteDataTimeout),
		Block:    c.Duration(control.RemoteBlockTimeout),
		End:      c.Duration(control.RemoteEndTimeout),
	}
}

func searcher(e *daemon.Env, c *control.Config, hostname string) *mx.Searcher {
	server := c.Text(control.Resolver)
	if server == "" {
		server = mx.SystemServer("/etc/resolv.conf")
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(server, "53")
	}
	families := c.Text(control.RemoteFamilies)
	return &mx.Searcher{
		Resolver:     &mx.Client{Server: server, Rand: e.Rand},
		Rand:         e.Rand,
		Self:         []string{hostname},
		MaxHosts:     c.Int(control.RemoteHosts),
		MaxAddresses: c.Int(control.RemoteAddresses),
		NoIPv4:       families == "ipv6",
		NoIPv6:       families == "ipv4",
	}
}

func credentials(c *control.Config) (Credentials, error) {
	lines := c.Lines(control.RemoteCredentials)
	if len(lines) > 0 && c.Origin(control.RemoteCredentials) == control.FromFile {
		info, err := os.Stat(c.Path(control.RemoteCredentials.Name))
		if err != nil {
			return nil, err
		}
		if info.Mode().Perm()&0o007 != 0 {
			return nil, fmt.Errorf("everybody may read these passwords (mode %04o); chmod o= it", info.Mode().Perm())
		}
	}
	return ParseCredentials(lines)
}

// roots returns the trusted certificates; nil means those of the system.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", file)
	}
	return pool, nil
}
