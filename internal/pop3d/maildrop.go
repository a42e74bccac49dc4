package pop3d

import (
	"context"
	"os"

	"peyk/internal/mailbox"
)

// Maildirs opens the INBOX of Maildirs as maildrops.
type Maildirs struct{ Host *mailbox.Host }

// Open locks a Maildir and opens its INBOX.
func (m Maildirs) Open(maildir string) (Maildrop, error) {
	account, err := m.Host.Open(maildir)
	if err != nil {
		return nil, err
	}
	unlock, err := account.LockDrop()
	if err != nil {
		account.Close()
		return nil, err
	}
	folder, err := account.Folder(mailbox.Inbox)
	if err != nil {
		unlock()
		account.Close()
		return nil, err
	}
	return &maildrop{account, folder, unlock}, nil
}

type maildrop struct {
	account *mailbox.Account
	folder  *mailbox.Folder
	unlock  func()
}

func (d *maildrop) Snapshot(ctx context.Context) (*mailbox.Snapshot, error) {
	return d.folder.Refresh(ctx)
}

func (d *maildrop) Open(uid uint32) (*os.File, error) { return d.folder.Open(uid) }

func (d *maildrop) Expunge(uids []uint32) error { return d.folder.Expunge(uids) }

func (d *maildrop) Close() {
	d.folder.Close()
	d.unlock()
	d.account.Close()
}
