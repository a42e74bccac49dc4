package authd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"peyk/internal/control"
	"peyk/internal/daemon"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
)

// Main runs authd and returns its exit status: as a daemon, or, with
// -checkpassword, for one login.
func Main(args []string) int {
	if wantsCheckpassword(args) {
		return checkpasswordMain(args)
	}
	return daemon.Main(daemon.Program{
		Name:  "authd",
		Usage: "answer who may log in and who exists",
		Args:  "[-checkpassword PROGRAM [ARGUMENT ...]]",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "checkpassword", Usage: "check the one login that descriptor 3 holds, then run PROGRAM as that user"},
		},
		Powers: powers,
		Run:    run,
	}, args)
}

// powers: the state is written. The users files are if users may change their
// passwords or old hashes are written anew, and programs run if one is to tell the country of an address; the
// frame adds that the control directory is read.
func powers(c *control.Config) daemon.Powers {
	p := daemon.Powers{ReadWrite: []string{c.Text(control.AuthState)}}
	if c.Bool(control.PasswordChange) || c.Bool(control.AuthRehash) {
		p.ReadWrite = append(p.ReadWrite, c.Path("domains"))
	}
	if command := c.Text(control.CountryCommand); command != "" {
		p.Run = []string{"/usr", "/bin", "/lib", "/lib64", filepath.Dir(strings.Fields(command)[0])}
		p.ReadOnly = []string{"/var/lib/GeoIP"} // where geoipupdate(1) puts its files
	}
	return p
}

func run(ctx context.Context, e *daemon.Env) error {
	logins, err := e.Listen("auth", control.AuthSocket)
	if err != nil {
		return err
	}
	lookups, err := e.Listen("userdb", control.UserdbSocket)
	if err != nil {
		return err
	}
	uids, err := trusted(e.Config())
	if err != nil {
		return err
	}
	s := New(e.Config(), Options{Log: e.Log, Disk: e.Disk, Now: e.Now})
	defer s.Close()
	if err := s.watch(ctx, e.Config().Dir()); err != nil {
		e.Log.Event(eventlog.Trouble, "reason", "cannot watch the tables: sessions end only after SIGHUP", "error", err)
	}
	wire := &dovecotauth.Server{Auth: s, Directory: s, Allow: uids, Log: e.Log, Now: e.Now, Rand: e.Rand}
	e.OnReload(func(c *control.Config) {
		before := s.offered()
		s.Reload(c)
		if !slices.Equal(before, s.offered()) {
			wire.Renew()
		}
	})
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

// trusted returns who may ask the userdb socket by the control userdb-uids;
// nil leaves it to the permissions of the socket.
func trusted(c *control.Config) (func(dovecotauth.Peer) bool, error) {
	names := c.Lines(control.UserdbUIDs)
	if len(names) == 0 {
		return nil, nil
	}
	uids := []int{0, os.Geteuid()}
	for _, name := range names {
		uid, err := lookupUID(name)
		if err != nil {
			return nil, &control.FileError{File: c.Path(control.UserdbUIDs.Name), Err: err}
		}
		uids = append(uids, uid)
	}
	return func(p dovecotauth.Peer) bool { return p.Known && slices.Contains(uids, p.UID) }, nil
}

func lookupUID(name string) (int, error) {
	if uid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(uid), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, fmt.Errorf("cannot find the user %q: %w", name, err)
	}
	return strconv.Atoi(u.Uid)
}
