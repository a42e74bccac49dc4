package pop3d

import (
	"bufio"
	"context"
	"encoding/base64"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/status"
)

// mayLogin reports whether a password may cross this connection: under TLS,
// over a pipe, or from a network that the admin trusts.
func (s *session) mayLogin() bool {
	if s.secured() {
		return true
	}
	for _, p := range s.o.Plaintext {
		if p.Contains(s.remote) {
			return true
		}
	}
	return false
}

// secured reports whether nobody can listen.
func (s *session) secured() bool {
	return s.conn.TLSState() != nil || !s.remote.IsValid()
}

// userName is USER (RFC 1939 §7). It never tells whether the user exists.
func (s *session) userName(_ context.Context, arg string) {
	s.user = ""
	switch {
	case !s.mayLogin():
		s.needTLS()
	case arg == "":
		s.fail("USER needs a name")
	default:
		s.user = arg
		s.ok("now the password")
	}
}

func (s *session) needTLS() {
	s.fail("no login without TLS; use STLS first")
}

// pass is PASS; its argument may hold spaces.
func (s *session) pass(ctx context.Context, arg string) {
	user := s.user
	s.user = ""
	switch {
	case !s.mayLogin():
		s.needTLS()
	case user == "":
		s.fail("USER comes first")
	case arg == "":
		s.fail("PASS needs a password")
	default:
		s.login(ctx, user, []byte("\x00"+user+"\x00"+arg))
	}
}

// auth is AUTH (RFC 5034 §4).
func (s *session) auth(ctx context.Context, arg string) {
	mech, initial, given := strings.Cut(arg, " ")
	switch {
	case !s.mayLogin():
		s.needTLS()
	case arg == "":
		s.mechanisms()
	case fold(mech) != "plain":
		s.fail("unknown mechanism; AUTH PLAIN is served")
	case given:
		s.plain(ctx, initial)
	default:
		s.challenge(ctx)
	}
}

// mechanisms answers AUTH without an argument, which old clients send to ask.
func (s *session) mechanisms() {
	s.ok("mechanisms follow")
	l := listing{w: s.conn}
	l.text("PLAIN")
	l.end()
}

// challenge asks for the response on a line of its own.
func (s *session) challenge(ctx context.Context) {
	s.reply("+ ")
	s.await()
	response, err := s.readResponse()
	switch {
	case err != nil:
		s.lost(err)
		s.over = true
	case response == "*":
		s.fail("login cancelled") // RFC 5034 §4
	default:
		s.plain(ctx, response)
	}
}

// readResponse reads a line that may be longer than a command.
func (s *session) readResponse() (string, error) {
	var line []byte
	for {
		part, err := s.in.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return string(trimEnd(line)), nil
		}
		if err != bufio.ErrBufferFull || len(line) > responseLimit {
			s.reply("-ERR the response is too long, 12288 octets at most")
			return "", err
		}
	}
}

// plain decodes a response of SASL PLAIN (RFC 4616 §2).
func (s *session) plain(ctx context.Context, response string) {
	if response == "=" {
		response = "" // RFC 5034 §4: an empty initial response
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(response)
	if err != nil {
		s.fail("this is not base64")
		return
	}
	fields := strings.Split(string(decoded), "\x00")
	if len(fields) != 3 || fields[1] == "" || fields[2] == "" {
		s.fail("this is not a response of PLAIN")
		return
	}
	s.login(ctx, fields[1], decoded)
}

// login asks the authentication service and opens the maildrop.
func (s *session) login(ctx context.Context, name string, response []byte) {
	account, err := s.authenticate(ctx, response)
	if err == nil && !s.server.recent.allow(account.User, s.o.Now(), s.o.LoginDelay) {
		s.log.Event(eventlog.LoginFailed, "user", account.User, "client", s.client, "reason", "login-delay")
		s.reply("-ERR [LOGIN-DELAY] too soon after the last login") // RFC 2449 §8.1.2
		return
	}
	if err != nil {
		s.denied(name, err)
		return
	}
	if err := s.enter(ctx, account); err != nil {
		s.log.Event(eventlog.LoginFailed, "user", account.User, "client", s.client, "reason", "maildrop", "error", err)
		s.refuse(err)
		return
	}
	s.log.Event(eventlog.Login, "client", s.client, "tls", s.conn.TLSState() != nil, "messages", s.messages.Len())
	s.ok("maildrop is open")
}

var errNoAccounts = status.New(454, "4.7.0", "cannot check logins: there is no authentication service")

func (s *session) authenticate(ctx context.Context, response []byte) (Account, error) {
	if s.o.Accounts == nil {
		return Account{}, errNoAccounts
	}
	return s.o.Accounts.Login(ctx, Credentials{Response: response, Secured: s.secured(), RemoteIP: s.remote, LocalIP: s.local(), Session: s.id})
}

// denied answers a failed login (RFC 3206 §4). The log gets the name that was
// tried, never the password.
func (s *session) denied(name string, err error) {
	e := status.Of(err)
	s.log.Event(eventlog.LoginFailed, "user", name, "client", s.client, "error", err)
	if e.Temporary() {
		s.reply("-ERR [SYS/TEMP] " + e.Text)
		return
	}
	s.badLogins++
	if s.badLogins < loginFails {
		s.fail("[AUTH] wrong name or password")
		return
	}
	s.bye("-ERR [AUTH] wrong name or password, closing")
	s.reason = "login-failed"
}

func (s *session) local() netip.Addr {
	if a, ok := s.conn.LocalAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// recent remembers the last logins, for LOGIN-DELAY (RFC 2449 §6.5).
type recent struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// remembered is how many users recent remembers at most before it forgets
// those whose delay is over.
const remembered = 10_000

// allow reports whether user may log in now, and remembers it.
func (r *recent) allow(user string, now time.Time, delay time.Duration) bool {
	if delay == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.last[user]; ok && now.Sub(last) < delay {
		return false
	}
	if len(r.last) >= remembered {
		r.forget(now, delay)
	}
	r.last[user] = now
	return true
}

func (r *recent) forget(now time.Time, delay time.Duration) {
	for user, last := range r.last {
		if now.Sub(last) >= delay {
			delete(r.last, user)
		}
	}
}
