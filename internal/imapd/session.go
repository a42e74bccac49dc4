package imapd

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/emersion/go-imap/v2"

	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
)

// flushAt is how much output may wait.
const flushAt = 32 << 10

// errLogout ends a session as the client wished.
var errLogout = errors.New("logout")

// A session is one connection.
type session struct {
	srv    *Server
	o      *Options
	conn   *guardconn.Conn
	in     *bufio.Reader
	out    []byte
	ctx    context.Context
	log    *eventlog.Log
	limits Limits
	id     string

	state    imap.ConnState
	leave    func()             // gives the seat of the user back
	unlist   func()             // takes the session off the list of those that may be ended
	rights   dovecotauth.Rights // of the password; "" is everything
	user     string
	groups   []string // that the user belongs to, for access control lists
	account  *mailbox.Account
	others   map[string]*mailbox.Account // of other users, by name
	sel      *selected
	bad      int // commands that were not understood
	failures int // logins that failed
	count    counters
	flushes  int // how often output went out
	on       features
	doing    progress // of the command
	watches  *watches // what NOTIFY has started; nil: it was never used
	removed  bool     // this command has removed messages, of which the client must hear
	owes     bool     // the highest mod-sequence must be told with the tagged answer

	firstItem bool // of the FETCH answer that is being written
	cursor    cursor
	scratch   []byte // fields of a header
}

// counters go into the log when the session ends.
type counters struct{ commands, fetched, stored, appended, expunged, moved int }

func newSession(ctx context.Context, srv *Server, o *Options, conn *guardconn.Conn) *session {
	var random [8]byte
	io.ReadFull(o.Rand, random[:])
	id := hex.EncodeToString(random[:])
	return &session{
		srv: srv, o: o, conn: conn, in: bufio.NewReaderSize(conn, 4<<10), ctx: ctx, id: id,
		log: o.Log.With("session", id), limits: o.Limits, state: imap.ConnStateNotAuthenticated, unlist: func() {},
	}
}

// close gives everything back and writes the last log line.
func (s *session) close() {
	s.deselect()
	s.stopWatches()
	s.closeOthers()
	if s.account != nil {
		s.account.Close()
	}
	s.unlist()
	s.stand()
	s.flush()
	s.conn.Close()
	in, out := s.conn.Counts()
	c := s.count
	s.log.Event(eventlog.Closed, "in", in, "out", out, "commands", c.commands, "fetched", c.fetched,
		"stored", c.stored, "appended", c.appended, "expunged", c.expunged, "moved", c.moved)
}

func (s *session) recover() {
	r := recover()
	if r == nil {
		return
	}
	s.log.Event(eventlog.Panic, "error", fmt.Sprint(r), "stack", string(debug.Stack()))
	s.bye("internal error")
}

// run greets and obeys until the client or an error ends it.
func (s *session) run() {
	s.log.Event(eventlog.Connected, "client", s.conn.RemoteAddr(), "tls", s.conn.TLSState() != nil)
	err := s.greet()
	for err == nil {
		err = s.command()
	}
	var late *guardconn.TimeoutError
	if errors.As(err, &late) {
		s.bye("too slow, or silent for too long") // RFC 3501 §5.4
	}
}

func (s *session) greet() error {
	if s.o.Preauth != "" {
		if err := s.open(s.o.Preauth, mailbox.Quota{}); err != nil {
			s.bye("cannot open the mailbox")
			s.log.Event(eventlog.Trouble, "reason", "cannot open the mailbox", "error", err)
			return err
		}
		s.text("* PREAUTH [CAPABILITY ", s.capabilities(), "] ", s.o.Hostname, " Peyk at your service\r\n")
		return nil
	}
	s.text("* OK [CAPABILITY ", s.capabilities(), "] ", s.o.Hostname, " Peyk at your service\r\n")
	return nil
}

// command reads and runs one command. Its error ends the session.
func (s *session) command() error {
	if err := s.flush(); err != nil {
		return err
	}
	s.shrink()
	s.waitForCommand()
	if err := s.notifyUntilCommand(); err != nil {
		return err
	}
	p := &parser{s: s}
	if err := p.readLine(); err != nil {
		return err
	}
	s.count.commands++
	s.removed = false
	r, err := s.dispatch(p)
	if rest := p.drain(); rest != nil {
		if _, tooLong := rest.(*drainError); !tooLong {
			return rest
		}
		s.complain(p, err)
		s.bye("this is too much to skip")
		return rest
	}
	return s.complete(p, r, err)
}

// waitForCommand sets the deadlines of the next command.
func (s *session) waitForCommand() {
	idle := s.limits.Autologout
	if s.state == imap.ConnStateNotAuthenticated {
		idle = s.limits.LoginTime
	}
	s.conn.SetPhase(guardconn.Phase{Idle: idle, Whole: commandTime, Command: true})
}

// reply is the tagged OK of a command.
type reply struct {
	code string // response code without brackets, or empty
	text string
}

// complete sends the tagged answer.
func (s *session) complete(p *parser, r reply, err error) error {
	if errors.Is(err, errAnswered) {
		return nil
	}
	if err != nil {
		s.settle(nil)
		err = s.complain(p, err)
		if err == nil && s.state == imap.ConnStateLogout {
			err = errLogout
		}
		return err
	}
	if r.text == "" {
		r.text = "done"
	}
	s.settle(&r)
	s.text(p.tag, " OK ")
	if r.code != "" {
		s.text("[", r.code, "] ")
	}
	s.text(r.text, "\r\n")
	if s.state == imap.ConnStateLogout {
		return errLogout
	}
	return nil
}

// untagged sends one untagged line.
func (s *session) untagged(parts ...string) {
	s.text("* ")
	s.text(parts...)
	s.text("\r\n")
}

func (s *session) text(parts ...string) {
	for _, p := range parts {
		s.out = append(s.out, p...)
	}
}

// bye announces the end (RFC 3501 §7.1.5).
func (s *session) bye(why string) {
	s.untagged("BYE ", why)
	s.flush()
}

// relieve sends what waits once it is much.
func (s *session) relieve() error {
	if len(s.out) < flushAt {
		return nil
	}
	return s.flush()
}

// flush hands the output to the connection, which sends it before it blocks
// in a read.
func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	s.flushes++
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err
}

// shrink lets an idle session hold no large buffer.
func (s *session) shrink() {
	if cap(s.out) > flushAt && s.in.Buffered() == 0 {
		s.out = nil
	}
}

// secured reports whether a password may be sent here.
func (s *session) secured() bool {
	if s.conn.TLSState() != nil {
		return true
	}
	return contains(s.o.Plaintext, addrOf(s.conn.RemoteAddr()))
}

func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// open makes the session one of a user whose Maildir is root.
func (s *session) open(root string, quota mailbox.Quota) error {
	a, err := s.o.Host.Open(root)
	if err != nil {
		return err
	}
	a.SetQuota(quota)
	s.account, s.state = a, imap.ConnStateAuthenticated
	return nil
}

// dataPhase sets the deadlines while a literal comes in.
func (s *session) dataPhase() {
	s.conn.SetPhase(guardconn.Phase{Idle: time.Minute, Rate: dataRate, Window: dataWindow})
}
