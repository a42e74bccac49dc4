// Package imapd serves mailboxes by IMAP4rev1 (RFC 3501) and the extensions
// that its capability line names. What is protocol lives here, one file per
// command; mail lives in package mailbox, the structure of a message in
// package mimescan.
//
// A session reads one command at a time. Its parser pulls words from the
// connection, so a literal is asked for only once its size and its place are
// known to be good; whatever remains of a refused command is read and thrown
// away, and never run as a command (RFC 7888 §4). Each selected folder is a
// view, the list of messages that the client knows of; news is what differs
// between the view and the newest snapshot of the folder.
package imapd

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"peyk/internal/dovecotauth"
	"peyk/internal/eventlog"
	"peyk/internal/guardconn"
	"peyk/internal/mailbox"
)

// Users answers who may log in, and where the mail is. Its errors are
// *status.Error: 5xx for a login that is refused, 4xx when nobody can tell.
type Users interface {
	// Mechanisms returns the SASL mechanisms that a client may be offered.
	Mechanisms(ctx context.Context, c Client) []string
	// Login holds a SASL exchange and returns the canonical name of the user,
	// and what the login may do.
	// A nil initial response is none; next answers each challenge, and its
	// error ends the exchange and is returned.
	Login(ctx context.Context, mechanism string, initial []byte, c Client, next func(challenge []byte) ([]byte, error)) (dovecotauth.Login, error)
	// Mailbox returns the root of the user's Maildir and its limits.
	Mailbox(ctx context.Context, user string) (root string, quota mailbox.Quota, err error)
}

// Client is what is known about who logs in.
type Client struct {
	Session       string
	Secured       bool // TLS, or a connection that needs none
	Remote, Local netip.Addr
	TLS           *tls.ConnectionState // nil without
	Config        *tls.Config          // that TLS was made with
}

// Limits bound what a session may cost; all are control files.
type Limits struct {
	LoginTime   time.Duration // to log in
	Handshake   time.Duration // for STARTTLS
	Autologout  time.Duration // longest silence after login (RFC 3501 §5.4)
	SearchTime  time.Duration // for one SEARCH
	StillHere   time.Duration // between two signs of life in IDLE; 0 is none
	Line        int           // octets of a command without its literals, after login
	Literals    int64         // octets of all literals of a command but APPEND
	MessageSize int64         // octets of an APPEND
	Errors      int           // commands that cannot be understood, then BYE
	Logins      int           // failed logins, then BYE
	PerUser     int           // connections of one user; 0 is no limit
}

// DefaultLimits are those of the control files' defaults.
func DefaultLimits() Limits {
	return Limits{LoginTime: 3 * time.Minute, Handshake: 30 * time.Second, Autologout: 30 * time.Minute, SearchTime: 2 * time.Minute, StillHere: 2 * time.Minute,
		Line: 64 << 10, Literals: 64 << 10, MessageSize: 50 << 20, Errors: 20, Logins: 3, PerUser: 50}
}

// Limits that are not for tuning.
const (
	lineBeforeLogin    = 8 << 10
	literalBeforeLogin = 8 << 10
	maxLiterals        = 256     // literals of one command
	maxDrain           = 1 << 20 // octets of a refused command that are read, besides an APPEND
	commandTime        = 5 * time.Minute
	dataRate           = 512 // octets a second, at least, of a literal
	dataWindow         = time.Minute
)

// Options of a Server.
type Options struct {
	Host      *mailbox.Host
	Users     Users
	Sessions  *dovecotauth.Sessions // ends those whose login is not good any more; nil ends none
	TLS       *tls.Config           // for STARTTLS; nil offers none
	Plaintext []netip.Prefix        // from where a login without TLS is allowed
	Exempt    []netip.Prefix        // from where a user may have any number of connections
	Limits    Limits
	Hostname  string // in the greeting
	Log       *eventlog.Log
	Now       func() time.Time
	Rand      io.Reader
	Preauth   string              // a Maildir: sessions begin logged in, to it
	TextIndex bool                // searches use a text index, which sessions keep up to date
	Others    string              // what names of other users' mailboxes begin with; empty offers none
	Admins    []string            // who may set quotas and the server's shared metadata
	Metadata  *mailbox.MetaStore  // of the server, shared by all; may be nil
	AdminURI  string              // how to reach the administrator (RFC 5464 §6.2.2)
	Shared    *mailbox.SharedList // who shares folders with whom; may be nil
}

// drainTime is how long sessions may go on once the context of Serve ended.
const drainTime = 8 * time.Second

// Farewell is the line for a session that a shutdown ends.
const Farewell = "* BYE the server is shutting down"

// Server runs sessions.
type Server struct {
	Tracker guardconn.Tracker // of the connections that Serve gets: put it into the options of their listener
	options atomic.Pointer[Options]
	buffers sync.Pool // of *[]byte, for small messages

	seats    seats
	indexer  indexer
	sortKeys *sortKeys
	searches chan struct{} // holds one for each worker of a search that has a turn
}

// New returns a server.
func New(o Options) *Server {
	srv := &Server{sortKeys: &sortKeys{}, searches: make(chan struct{}, runtime.GOMAXPROCS(0))}
	srv.options.Store(&o)
	return srv
}

// Close ends what goes on in the background, once no session is left.
func (srv *Server) Close() { srv.indexer.stop() }

// SetOptions replaces the options for sessions that begin from now on.
func (srv *Server) SetOptions(o Options) { srv.options.Store(&o) }

// Serve answers the connections of a listener, which should be a
// *guardconn.Listener, until ctx ends or the listener does; sessions then
// have a few seconds to end. It returns nil after ctx, else the listener's
// error.
func (srv *Server) Serve(ctx context.Context, l net.Listener) error {
	var sessions sync.WaitGroup
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		l.Close()
		drain, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		srv.Tracker.Drain(drain)
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
		sessions.Go(func() { srv.serve(c) })
	}
}

// serve runs one session.
func (srv *Server) serve(c net.Conn) {
	o := srv.options.Load()
	conn, ok := c.(*guardconn.Conn)
	if !ok {
		conn = guardconn.NewConn(c, guardconn.Options{Log: o.Log, Now: o.Now, Farewell: Farewell})
	}
	defer conn.Close()
	// A shutdown lets commands end: the context of Serve does not cut them.
	s := newSession(context.Background(), srv, o, conn)
	defer s.close()
	defer s.recover()
	s.run()
}
