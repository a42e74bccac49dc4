// Package deliver puts mail into mailboxes: one message for any number of
// local recipients, handed in by LMTP or on standard input.
//
// A message for several recipients is written and synced once and then
// hard-linked into the other Maildirs. That is why it carries Delivered-To
// only when the transaction has a single recipient: one file cannot name
// several.
//
// A recipient's home may hold a .forward file, see forward.go.
package deliver

import (
	"context"
	"io"
	"time"

	"peyk/internal/commit"
	"peyk/internal/dovecotauth"
	"peyk/internal/envelope"
	"peyk/internal/eventlog"
	"peyk/internal/mailbox"
)

const (
	service   = "lmtp"    // our name in the authentication protocol, as Dovecot's
	maxHeader = 256 << 10 // octets of a header that are looked at
	maxKept   = 128 << 10 // octets of a message to be read twice that stay in memory
	lockTime  = 30 * time.Second
)

// Users tells who has an account; *dovecotauth.UserDB does.
type Users interface {
	Lookup(ctx context.Context, service, user string) (account dovecotauth.User, found bool, err error)
}

// Store keeps mailboxes; Maildirs does.
type Store interface {
	// Deliver files one message in all targets, durably, with an error for
	// each: see mailbox.Host.
	Deliver(targets []mailbox.Target, write func(io.Writer) error) []error
	// HasFolder reports whether the Maildir at root has a folder.
	HasFolder(root, folder string) (bool, error)
}

// Queue takes forwarded mail; Drop does.
type Queue interface {
	NewID() (string, error)
	Create(e *envelope.Envelope) (Letter, error)
}

// Letter is a message on its way into the queue.
type Letter interface {
	io.Writer
	Commit() error
	Abort()
}

// Policy is what a reload may change. The zero value is not useful: see
// control.
type Policy struct {
	Subaddress string        // separator, "" for none
	Quota      mailbox.Quota // of an account that names none
	RefuseFull bool          // a full mailbox is a permanent failure
	Pipes      bool          // .forward may run programs
	PipeTime   time.Duration // and they this long
	HopLimit   int           // most Received fields of a message to forward
}

// Options of an Agent. All but Log and TempDir are required.
type Options struct {
	Users    Users
	Store    Store
	Queue    Queue
	Disk     *commit.Disk
	Hostname string
	TempDir  string // for messages that are read twice; "" is the system's
	Log      *eventlog.Log
	Now      func() time.Time
}
