package authremote

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"

	"peyk/internal/control"
	"peyk/internal/daemon"
	"peyk/internal/dovecotauth"
)

// Main runs auth-remote and returns its exit status.
func Main(args []string) int {
	return daemon.Main(daemon.Program{
		Name:   "auth-remote",
		Usage:  "ask others who may log in",
		Powers: powers,
		Run:    run,
	}, args)
}

// powers: the network, and the files and programs that the configuration names.
func powers(c *control.Config) daemon.Powers {
	p := daemon.Powers{ConnectTCP: true}
	for _, path := range []string{c.Text(control.OAuthClientSecret), c.Text(control.OAuthCA)} {
		if path != "" {
			p.ReadOnly = append(p.ReadOnly, path)
		}
	}
	if keys := c.Text(control.OAuthKeys); strings.HasPrefix(keys, "/") {
		p.ReadOnly = append(p.ReadOnly, keys)
	}
	for _, b := range c.Backends() {
		p = withBackend(p, c, b)
	}
	return p
}

// withBackend adds what a backend needs. A program may run the system's
// programs and read the system's configuration, and no more.
func withBackend(p daemon.Powers, c *control.Config, b control.Backend) daemon.Powers {
	switch b.Kind {
	case "checkpassword":
		p.Run = append(p.Run, "/usr", "/bin", "/lib", "/lib64", filepath.Dir(b.Args[0]))
		p.ReadOnly = append(p.ReadOnly, "/etc")
	case "sqlite", "ldap":
		o, err := readOptions(c.Path("backends", b.Args[0]))
		if err != nil {
			return p // run will say so
		}
		if file := o["file"]; file != "" { // beside it lies the journal
			p.ReadOnly = append(p.ReadOnly, filepath.Dir(file))
		}
		if ca := o["ca"]; ca != "" {
			p.ReadOnly = append(p.ReadOnly, ca)
		}
	}
	return p
}

func run(ctx context.Context, e *daemon.Env) error {
	s, err := New(e.Config(), e.Log)
	if err != nil {
		return err
	}
	logins, err := e.Listen("auth-remote", control.AuthRemoteSocket)
	if err != nil {
		return err
	}
	lookups, err := e.Listen("userdb-remote", control.UserdbRemoteSocket)
	if err != nil {
		return err
	}
	e.OnReload(s.Reload)
	wire := &dovecotauth.Server{Auth: s, Directory: s, Log: e.Log, Now: e.Now, Rand: e.Rand}
	if err := e.Ready(); err != nil {
		return err
	}
	return serveAll(ctx, wire, logins, lookups)
}

// serveAll serves every socket until the context or one of them ends.
func serveAll(ctx context.Context, wire *dovecotauth.Server, logins, lookups []net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(logins)+len(lookups))
	for _, l := range logins {
		go func() { ended <- wire.ServeAuth(ctx, l) }()
	}
	for _, l := range lookups {
		go func() { ended <- wire.ServeMaster(ctx, l) }()
	}
	var errs []error
	for range cap(ended) {
		errs = append(errs, <-ended)
		cancel() // one that ends takes the others with it
	}
	return errors.Join(errs...)
}
