package dovecotauth

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/eventlog"
)

// Limits of a server.
const (
	maxPending   = 1000              // logins under way on one connection
	maxLogins    = 1000              // finished logins that wait for their master, per connection
	loginKept    = 2 * time.Minute   // how long they wait
	loginTime    = 150 * time.Second // for one login, its client's thinking included
	writeTime    = 10 * time.Second  // for one reply
	longestSulk  = time.Second       // pause of the accept loop when files run out
	maxConnected = 4096              // connections of one server, both sockets together
)

// Mechanism is a SASL mechanism that a server offers.
type Mechanism struct {
	Name  string
	Flags []string // such as plaintext or mutual-auth
}

// Verdict is what an Authenticator says about a login.
type Verdict struct {
	OK     bool
	User   string            // canonical name; needed when OK, for the log otherwise
	Fields map[string]string // more for the client
	Temp   bool              // nobody can tell now
	Code   string            // of a failure, such as authz_fail
	Reason string            // of a failure, for the client's log; tells nothing about accounts
}

// An Authenticator decides about logins. It is called in a goroutine for each
// login, and may take its time.
type Authenticator interface {
	Mechanisms() []Mechanism
	Authenticate(ctx context.Context, r *Request) Verdict
}

// A Directory knows who exists. An error is a temporary failure.
type Directory interface {
	User(ctx context.Context, service, name string) (user User, found bool, err error)
	List(ctx context.Context) ([]string, error)
}

// Server answers on client and master sockets.
type Server struct {
	Auth      Authenticator     // nil = no client socket
	Directory Directory         // nil = no master socket
	Allow     func(p Peer) bool // who may use a master socket; nil = whoever connects
	Log       *eventlog.Log
	Now       func() time.Time // nil = time.Now
	Rand      io.Reader        // nil = crypto/rand

	mu      sync.Mutex
	conns   map[net.Conn]bool
	clients map[uint32]*client // by the identity that each gave
	lastID  uint32
}

// Peer is the process at the other end of a Unix socket.
type Peer struct {
	Known         bool // false when the connection is no Unix socket
	UID, GID, PID int
}

// ServeAuth answers logins on a client socket until ctx ends, and returns
// when every connection of this call is closed.
func (s *Server) ServeAuth(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, s.serveClient)
}

// ServeMaster answers lookups on a master socket until ctx ends.
func (s *Server) ServeMaster(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, s.serveMaster)
}

func (s *Server) serve(ctx context.Context, l net.Listener, handle func(context.Context, net.Conn)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			if !s.sulk(ctx, err) {
				return err
			}
			continue
		}
		if !s.admit(conn) {
			conn.Close()
			continue
		}
		wg.Go(func() { s.run(ctx, conn, handle) })
	}
}

// sulk waits after an accept that failed for want of resources; false means
// that the error is of another kind.
func (s *Server) sulk(ctx context.Context, err error) bool {
	for _, passing := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.ECONNABORTED, unix.EINTR} {
		if errors.Is(err, passing) {
			s.Log.Event(eventlog.AcceptWait, "error", err)
			select {
			case <-time.After(longestSulk):
			case <-ctx.Done():
			}
			return true
		}
	}
	return false
}

func (s *Server) admit(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= maxConnected {
		s.Log.Event(eventlog.Refused, "reason", "connections", "limit", maxConnected)
		return false
	}
	if s.conns == nil {
		s.conns = make(map[net.Conn]bool)
	}
	s.conns[conn] = true
	return true
}

// run serves one connection and survives its defects.
func (s *Server) run(ctx context.Context, conn net.Conn, handle func(context.Context, net.Conn)) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if p := recover(); p != nil {
			s.Log.Event(eventlog.Panic, "error", fmt.Sprint(p), "stack", debug.Stack())
		}
		cancel()
		stop()
		conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	handle(ctx, conn)
}

func (s *Server) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// peerOf returns the credentials of the process that connected.
func peerOf(conn net.Conn) Peer {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return Peer{}
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return Peer{}
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || cerr != nil {
		return Peer{}
	}
	return Peer{Known: true, UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}
}

// complain logs that a connection is given up, without what it said.
func (s *Server) complain(conn net.Conn, why error) {
	if errors.Is(why, io.EOF) || errors.Is(why, net.ErrClosed) {
		return
	}
	s.Log.Event(eventlog.Trouble, "reason", "protocol", "peer", strconv.Itoa(peerOf(conn).PID), "error", why)
}

// cookie returns the secret that ties a login to its master's request.
func (s *Server) cookie() (string, error) {
	random := s.Rand
	if random == nil {
		random = rand.Reader
	}
	var b [16]byte
	_, err := io.ReadFull(random, b[:])
	return hex.EncodeToString(b[:]), err
}

// out writes whole lines, from several goroutines.
type out struct {
	mu   sync.Mutex
	conn net.Conn
}

func (o *out) write(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conn.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := o.conn.Write(b); err != nil {
		o.conn.Close() // the reader notices
	}
}

// expectVersion reads the other side's first line.
func expectVersion(r *bufio.Reader) error {
	m, err := readMessage(r)
	if err == nil && !m.isVersion() {
		err = garbage("no version 1 to begin with")
	}
	return err
}

func pid() string { return strconv.Itoa(os.Getpid()) }
