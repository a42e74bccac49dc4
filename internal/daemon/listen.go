package daemon

import (
	"fmt"
	"net"

	"peyk/internal/control"
	"peyk/internal/guardconn"
)

// socketMode lets the owner and the group of a Unix socket connect.
const socketMode = 0o660

// Listen opens what a program listens on under one name: the sockets that
// systemd passes with that FileDescriptorName, then the addresses of a
// setting: host:port, or the path of a Unix socket. A setting that is one path
// names the socket itself, so systemd's socket takes its place. None at all is
// no error.
func (e *Env) Listen(name string, s *control.Setting) ([]net.Listener, error) {
	listeners, err := guardconn.Systemd(name)
	if err != nil {
		return nil, fmt.Errorf("cannot take the sockets of systemd: %w", err)
	}
	if s.Kind == control.Path && len(listeners) > 0 {
		return listeners, nil
	}
	for _, addr := range addresses(e.Config(), s) {
		l, err := guardconn.Listen(addr, socketMode)
		if err != nil {
			closeAll(listeners)
			return nil, fmt.Errorf("cannot listen on %s (%s): %w", addr, s.Name, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

// addresses returns the lines of a list, or the one value of a path.
func addresses(c *control.Config, s *control.Setting) []string {
	if s.Kind == control.Lines {
		return c.Lines(s)
	}
	if path := c.Text(s); path != "" {
		return []string{path}
	}
	return nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// Guard returns the options of guardconn that the common settings give; all
// listeners of a program share its limits, which follow a reload.
func (e *Env) Guard() guardconn.Options {
	c := e.Config()
	limits := guardconn.NewLimits(most(c))
	e.OnReload(func(c *control.Config) { limits.Set(most(c)) })
	return guardconn.Options{
		HandshakeTimeout: c.Duration(control.TLSHandshakeTimeout),
		Proxy:            c.Networks(control.ProxyNetworks),
		Exempt:           c.Networks(control.LimitsExempt),
		Limits:           limits,
		Log:              e.Log,
		Now:              e.Now,
	}
}

// Guarded guards a listener with options that Guard began; what they take from
// the common settings follows a reload.
func (e *Env) Guarded(inner net.Listener, o guardconn.Options) *guardconn.Listener {
	l := guardconn.New(inner, o)
	e.OnReload(func(c *control.Config) {
		o := o
		o.HandshakeTimeout = c.Duration(control.TLSHandshakeTimeout)
		o.Proxy = c.Networks(control.ProxyNetworks)
		o.Exempt = c.Networks(control.LimitsExempt)
		l.SetOptions(o)
	})
	return l
}

func most(c *control.Config) guardconn.Max {
	return guardconn.Max{
		Total:      c.Int(control.Connections),
		PerAddress: c.Int(control.ConnectionsPerAddress),
		PerPrefix:  c.Int(control.ConnectionsPerPrefix),
	}
}
