package dovecotauth

import (
	"bufio"
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"peyk/internal/eventlog"
)

// Request is one login under way, as an Authenticator sees it.
type Request struct {
	Service  string
	Mech     string // upper case
	Secured  bool
	RemoteIP netip.Addr // not valid when unknown
	LocalIP  netip.Addr
	Session  string
	Initial  []byte // nil when the client sent no initial response
	Obeys    bool   // the caller obeys FieldRights and follows changes
	Code     string // of a second factor
	Asks     bool   // the caller can ask its user for such a code

	Bindings    map[string][]byte // channel bindings of the client's connection, by kind
	Certificate *Certificate      // that the client has shown; nil = none

	id        uint32
	nologin   bool
	client    *client
	responses chan []byte // of CONT
}

// String tells a login from others without its secret.
func (r *Request) String() string { return r.Service + " " + r.Mech + " " + r.Session }

// ErrCancelled is the end of a login that its client gave up.
var ErrCancelled = errors.New("the login was cancelled")

// Challenge sends a challenge and returns the response.
func (r *Request) Challenge(ctx context.Context, text []byte) ([]byte, error) {
	r.client.out.write(newLine("CONT", r.id).word(base64.StdEncoding.EncodeToString(text)).end())
	select {
	case b := <-r.responses:
		return b, nil
	case <-ctx.Done():
		return nil, ErrCancelled
	}
}

// client is one connection of a client socket.
type client struct {
	server *Server
	out    out
	pid    uint32 // that the client gave
	cookie string

	mu      sync.Mutex
	pending map[uint32]*pending
	logins  map[uint32]finished // that wait for their master
	old     bool                // its handshake is not true any more
}

type pending struct {
	request *Request
	cancel  context.CancelFunc
}

// finished is a login that succeeded.
type finished struct {
	service, user string
	until         time.Time
}

func (s *Server) serveClient(ctx context.Context, conn net.Conn) {
	c := &client{server: s, out: out{conn: conn}, pending: make(map[uint32]*pending), logins: make(map[uint32]finished)}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := c.greet()
	r := bufio.NewReaderSize(conn, maxRequest)
	if err == nil {
		err = c.introduce(r)
	}
	defer s.forget(c)
	for err == nil {
		var m message
		m, err = readMessage(r)
		if err == nil {
			err = c.command(ctx, &wg, m)
		}
	}
	s.complain(conn, err)
}

// greet sends the handshake, which Dovecot's and Postfix's clients read before
// or after they sent theirs.
func (c *client) greet() error {
	var err error
	if c.cookie, err = c.server.cookie(); err != nil {
		return err
	}
	b := []byte("VERSION\t" + major + "\t" + clientMinor + "\n")
	for _, m := range c.server.Auth.Mechanisms() {
		l := (&line{append(b, "MECH"...)}).word(m.Name)
		for _, flag := range m.Flags {
			l.word(flag)
		}
		b = l.end()
	}
	b = append(b, "SPID\t"+pid()+"\nCUID\t"+strconv.FormatUint(uint64(c.server.connectionID()), 10)+"\nCOOKIE\t"+c.cookie+"\nDONE\n"...)
	c.out.write(b)
	return nil
}

func (s *Server) connectionID() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	return s.lastID
}

// introduce reads the client's handshake: its version, and its identity, under
// which masters will ask.
func (c *client) introduce(r *bufio.Reader) error {
	if err := expectVersion(r); err != nil {
		return err
	}
	m, err := readMessage(r)
	if err != nil {
		return err
	}
	id, ok := m.id()
	if m.command != "CPID" || !ok || id == 0 {
		return garbage("expected CPID and a number")
	}
	c.pid = id
	c.server.register(c)
	return nil
}

// register notes who has an identity. A later connection with the same one
// takes it over; the earlier one can log in on, but no master finds it.
func (s *Server) register(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients == nil {
		s.clients = make(map[uint32]*client)
	}
	s.clients[c.pid] = c
}

func (s *Server) forget(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[c.pid] == c {
		delete(s.clients, c.pid)
	}
}

// command obeys one line. An error ends the connection.
func (c *client) command(ctx context.Context, wg *sync.WaitGroup, m message) error {
	id, ok := m.id()
	if !ok {
		return garbage("a request without a number")
	}
	switch m.command {
	case "AUTH":
		return c.auth(ctx, wg, id, m)
	case "CONT":
		return c.cont(id, m)
	case "CANCEL":
		c.cancel(id)
		return nil
	}
	return garbage("an unknown request")
}

// auth begins a login.
func (c *client) auth(ctx context.Context, wg *sync.WaitGroup, id uint32, m message) error {
	r, err := parseAuth(id, m)
	if err != nil {
		c.out.write(newLine("FAIL", id).word("temp").word("reason=" + err.Error()).end())
		return nil
	}
	r.client = c
	ctx, cancel := context.WithCancel(ctx)
	switch n, ok := c.begin(id, &pending{r, cancel}); {
	case !ok:
		cancel()
		return garbage("the number of a login that is under way")
	case n > maxPending:
		cancel()
		c.end(id)
		c.out.write(newLine("FAIL", id).word("temp").word("reason=too many logins under way").end())
		return nil
	}
	wg.Go(func() {
		defer cancel()
		c.decide(ctx, r)
		c.leave()
	})
	return nil
}

func (c *client) begin(id uint32, p *pending) (n int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[id] != nil {
		return 0, false
	}
	c.pending[id] = p
	return len(c.pending), true
}

func (c *client) end(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

// decide asks the Authenticator and sends its answer.
func (c *client) decide(ctx context.Context, r *Request) {
	limited, cancel := context.WithTimeout(ctx, loginTime)
	if r.Mech == FollowMechanism { // lasts as long as its connection
		cancel()
		limited, cancel = context.WithCancel(ctx)
	}
	defer cancel()
	v := c.ask(limited, r)
	c.end(r.id)
	if ctx.Err() != nil {
		return // cancelled, or the connection is gone
	}
	if v.OK && v.User != "" {
		if !r.nologin {
			c.keep(r, v)
		}
		c.out.write(okLine(r.id, v))
		return
	}
	c.out.write(failLine(r.id, v))
}

// ask survives a defect of the Authenticator: nobody gets in by a panic.
func (c *client) ask(ctx context.Context, r *Request) (v Verdict) {
	defer func() {
		if p := recover(); p != nil {
			c.server.Log.Event(eventlog.Panic, "error", fmt.Sprint(p), "stack", debug.Stack())
			v = Verdict{Temp: true}
		}
	}()
	return c.server.Auth.Authenticate(ctx, r)
}

func okLine(id uint32, v Verdict) []byte {
	l := newLine("OK", id).field("user", v.User)
	appendFields(l, v.Fields)
	return l.end()
}

func failLine(id uint32, v Verdict) []byte {
	l := newLine("FAIL", id).field("user", v.User).field("reason", v.Reason)
	if v.Temp || v.OK {
		l.word("temp").word("code=temp_fail")
	} else {
		l.field("code", v.Code)
	}
	return l.end()
}

// appendFields adds fields in order of their names, a flag without a value.
func appendFields(l *line, fields map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if v := fields[name]; v != "" {
			l.word(name + "=" + v)
		} else {
			l.word(name)
		}
	}
}

// keep remembers a login until its master asks, as Dovecot's login processes
// hand their users over.
func (c *client) keep(r *Request, v Verdict) {
	now := c.server.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.logins, func(_ uint32, f finished) bool { return now.After(f.until) })
	if len(c.logins) < maxLogins {
		c.logins[r.id] = finished{r.Service, v.User, now.Add(loginKept)}
	}
}

// claim gives a finished login to the master that knows the cookie, once.
func (s *Server) claim(pid, id uint32, cookie string) (finished, bool) {
	s.mu.Lock()
	c := s.clients[pid]
	s.mu.Unlock()
	if c == nil || subtle.ConstantTimeCompare([]byte(c.cookie), []byte(cookie)) != 1 {
		return finished{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.logins[id]
	delete(c.logins, id)
	return f, ok && !s.now().After(f.until)
}

// cont hands a response to its login.
func (c *client) cont(id uint32, m message) error {
	b, err := base64.StdEncoding.DecodeString(m.word(1))
	if err != nil {
		c.cancel(id)
		c.out.write(newLine("FAIL", id).word("reason=the response is not base64").end())
		return nil
	}
	c.mu.Lock()
	p := c.pending[id]
	c.mu.Unlock()
	if p == nil {
		return nil // over already
	}
	select {
	case p.request.responses <- b:
		return nil
	default:
		return garbage("a response that nobody asked for")
	}
}

func (c *client) cancel(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pending[id]; p != nil {
		p.cancel()
		delete(c.pending, id)
	}
}

// parseAuth reads the words of an AUTH request. Those that we do not know are
// ignored, as the protocol wants it.
func parseAuth(id uint32, m message) (*Request, error) {
	f := m.fields(2)
	r := &Request{id: id, Mech: strings.ToUpper(m.word(1)), Service: f["service"], Session: f["session"], responses: make(chan []byte, 1)}
	_, r.Secured = f["secured"]
	_, r.nologin = f["nologin"]
	_, r.Obeys = f[WordObeys]
	r.Code, r.Asks = f[WordCode]
	r.RemoteIP, _ = netip.ParseAddr(f["rip"])
	r.LocalIP, _ = netip.ParseAddr(f["lip"])
	r.RemoteIP, r.LocalIP = r.RemoteIP.Unmap().WithZone(""), r.LocalIP.Unmap().WithZone("")
	r.Bindings, r.Certificate = channel(f)
	resp, ok := f["resp"]
	if !ok {
		return r, nil
	}
	b, err := base64.StdEncoding.DecodeString(resp)
	if err != nil {
		return nil, errors.New("the response is not base64")
	}
	r.Initial = append([]byte{}, b...)
	return r, nil
}
