package dovecotauth

import (
	"maps"
	"slices"
)

// Renew ends the connections of client sockets whose handshake is not true any
// more, because the mechanisms have changed: each one as soon as no login is
// under way on it or waits for its master. Clients connect anew by themselves.
func (s *Server) Renew() {
	s.mu.Lock()
	clients := slices.Collect(maps.Values(s.clients))
	s.mu.Unlock()
	for _, c := range clients {
		c.mu.Lock()
		c.old = true
		c.mu.Unlock()
		c.leave()
	}
}

// busy reports whether a login is under way. Whoever follows changes of the
// accounts does so for ever, and follows again on the next connection.
func (c *client) busy() bool {
	for _, p := range c.pending {
		if p.request.Mech != FollowMechanism {
			return true
		}
	}
	return false
}

// leave closes a connection that Renew wants to end, if nothing holds it.
func (c *client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.server.now()
	waiting := slices.ContainsFunc(slices.Collect(maps.Values(c.logins)), func(f finished) bool { return now.Before(f.until) })
	if c.old && !c.busy() && !waiting {
		c.out.conn.Close() // the reader notices
	}
}
