package pop3d

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"

	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
	"peyk/internal/status"
)

// Limits of a session.
const (
	lineLimit     = 512         // octets of a command with its CRLF; RFC 2449 §4 asks for 255
	responseLimit = 12288       // octets of a SASL response; as SMTP has it (RFC 4954 §4)
	lineTime      = time.Minute // for the rest of a line after its first octet
	readBuffer    = 1024        // octets; also the longest line that is skipped at a time
	strangerFails = 10          // errors before the login that end the session
	userFails     = 100         // and after it
	loginFails    = 3           // failed logins that end it
	outBuffer     = 16 << 10    // octets of a listing that are gathered before a write
)

// session is one connection, from the greeting to QUIT.
type session struct {
	server *Server
	o      *Options
	conn   *guardconn.Conn
	in     *bufio.Reader
	id     string
	log    *eventlog.Log
	began  time.Time
	remote netip.Addr
	client string // remote for the log, "" on a pipe

	// The AUTHORIZATION state.
	user      string // of USER, until PASS
	fails     int
	badLogins int
	utf8      bool // UTF8

	// The TRANSACTION state; drop is nil before it.
	drop      Maildrop
	messages  mailbox.List
	validity  uint32
	gone      []bool // by index: marked by DELE; nil while none is
	goneCount int
	goneSize  int64
	totalSize int64

	readOnly bool   // the password may only read
	unlist   func() // takes the session off the list of those that may be ended

	retrieved, bytes, deleted int64
	reason                    string // why it ended, for the log
	over                      bool
}

func newSession(s *Server, o *Options, conn *guardconn.Conn, id string) *session {
	ses := &session{server: s, o: o, conn: conn, id: id, log: o.Log.With("session", id), began: o.Now(), reason: "lost", unlist: func() {}}
	ses.in = bufio.NewReaderSize(conn, readBuffer)
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		ses.remote = a.AddrPort().Addr().Unmap()
		ses.client = ses.remote.String()
	}
	return ses
}

// run is the life of the session.
func (s *session) run(ctx context.Context) {
	if s.o.Preauth != "" {
		if err := s.enter(ctx, Account{User: "preauth", Maildir: s.o.Preauth}); err != nil {
			s.reason = "refused"
			s.refuse(err)
			return
		}
	}
	s.ok(s.o.Hostname + " Peyk POP3 ready")
	for !s.over {
		s.await()
		line, err := s.readLine()
		if err != nil {
			s.lost(err)
			return
		}
		if line == nil {
			s.fail("line too long, 512 octets at most")
			continue
		}
		s.command(ctx, line)
	}
}

// await sets the autologout timer and the one for slow typists.
func (s *session) await() {
	idle := s.o.LoginTimeout
	if s.drop != nil {
		idle = s.o.IdleTimeout
	}
	s.conn.SetPhase(guardconn.Phase{Idle: idle, Whole: lineTime, Command: true})
}

// lost says why the client is gone. RFC 1939 §3: a session that times out
// removes nothing and says nothing.
func (s *session) lost(err error) {
	var slow *guardconn.TimeoutError
	switch {
	case errors.Is(err, guardconn.ErrShutdown):
		s.reason = "shutdown"
		s.reply("-ERR [SYS/TEMP] the server is shutting down")
	case errors.Is(err, guardconn.ErrDismissed):
		s.reason = "ended"
	case errors.As(err, &slow):
		s.reason = "timeout"
	}
}

// readLine returns a command line without its end, or nil for one that is too
// long, which is skipped.
func (s *session) readLine() ([]byte, error) {
	line, err := s.in.ReadSlice('\n')
	if err == nil && len(line) <= lineLimit {
		return trimEnd(line), nil
	}
	for skipped := len(line); err == bufio.ErrBufferFull; skipped += len(line) {
		if skipped > 64*readBuffer {
			return nil, errors.New("endless line")
		}
		line, err = s.in.ReadSlice('\n')
	}
	return nil, err // an unfinished line at the end is never executed
}

func trimEnd(line []byte) []byte {
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// command executes one line.
func (s *session) command(ctx context.Context, line []byte) {
	verb, arg, err := parse(line)
	if err != nil {
		s.fail(err.Error())
		return
	}
	if verb != "PASS" && verb != "USER" {
		s.user = "" // RFC 1939 §7: PASS comes immediately after USER
	}
	c, known := lookup(verb)
	switch {
	case !known:
		s.fail("unknown command")
	case c.state&s.state() == 0:
		s.fail("not now: " + verb + " belongs to another state of the session")
	case c.bare && arg != "":
		s.fail(verb + " takes no argument")
	default:
		c.run(s, ctx, arg)
	}
}

func (s *session) state() state {
	if s.drop == nil {
		return authorization
	}
	return transaction
}

// ok answers +OK.
func (s *session) ok(text string) { s.reply("+OK " + text) }

// fail answers -ERR and counts it: a client that understands nothing is shown
// the door.
func (s *session) fail(text string) {
	s.reply("-ERR " + text)
	s.fails++
	limit := strangerFails
	if s.drop != nil {
		limit = userFails
	}
	if s.fails >= limit {
		s.bye("-ERR too many errors, closing")
		s.reason = "errors"
	}
}

// refuse answers a failure that is not the client's fault.
func (s *session) refuse(err error) {
	e := status.Of(err)
	code := "[SYS/PERM]" // RFC 3206 §4
	switch {
	case errors.Is(err, mailbox.ErrInUse):
		code = "[IN-USE]" // RFC 2449 §8.1.1
	case e.Temporary():
		code = "[SYS/TEMP]"
	}
	s.reply("-ERR " + code + " " + e.Text)
	s.log.Event(eventlog.Trouble, "reason", "maildrop", "error", err)
}

// bye answers and ends the session.
func (s *session) bye(line string) {
	s.reply(line)
	s.over = true
}

// reply writes one line. An error shows at the next read.
func (s *session) reply(line string) {
	var b [128]byte
	s.conn.Write(append(append(b[:0], line...), "\r\n"...))
}

// enter opens the maildrop: the TRANSACTION state begins.
func (s *session) enter(ctx context.Context, a Account) error {
	drop, err := s.o.Drops.Open(a.Maildir)
	if err != nil {
		return err
	}
	snapshot, err := drop.Snapshot(ctx)
	if err != nil {
		drop.Close()
		return err
	}
	s.drop, s.messages, s.validity = drop, snapshot.Messages, snapshot.UIDValidity
	for _, m := range s.messages.All() {
		s.totalSize += m.Size
	}
	s.log = s.log.With("user", a.User)
	s.fails = 0
	return nil
}

// end gives everything back and logs what was done.
func (s *session) end() {
	s.unlist()
	if s.drop != nil {
		s.drop.Close()
	}
	in, out := s.conn.Counts()
	s.log.Event(eventlog.Closed, "client", s.client, "reason", s.reason, "retrieved", s.retrieved, "octets", s.bytes,
		"deleted", s.deleted, "in", in, "out", out, "seconds", strconv.FormatFloat(s.o.Now().Sub(s.began).Seconds(), 'f', 3, 64))
}

// listing gathers the lines of a multi-line reply.
type listing struct {
	w   io.Writer
	buf []byte
}

// line is called after each line was appended to buf.
func (l *listing) line() {
	l.buf = append(l.buf, '\r', '\n')
	if len(l.buf) >= outBuffer {
		l.flush()
	}
}

func (l *listing) text(lines ...string) {
	for _, s := range lines {
		l.buf = append(l.buf, s...)
		l.line()
	}
}

// end writes the final dot.
func (l *listing) end() {
	l.text(".")
	l.flush()
}

func (l *listing) flush() {
	l.w.Write(l.buf)
	l.buf = l.buf[:0]
}
