package smtpd

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"time"

	"peyk/internal/control"
	"peyk/internal/daemon"
	"peyk/internal/dovecotauth"
	"peyk/internal/envelope"
	"peyk/internal/guardconn"
	"peyk/internal/spool"
	"peyk/internal/table"
)

// Main is the program smtpd; it returns the exit status.
func Main(args []string) int {
	return daemon.Main(daemon.Program{Name: "smtpd", Usage: "receive mail", Powers: powers, Run: run}, args)
}

// powers: the configuration is read, the drop is written, nothing else.
func powers(c *control.Config) daemon.Powers {
	return daemon.Powers{ReadWrite: []string{filepath.Join(c.Text(control.Spool), "drop")}}
}

// services are the services and the settings that name their addresses.
var services = [...]struct {
	service Service
	setting *control.Setting
}{
	{MX, control.ListenSMTP}, {Submission, control.ListenSubmission},
	{Submissions, control.ListenSubmissions}, {Submit, control.ListenSubmit},
}

func run(ctx context.Context, e *daemon.Env) error {
	c := e.Config()
	auth := dovecotauth.NewAuth(c.Text(control.AuthSocket), dovecotauth.Options{Now: e.Now, Rand: e.Rand})
	defer auth.Close()
	users := dovecotauth.NewUserDB(c.Text(control.UserdbSocket), dovecotauth.Options{Now: e.Now, Rand: e.Rand})
	defer users.Close()
	dir := newDirectory(table.OpenDomains(c.Dir()), users, e.Now)
	configure(dir, c)

	queue := spool.OpenDrop(c.Text(control.Spool), e.Disk)
	defer queue.Reuse()()
	certificate, err := e.Certificate(true)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sessions := dovecotauth.NewSessions(auth, "smtp")
	go sessions.Follow(ctx)
	server := New(Options{Hostname: e.Hostname(), Directory: dir, Auth: auth, Sessions: sessions, TLS: certificate, Log: e.Log, Now: e.Now, Rand: e.Rand,
		Queue: drop{queue, e.Now, e.Rand}}, NewPolicy(c))
	e.OnReload(func(c *control.Config) {
		configure(dir, c)
		server.SetPolicy(NewPolicy(c))
	})
	return serve(ctx, e, server)
}

func configure(dir *directory, c *control.Config) {
	dir.configure(c.Text(control.Subaddress), daemon.Hostname(c), c.Duration(control.RecipientCache))
}

// serve answers on every listener until ctx ends, and then drains.
func serve(ctx context.Context, e *daemon.Env, server *Server) error {
	guard := e.Guard()
	tracker := &guardconn.Tracker{}
	guard.Tracker, guard.Farewell, guard.Refusal = tracker, Farewell(e.Hostname()), Refusal(e.Hostname())
	listeners, err := listen(e, server, guard)
	if err != nil {
		return err
	}
	if err := e.Ready(); err != nil {
		return err
	}
	failed := make(chan error, len(listeners))
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() { failed <- server.Serve(l.guarded, l.service) })
	}
	select {
	case <-ctx.Done():
	case err = <-failed: // a listener that breaks ends the program, and its supervisor starts it again
	}
	for _, l := range listeners {
		l.guarded.Close()
	}
	grace, cancel := context.WithTimeout(context.Background(), daemon.DrainTime)
	defer cancel()
	tracker.Drain(grace)
	serving.Wait()
	return err
}

type open struct {
	guarded *guardconn.Listener
	service Service
}

func listen(e *daemon.Env, server *Server, guard guardconn.Options) ([]open, error) {
	var all []open
	for _, s := range services {
		inner, err := e.Listen(string(s.service), s.setting)
		if err != nil {
			return nil, err
		}
		for _, l := range inner {
			all = append(all, open{e.Guarded(l, guardFor(s.service, guard, server)), s.service})
		}
	}
	if len(all) == 0 {
		return nil, errNothingToDo(e)
	}
	return all, nil
}

// guardFor adapts the options to a service.
func guardFor(s Service, guard guardconn.Options, server *Server) guardconn.Options {
	guard.NoTickets = s == MX // some senders fail on resumed sessions
	if s == Submissions {
		guard.TLS = server.o.TLS
	}
	return guard
}

var errNoListener = errors.New("nothing to listen on; name an address here or in another listen control, or start smtpd by a socket unit")

func errNothingToDo(e *daemon.Env) error {
	return &control.FileError{File: e.Config().Path(control.ListenSMTP.Name), Err: errNoListener}
}

// drop is the Queue of the installed system.
type drop struct {
	*spool.Drop
	now  func() time.Time
	rand io.Reader
}

// NewID makes a queue id.
func (d drop) NewID() (string, error) { return spool.NewID(d.now(), d.rand) }

// Create begins a message.
func (d drop) Create(e *envelope.Envelope) (Writer, error) {
	w, err := d.Drop.Create(e)
	if err != nil {
		return nil, err
	}
	return w, nil
}
