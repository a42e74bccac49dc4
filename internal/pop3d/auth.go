package pop3d

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/netip"
	"slices"
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
		s.login(ctx, user, s.credentials("PLAIN", []byte("\x00"+user+"\x00"+arg)))
	}
}

// offer lists the mechanisms that this client may use.
func (s *session) offer(ctx context.Context) []string {
	if s.o.Accounts == nil {
		return nil
	}
	return s.o.Accounts.Mechanisms(ctx, s.credentials("", nil))
}

// auth is AUTH (RFC 5034 §4).
func (s *session) auth(ctx context.Context, arg string) {
	mech, initial, given := strings.Cut(arg, " ")
	mech = strings.ToUpper(mech)
	switch {
	case !s.mayLogin():
		s.needTLS()
	case arg == "":
		s.mechanisms(ctx)
	case mech != "PLAIN" && !slices.Contains(s.offer(ctx), mech):
		s.fail("unknown mechanism; AUTH alone lists those that there are")
	default:
		s.begin(ctx, mech, initial, given)
	}
}

// begin reads the initial response. PLAIN, whose response has a form that we
// know, is asked for here.
func (s *session) begin(ctx context.Context, mech, initial string, given bool) {
	var response []byte
	var err error
	switch {
	case given:
		response, err = decode(initial)
	case mech == "PLAIN":
		response, err = s.challenge(nil)
	}
	if err == nil && mech == "PLAIN" {
		err = checkPlain(response)
	}
	if err != nil {
		s.giveUp(err)
		return
	}
	name := ""
	if mech == "PLAIN" {
		name = strings.Split(string(response), "\x00")[1]
	}
	s.login(ctx, name, s.credentials(mech, response))
}

// mechanisms answers AUTH without an argument, which old clients send to ask.
func (s *session) mechanisms(ctx context.Context) {
	s.ok("mechanisms follow")
	l := listing{w: s.conn}
	l.text(s.offer(ctx)...)
	l.end()
}

// Ends of a login that the client brought about.
var (
	errCancelled = errors.New("login cancelled") // RFC 5034 §4
	errBase64    = errors.New("this is not base64")
	errPlain     = errors.New("this is not a response of PLAIN")
)

// giveUp answers such an end. Any other error is that of the connection.
func (s *session) giveUp(err error) {
	if err == errCancelled || err == errBase64 || err == errPlain {
		s.fail(err.Error())
		return
	}
	s.lost(err)
	s.over = true
}

// challenge asks for a response on a line of its own.
func (s *session) challenge(text []byte) ([]byte, error) {
	s.reply("+ " + base64.StdEncoding.EncodeToString(text))
	s.await()
	line, err := s.readResponse()
	if err != nil {
		return nil, err
	}
	return decode(line)
}

// decode decodes a response; = is an empty one (RFC 5034 §4).
func decode(line string) ([]byte, error) {
	switch line {
	case "*":
		return nil, errCancelled
	case "=":
		return []byte{}, nil
	}
	response, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil {
		return nil, errBase64
	}
	return response, nil
}

// checkPlain looks at the form of a response of PLAIN (RFC 4616 §2).
func checkPlain(response []byte) error {
	fields := strings.Split(string(response), "\x00")
	if len(fields) != 3 || fields[1] == "" || fields[2] == "" {
		return errPlain
	}
	return nil
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

// login asks the authentication service and opens the maildrop.
func (s *session) login(ctx context.Context, name string, c Credentials) {
	var broken error
	c.Next = func(text []byte) (response []byte, err error) {
		response, broken = s.challenge(text)
		return response, broken
	}
	before := s.o.Sessions.Now()
	account, err := s.authenticate(ctx, c)
	if broken != nil {
		s.giveUp(broken)
		return
	}
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
	s.unlist = s.o.Sessions.Enter(before, account.Login, s.remote, s.ender())
	s.log.Event(eventlog.Login, "client", s.client, "tls", s.conn.TLSState() != nil, "messages", s.messages.Len())
	s.ok("maildrop is open")
}

var errNoAccounts = status.New(454, "4.7.0", "cannot check logins: there is no authentication service")

func (s *session) authenticate(ctx context.Context, c Credentials) (Account, error) {
	if s.o.Accounts == nil {
		return Account{}, errNoAccounts
	}
	account, err := s.o.Accounts.Login(ctx, c)
	if err == nil {
		err = s.take(account.Login.Rights())
	}
	return account, err
}

// credentials are a login of this session.
func (s *session) credentials(mech string, response []byte) Credentials {
	return Credentials{Mechanism: mech, Response: response, Secured: s.secured(), RemoteIP: s.remote, LocalIP: s.local(), Session: s.id,
		TLS: s.conn.TLSState(), Config: s.o.TLS}
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
