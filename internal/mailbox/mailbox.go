// Package mailbox keeps mail in Maildir++ (peyk-maildir(5)), so that Dovecot
// and Courier can take turns with Peyk on the same files.
package mailbox

import (
	"errors"
	"fmt"
	"io"
	"time"

	"peyk/internal/commit"
	"peyk/internal/eventlog"
)

// Inbox is the name of the folder that always exists; it is compared without
// regard to case (RFC 3501 §5.1).
const Inbox = "INBOX"

// Separator stands between the levels of a folder name.
const Separator = "."

// Errors that callers tell apart with errors.Is. All but ErrGone come inside
// a *status.Error.
var (
	ErrGone     = errors.New("message is gone")       // expunged, by us or by another process
	ErrNoFolder = errors.New("no such folder")        // also: removed while it was open
	ErrExists   = errors.New("folder exists already") // Create, Rename
	ErrName     = errors.New("invalid folder name")   // see CheckName
	ErrInUse    = errors.New("maildrop is in use")    // LockDrop
	ErrQuota    = errors.New("mailbox is full")       // Deliver, Append, Copy
	ErrKeywords = errors.New("too many keywords")     // more than 64 in one folder
	ErrLocked   = errors.New("folder is locked by another process")
	ErrLimit    = errors.New("too many of them") // a limit of ours, see the text
)

// Options of a Host.
type Options struct {
	Disk     *commit.Disk     // required
	Log      *eventlog.Log    // may be nil
	Now      func() time.Time // required
	Rand     io.Reader        // required
	Hostname string           // goes into file names; empty is "localhost"
	Poll     time.Duration    // safety poll of open folders, 0 = none
	CacheDir string           // where folder caches live; empty is in the Maildir
	Watch    bool             // start the one fsnotify watcher
}

// Flags are the system flags of a message, those with a letter in Maildir
// file names.
type Flags uint8

// The flags: D F P R S T in a file name. Passed is $Forwarded in IMAP.
const (
	Draft Flags = 1 << iota
	Flagged
	Passed
	Answered
	Seen
	Deleted
)

// Op says what Store does with the flags it is given.
type Op int

// The operations of Store.
const (
	Add Op = iota
	Remove
	Replace
)

// Change is what Store does to messages.
type Change struct {
	Op       Op
	Flags    Flags
	Keywords []string
	// UnchangedSince, if set, leaves messages alone whose ModSeq is higher.
	UnchangedSince *uint64
	// Keep and KeepKeywords: what a Replace leaves as it is, for one who may
	// not set it.
	Keep         Flags
	KeepKeywords bool
}

// FolderInfo describes one folder for LIST.
type FolderInfo struct {
	Name        string // UTF-8, levels separated by "."
	Selectable  bool   // false: only the parent of other folders
	HasChildren bool
	SpecialUse  string // `\Drafts` … (RFC 6154), or empty
}

// NewMessage is one message for AppendAll.
type NewMessage struct {
	Flags    Flags
	Keywords []string
	Date     time.Time // the file's modification time (INTERNALDATE); zero is now
	Write    func(io.Writer) error
}

// Quota limits an account; 0 is no limit.
type Quota struct {
	Bytes     int64 // octets on disk
	Messages  int64
	Mailboxes int64 // folders, INBOX too
}

// Target is one mailbox that a message is delivered to.
type Target struct {
	Root   string // the Maildir
	Folder string // folder name; empty is INBOX, and one that does not exist too
	Quota  Quota
	Ident  string // what the sender's queue calls the message; empty is unknown
	Again  bool   // an earlier attempt under this Ident may have succeeded: look first
}

// UIDL returns the unique id of a message for POP3 (RFC 1939 §7), the same
// that Dovecot gives by default.
func UIDL(uid, uidValidity uint32) string { return fmt.Sprintf("%08x%08x", uid, uidValidity) }
