// Package pop3d serves POP3 (RFC 1939) over Maildirs, with CAPA (RFC 2449),
// STLS (RFC 2595), AUTH (RFC 5034), response codes (RFC 3206) and UTF8 and
// LANG (RFC 6856). It is the smallest whole server of Peyk: read it first.
//
// A session is a loop that reads a line, finds its command in a table and
// writes the reply into a guardconn.Conn, which sends it once the client has
// nothing more to say.
package pop3d

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
)

// drainTime is how long sessions may go on once the context of Serve ended.
const drainTime = 8 * time.Second

// An Account is where the mail of a user lies.
type Account struct {
	User    string // canonical name
	Maildir string
	Login   dovecotauth.Login // what the login may do, and how it is checked again
}

// Credentials are a login and what the server knows about who tries it.
type Credentials struct {
	Mechanism         string
	Response          []byte                                 // the initial one; nil is none
	Next              func(challenge []byte) ([]byte, error) // answers a challenge; its error ends the login and is returned
	Secured           bool
	RemoteIP, LocalIP netip.Addr
	Session           string
	TLS               *tls.ConnectionState // nil without
	Config            *tls.Config          // that TLS was made with
}

// Accounts decides about logins. Its errors are *status.Error: temporary ones
// become [SYS/TEMP], the others [AUTH] (RFC 3206).
type Accounts interface {
	// Mechanisms returns the SASL mechanisms that may be offered.
	Mechanisms(context.Context, Credentials) []string
	Login(context.Context, Credentials) (Account, error)
}

// A Maildrop is one user's mail, locked for one session.
type Maildrop interface {
	// Snapshot returns the messages of the session; it is called once.
	Snapshot(context.Context) (*mailbox.Snapshot, error)
	// Open opens the file of a message.
	Open(uid uint32) (*os.File, error)
	// Expunge removes messages for good.
	Expunge(uids []uint32) error
	// Close gives up the lock.
	Close()
}

// Options are what a Server needs.
type Options struct {
	Hostname         string                // in the greeting
	TLS              *tls.Config           // for STLS; nil does not offer it
	Accounts         Accounts              // nil refuses every login
	Drops            Drops                 // opens maildrops
	Sessions         *dovecotauth.Sessions // ends those whose login is not good any more; nil ends none
	Plaintext        []netip.Prefix        // from where a login without TLS is allowed
	HandshakeTimeout time.Duration         // for STLS
	LoginTimeout     time.Duration         // longest silence before the login
	IdleTimeout      time.Duration         // and after it (RFC 1939 §3: at least 10 minutes)
	LoginDelay       time.Duration         // least time between two logins of a user; 0 is none
	Preauth          string                // a Maildir: sessions begin logged in, to it
	Log              *eventlog.Log
	Now              func() time.Time
	Rand             io.Reader
}

// Drops opens maildrops. Open fails with mailbox.ErrInUse while another
// session has the maildrop.
type Drops interface {
	Open(maildir string) (Maildrop, error)
}

// Server is a POP3 server.
type Server struct {
	Tracker guardconn.Tracker // of the connections that Serve gets: put it into the options of their listener
	options atomic.Pointer[Options]
	recent  recent
	writers sync.Pool // of *writer, for RETR
}

// NewServer returns a server.
func NewServer(o Options) *Server {
	s := &Server{recent: recent{last: map[string]time.Time{}}}
	s.writers.New = func() any { return newWriter(chunk) }
	s.options.Store(&o)
	return s
}

// SetOptions replaces the options for sessions that begin from now on.
func (s *Server) SetOptions(o Options) { s.options.Store(&o) }

// Options returns the options in force.
func (s *Server) Options() Options { return *s.options.Load() }

// Serve answers the connections of a listener, which should be a
// *guardconn.Listener, until ctx ends or the listener does; sessions then have
// a few seconds to end. It returns nil after ctx, else the listener's error.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var sessions sync.WaitGroup
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		l.Close()
		drain, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		s.Tracker.Drain(drain)
		close(drained)
	})
	for {
		c, err := l.Accept()
		if err != nil {
			if !stop() {
				<-drained
			}
			sessions.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		sessions.Go(func() { s.serve(ctx, c) })
	}
}

// serve runs one session.
func (s *Server) serve(ctx context.Context, c net.Conn) {
	o := s.options.Load()
	conn, ok := c.(*guardconn.Conn)
	if !ok {
		conn = guardconn.NewConn(c, guardconn.Options{Log: o.Log, Now: o.Now})
	}
	defer conn.Close()
	id := newID(o.Rand)
	ses := newSession(s, o, conn, id)
	defer ses.end()
	defer func() {
		if p := recover(); p != nil {
			ses.reason = "panic"
			ses.log.Event(eventlog.Panic, "error", p, "stack", string(debug.Stack()))
		}
	}()
	ses.run(ctx)
}

// newID returns the id that joins the log lines of a session.
func newID(random io.Reader) string {
	var b [6]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "unknown" // only the log suffers
	}
	return hex.EncodeToString(b[:])
}
