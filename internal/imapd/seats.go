package imapd

import (
	"net/netip"
	"sync"

	"github.com/emersion/go-imap/v2"
)

// seats counts the sessions of each user, so that one user, or one password
// that leaked, cannot have every connection. It remembers nobody who has no
// session.
type seats struct {
	mu    sync.Mutex
	taken map[string]int
}

// take gives a user one more seat, and the function that gives it back. most
// is how many a user may have; 0 is no limit.
func (s *seats) take(user string, most int) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if most > 0 && s.taken[user] >= most {
		return nil, false
	}
	if s.taken == nil {
		s.taken = make(map[string]int)
	}
	s.taken[user]++
	return sync.OnceFunc(func() { s.left(user) }), true
}

func (s *seats) left(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[user]--; s.taken[user] <= 0 {
		delete(s.taken, user)
	}
}

// errSeats refuses a login with the right password. It is no failed login.
var errSeats = no(imap.ResponseCodeLimit, "this user has too many connections: close one first")

// sit takes a seat for the user who logs in.
func (s *session) sit(user string) error {
	most := s.limits.PerUser
	if s.exempt() {
		most = 0
	}
	leave, ok := s.srv.seats.take(user, most)
	if !ok {
		return errSeats
	}
	s.leave = leave
	return nil
}

// stand gives the seat back.
func (s *session) stand() {
	if s.leave != nil {
		s.leave()
	}
	s.leave = nil
}

// exempt reports whether no limit of connections holds for the client.
func (s *session) exempt() bool { return contains(s.o.Exempt, addrOf(s.conn.RemoteAddr())) }

func contains(networks []netip.Prefix, a netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
