package deliver

import (
	"errors"
	"io"
	"time"

	"peyk/internal/envelope"
	"peyk/internal/mailbox"
	"peyk/internal/spool"
)

// Maildirs is the Store of the installed system.
type Maildirs struct{ *mailbox.Host }

// HasFolder reports whether the Maildir at root has a folder.
func (m Maildirs) HasFolder(root, folder string) (bool, error) {
	account, err := m.Open(root)
	if err != nil {
		return false, err
	}
	defer account.Close()
	f, err := account.Folder(folder)
	if errors.Is(err, mailbox.ErrNoFolder) || errors.Is(err, mailbox.ErrName) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f.Close()
	return true, nil
}

// Drop is the Queue of the installed system.
type Drop struct {
	*spool.Drop
	Now  func() time.Time
	Rand io.Reader
}

// NewID makes a queue id.
func (d Drop) NewID() (string, error) { return spool.NewID(d.Now(), d.Rand) }

// Create begins a message, if the disk has room for one.
func (d Drop) Create(e *envelope.Envelope) (Letter, error) {
	if err := d.Room(0); err != nil {
		return nil, err
	}
	w, err := d.Drop.Create(e)
	if err != nil {
		return nil, err
	}
	return w, nil
}
