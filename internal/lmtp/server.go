package lmtp

import (
	"context"
	"errors"
	"net"
	"time"

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
	MaxLine       int           // octets of a command line; 4,096
	MaxErrors     int           // bad commands in a row before 421; 20
	Connections   int           // at one time; 1,000
	Idle          time.Duration // between commands, as connections are kept open; 1 h
	Command       time.Duration // from the first byte of a command to its end; 1 min
	Data          time.Duration // without any progress within a message; 3 min
	Rate          int64         // least octets a second of a message, after one Data period; 1,024
	Write         time.Duration // for replies; 1 min
	Drain         time.Duration // for open transactions once ctx has ended; 10 s
	RequireTLS    bool          // offer REQUIRETLS (RFC 8689)
	UIDs          []int         // users that may connect through a Unix socket; empty: anybody whom its permissions let in
	Log           *eventlog.Log
	Now           func() time.Time // time.Now
}

// Serve answers LMTP on l until ctx ends; it closes l. Transactions that are
// under way then get Options.Drain to finish, idle clients are told 421.
func Serve(ctx context.Context, l net.Listener, b Backend, o Options) error {
	panic("not written yet")
}
