package mailbox

import (
	"context"
	"io"
	"os"
	"time"
)

// Host is the mail store of one process; its sessions share folders.
type Host struct{ o Options }

// NewHost makes the store of this process.
func NewHost(o Options) (*Host, error) { return &Host{o: o}, nil }

// Close stops the watcher.
func (h *Host) Close() {}

// Open opens the Maildir at root, and makes it when it is absent.
func (h *Host) Open(root string) (*Account, error) { return nil, errTodo }

// Deliver writes a message into all targets; one error per target.
func (h *Host) Deliver(targets []Target, write func(io.Writer) error) []error {
	return make([]error, len(targets))
}

// Account is one user's mail: INBOX and the folders below it.
type Account struct{}

// Close gives the account back.
func (a *Account) Close() {}

// SetQuota sets the limit that Append and Copy enforce; none is set at first.
func (a *Account) SetQuota(q Quota) {}

// Folders lists all folders, INBOX first, then by name.
func (a *Account) Folders() ([]FolderInfo, error) { return nil, errTodo }

// Create makes a folder.
func (a *Account) Create(name, specialUse string) error { return errTodo }

// Delete removes a folder and its messages; its children stay.
func (a *Account) Delete(name string) error { return errTodo }

// Rename renames a folder and its children (INBOX: RFC 3501 §6.3.5).
func (a *Account) Rename(old, new string) error { return errTodo }

// Subscribed lists the subscribed folders in the order of the file.
func (a *Account) Subscribed() ([]string, error) { return nil, errTodo }

// Subscribe adds a folder to the list; it need not exist.
func (a *Account) Subscribe(name string) error { return errTodo }

// Unsubscribe takes a folder off the list.
func (a *Account) Unsubscribe(name string) error { return errTodo }

// Usage returns what the account holds.
func (a *Account) Usage() (bytes, messages int64, err error) { return 0, 0, errTodo }

// LockDrop takes the POP3 lock of the account.
func (a *Account) LockDrop() (unlock func(), err error) { return nil, errTodo }

// Folder opens a folder; Close it.
func (a *Account) Folder(name string) (*Folder, error) { return nil, errTodo }

// Folder is one open folder, shared by the sessions of the process.
type Folder struct{}

// Close gives the folder back.
func (f *Folder) Close() {}

// Name returns the folder's name.
func (f *Folder) Name() string { return "" }

// Refresh returns the newest snapshot.
func (f *Folder) Refresh(ctx context.Context) (*Snapshot, error) { return nil, errTodo }

// RefreshReadOnly is Refresh that leaves Recent as it is.
func (f *Folder) RefreshReadOnly(ctx context.Context) (*Snapshot, error) { return nil, errTodo }

// Snapshot returns the last snapshot.
func (f *Folder) Snapshot() *Snapshot { return nil }

// Changed is closed as soon as something may have changed since the current
// snapshot.
func (f *Folder) Changed() <-chan struct{} { return nil }

// Open opens a message for reading.
func (f *Folder) Open(uid uint32) (*os.File, error) { return nil, errTodo }

// Date returns the time of a message's arrival.
func (f *Folder) Date(uid uint32) (time.Time, error) { return time.Time{}, errTodo }

// Store changes flags and keywords.
func (f *Folder) Store(uids []uint32, op Op, flags Flags, keywords []string) error { return errTodo }

// Append adds a message.
func (f *Folder) Append(flags Flags, keywords []string, date time.Time, write func(io.Writer) error) (uid uint32, err error) {
	return 0, errTodo
}

// AppendAll adds several messages or none.
func (f *Folder) AppendAll(messages []NewMessage) ([]uint32, error) { return nil, errTodo }

// Copy copies messages to dst, all or none.
func (f *Folder) Copy(uids []uint32, dst *Folder) (src, dstUIDs []uint32, err error) {
	return nil, nil, errTodo
}

// Move moves messages to dst.
func (f *Folder) Move(uids []uint32, dst *Folder) (src, dstUIDs []uint32, err error) {
	return nil, nil, errTodo
}

// Expunge removes messages.
func (f *Folder) Expunge(uids []uint32) error { return errTodo }

func (s *Snapshot) find(uid uint32) (int, bool) { return 0, false }
