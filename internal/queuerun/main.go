package queuerun

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/daemon"
	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/lmtp"
	"peyk/internal/spool"
	"peyk/internal/table"
)

// Main runs queue-run(8) and returns its exit status.
func Main(args []string) int {
	return daemon.Main(daemon.Program{
		Name:   "queue-run",
		Usage:  "schedule, route, retry and return queued mail",
		Powers: powers,
		Run:    run,
	}, args)
}

func powers(c *control.Config) daemon.Powers {
	return daemon.Powers{
		ReadOnly:  []string{filepath.Dir(c.Text(control.DeliverSocket)), filepath.Dir(c.Text(control.RemoteSocket))},
		ReadWrite: []string{c.Text(control.Spool)},
	}
}

func run(ctx context.Context, e *daemon.Env) error {
	c := e.Config()
	settings, err := settingsOf(c)
	if err != nil {
		return err
	}
	tables := &reloadable{domains: table.OpenDomains(c.Dir()), users: dovecotauth.NewUserDB(c.Text(control.UserdbSocket),
		dovecotauth.Options{Now: e.Now, Rand: e.Rand})}
	defer tables.users.Close()
	if err := tables.configure(c); err != nil {
		return err
	}
	queue := spool.OpenQueue(c.Text(control.Spool), e.Disk)
	if err := queue.Make(); err != nil { // before the sandbox closes: it is part of it
		return err
	}
	r := New(Options{Queue: queue, Log: e.Log, Now: e.Now, Rand: e.Rand, Router: tables, Settings: settings, Ready: e.Ready,
		Local:  dialer(c.Text(control.DeliverSocket), settings.Hostname, lmtp.Timeouts{}),
		Remote: dialer(c.Text(control.RemoteSocket), settings.Hostname, remoteTimeouts(c))})
	e.OnReload(func(c *control.Config) { reload(e.Log, c, r, tables) })
	return r.Serve(ctx)
}

// reload puts a new configuration in force, or none of it.
func reload(log *eventlog.Log, c *control.Config, r *Runner, tables *reloadable) {
	settings, err := settingsOf(c)
	if err == nil {
		err = tables.configure(c)
	}
	if err != nil {
		log.Event(eventlog.BadConfig, "error", err)
		return
	}
	r.Configure(settings)
}

// remoteTimeouts outlast whatever remote may take for one attempt: to give up
// just before its 250 would be to send the message twice.
func remoteTimeouts(c *control.Config) lmtp.Timeouts {
	wait := c.Duration(control.RemoteTimeLimit) + 5*time.Minute
	return lmtp.Timeouts{Command: wait, Write: wait, Final: wait}
}

func dialer(socket, hostname string, t lmtp.Timeouts) Dialer {
	return func(ctx context.Context) (Carrier, error) {
		return lmtp.Dial(ctx, "unix", socket, hostname, t)
	}
}

func settingsOf(c *control.Config) (Settings, error) {
	s := Settings{
		Hostname:               daemon.Hostname(c),
		Lifetime:               c.Duration(control.QueueLifetime),
		DelayWarning:           c.Duration(control.DelayWarning),
		Poll:                   c.Duration(control.QueuePoll),
		LocalConcurrency:       c.Int(control.LocalConcurrency),
		RemoteConcurrency:      c.Int(control.RemoteConcurrency),
		DestinationConcurrency: c.Int(control.DestinationConcurrency),
	}
	for i, line := range c.Lines(control.Retry) {
		d, err := control.ParseDuration(line)
		if err == nil && d < time.Second {
			err = fmt.Errorf("cannot use %q: expected at least 1s", line)
		}
		if err != nil {
			return s, &control.FileError{File: c.Path(control.Retry.Name), Err: fmt.Errorf("item %d: %w", i+1, err)}
		}
		s.Retry = append(s.Retry, d)
	}
	if len(s.Retry) == 0 {
		return s, &control.FileError{File: c.Path(control.Retry.Name), Err: fmt.Errorf("it has no items; remove it to get the default")}
	}
	return s, nil
}

// reloadable is a Router whose configuration can change.
type reloadable struct {
	domains *table.Domains
	users   *dovecotauth.UserDB
	mu      sync.Mutex
	tables  *Tables
}

// Route implements Router.
func (r *reloadable) Route(recipient string) ([]Hop, error) {
	r.mu.Lock()
	t := r.tables
	r.mu.Unlock()
	return t.Route(recipient)
}

func (r *reloadable) configure(c *control.Config) error {
	routes, err := table.ParseRoutes(c.Lines(control.Routes))
	if err != nil {
		return &control.FileError{File: c.Path(control.Routes.Name), Err: err}
	}
	t := &Tables{Domains: r.domains, Routes: routes, Separator: c.Text(control.Subaddress), Hostname: daemon.Hostname(c), Exists: r.exists}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tables = t
	return nil
}

func (r *reloadable) exists(a address.Address) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, found, err := r.users.Lookup(ctx, "lmtp", a.String())
	return found, err
}
