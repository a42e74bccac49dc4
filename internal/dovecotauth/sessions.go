package dovecotauth

import (
	"context"
	"net/netip"
	"strings"
	"sync"
)

// checksAtOnce is how many sessions are asked about at one time.
const checksAtOnce = 16

// Sessions knows who is logged in to a server, and ends those whose login is
// not good any more: a password was changed, an app password revoked, an
// account suspended or removed.
type Sessions struct {
	auth    *Auth
	service string

	mu      sync.Mutex
	changes int // how often something changed
	open    map[*member]bool
}

// member is one session.
type member struct {
	user, ticket string
	client       netip.Addr
	end          func(reason string)
}

// NewSessions returns the sessions of a service.
func NewSessions(auth *Auth, service string) *Sessions {
	return &Sessions{auth: auth, service: service, open: make(map[*member]bool)}
}

// A Moment is a place between two changes.
type Moment int

// Now returns the moment. Take it before a login is tried: what changes while
// it is looked at is not missed then. A nil *Sessions has none.
func (s *Sessions) Now() Moment {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return Moment(s.changes)
}

// Enter adds a session, which leave takes out again. end is called, from
// another goroutine and perhaps after leave, when the login of before is not
// good any more.
func (s *Sessions) Enter(before Moment, login Login, client netip.Addr, end func(reason string)) (leave func()) {
	if s == nil || login.Ticket() == "" {
		return func() {}
	}
	m := &member{login.User, login.Ticket(), client, end}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[m] = true
	if Moment(s.changes) != before {
		go s.check(context.Background(), m)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, m)
	}
}

// Follow ends sessions until ctx does.
func (s *Sessions) Follow(ctx context.Context) {
	s.auth.Follow(ctx, s.service, func(domain string) {
		list := s.changed(domain)
		turns := make(chan struct{}, checksAtOnce)
		var wg sync.WaitGroup
		for _, m := range list {
			turns <- struct{}{}
			wg.Go(func() {
				s.check(ctx, m)
				<-turns
			})
		}
		wg.Wait()
	})
}

// changed returns the sessions of a domain that has changed.
func (s *Sessions) changed(domain string) []*member {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes++
	var list []*member
	for m := range s.open {
		if domain == "" || strings.HasSuffix(m.user, "@"+domain) {
			list = append(list, m)
		}
	}
	return list
}

// check ends a session if authd says so. When nobody can tell it goes on: the
// next connection to authd begins with a check of all.
func (s *Sessions) check(ctx context.Context, m *member) {
	good, reason, err := s.auth.Check(ctx, s.service, m.user, m.ticket, m.client)
	if err != nil || good {
		return
	}
	s.mu.Lock()
	still := s.open[m]
	delete(s.open, m)
	s.mu.Unlock()
	if still {
		m.end(reason)
	}
}
