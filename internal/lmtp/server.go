package lmtp

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"peyk/internal/eventlog"
)

// Errors that a Handler meets when it reads a message.
var (
	ErrContent = errors.New("message holds a bare CR, a bare LF or a NUL")
	ErrTooBig  = errors.New("message is larger than the limit")
	ErrAborted = errors.New("client gave the transaction up")
)

// Options of a server. Zero values mean the defaults.
type Options struct {
	Hostname      string        // in the greeting; "localhost"
	MaxSize       int64         // octets of a message; 50 MiB
	MaxRecipients int           // of one transaction; 1,000
	MaxLine       int           // octets of a command line with its CRLF; 4,096, at most 16,384
	MaxErrors     int           // bad commands of one connection before 421; 20
	Connections   int           // at one time; 1,000
	Idle          time.Duration // between commands, as connections are kept open; 1 h
	Command       time.Duration // from the first byte of a command to its end; 1 min
	Data          time.Duration // without any progress within a message; 3 min
	Rate          int64         // least octets a second of a message, after one Data period; 1,024
	Write         time.Duration // for replies; 1 min
	Drain         time.Duration // for open transactions once ctx has ended; 10 s
	RequireTLS    bool          // offer REQUIRETLS (RFC 8689)
	Again         bool          // offer XAGAIN: the backend heeds Mail.Again
	UIDs          []int         // users that may connect through a Unix socket; empty: anybody whom its permissions let in
	Log           *eventlog.Log
	Now           func() time.Time // time.Now
}

func (o Options) orDefault() Options {
	o.Hostname = cmp.Or(o.Hostname, "localhost")
	o.MaxSize = cmp.Or(o.MaxSize, 50<<20)
	o.MaxRecipients = cmp.Or(o.MaxRecipients, 1000)
	o.MaxLine = min(cmp.Or(o.MaxLine, 4096), inputSize/2)
	o.MaxErrors = cmp.Or(o.MaxErrors, 20)
	o.Connections = cmp.Or(o.Connections, 1000)
	o.Idle = cmp.Or(o.Idle, time.Hour)
	o.Command = cmp.Or(o.Command, time.Minute)
	o.Data = cmp.Or(o.Data, 3*time.Minute)
	o.Rate = cmp.Or(o.Rate, 1024)
	o.Write = cmp.Or(o.Write, time.Minute)
	o.Drain = cmp.Or(o.Drain, 10*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// server is one Serve under way.
type server struct {
	Options
	backend Backend
	ctx     context.Context // of the handlers: ends only when the drain time is over

	mu       sync.Mutex
	sessions map[*session]bool
	draining bool
	serial   int
	wg       sync.WaitGroup
}

// Serve answers LMTP on l until ctx ends; it closes l. Transactions that are
// under way then get Options.Drain to finish, idle clients are told 421. The
// error is that of the listener, nil after an end by ctx.
func Serve(ctx context.Context, l net.Listener, b Backend, o Options) error {
	work, abandon := context.WithCancel(context.WithoutCancel(ctx))
	defer abandon()
	s := &server{Options: o.orDefault(), backend: b, ctx: work, sessions: make(map[*session]bool)}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	err := s.accept(ctx, l)
	l.Close()
	s.drain(abandon)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// accept takes connections until the listener ends. When the system lacks
// files or memory it waits, longer each time.
func (s *server) accept(ctx context.Context, l net.Listener) error {
	var wait time.Duration
	var logged time.Time
	for {
		conn, err := l.Accept()
		if err == nil {
			wait = 0
			s.start(conn)
			continue
		}
		if ctx.Err() != nil || !scarce(err) {
			return err
		}
		if now := s.Now(); now.Sub(logged) >= time.Minute {
			logged = now
			s.Log.Event(eventlog.AcceptWait, "error", err)
		}
		wait = min(max(2*wait, 10*time.Millisecond), time.Second)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func scarce(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.ECONNABORTED, unix.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (s *server) start(conn net.Conn) {
	ses := s.enter(conn)
	if ses == nil {
		return
	}
	go func() {
		defer s.leave(ses)
		ses.run()
	}()
}

// enter makes the session of a connection, or turns the connection away.
func (s *server) enter(conn net.Conn) *session {
	uid := peerUID(conn)
	if !s.welcome(uid) { // the permissions of the socket are the first fence, this is the second
		s.Log.Event(eventlog.Refused, "reason", "uid", "uid", uid)
		turnAway(conn, "421 4.7.0 this user may not hand in mail here\r\n")
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || len(s.sessions) >= s.Connections {
		s.Log.Event(eventlog.Refused, "reason", "connections", "uid", uid)
		turnAway(conn, "421 4.3.2 too many connections, try again later\r\n")
		return nil
	}
	s.serial++
	peer := Peer{Session: sessionID(s.Now(), s.serial), UID: uid}
	if network := conn.RemoteAddr().Network(); network != "unix" && network != "pipe" {
		peer.Addr = conn.RemoteAddr().String()
	}
	ses := newSession(s, conn, peer)
	s.sessions[ses] = true
	s.wg.Add(1)
	return ses
}

func (s *server) leave(ses *session) {
	ses.conn.Close()
	s.mu.Lock()
	delete(s.sessions, ses)
	s.mu.Unlock()
	s.wg.Done()
}

// turnAway says one line and closes. The line fits into any socket buffer.
func turnAway(conn net.Conn, line string) {
	conn.SetWriteDeadline(time.Now().Add(time.Second))
	conn.Write([]byte(line))
	conn.Close()
}

func (s *server) welcome(uid int) bool {
	if len(s.UIDs) == 0 || uid < 0 {
		return true
	}
	for _, u := range s.UIDs {
		if u == uid {
			return true
		}
	}
	return false
}

// peerUID returns the user at the other end of a Unix socket, -1 for any
// other connection.
func peerUID(conn net.Conn) int {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return -1
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return -1
	}
	uid := -1
	raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	return uid
}

// sessionID is unique within a log: the time of the connection and its number.
func sessionID(now time.Time, serial int) string {
	return strconv.FormatInt(now.Unix(), 36) + "." + strconv.FormatInt(int64(serial), 36)
}

// drain lets transactions finish, and cuts off what has not by then.
func (s *server) drain(abandon func()) {
	s.mu.Lock()
	s.draining = true
	for ses := range s.sessions {
		ses.drain()
	}
	s.mu.Unlock()
	cut := time.AfterFunc(s.Drain, func() {
		abandon()
		s.mu.Lock()
		defer s.mu.Unlock()
		for ses := range s.sessions {
			ses.conn.Close()
		}
	})
	s.wg.Wait()
	cut.Stop()
}
