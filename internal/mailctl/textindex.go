package mailctl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"peyk/internal/mailbox"
	"peyk/internal/textindex"
)

// mailboxIndex brings the text index of an account up to date, without the
// rests that imapd takes.
func (t *tool) mailboxIndex(c *cli.Context) (err error) {
	a, done, err := t.account(c)
	if err != nil {
		return err
	}
	defer done()
	if c.Bool("rebuild") {
		if err := textindex.Remove(a.TextIndexPath()); err != nil {
			return err
		}
	}
	x, err := textindex.Open(a.TextIndexPath())
	if err != nil {
		return fmt.Errorf("cannot open the text index: %w", err)
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	if x.Renewed != nil {
		fmt.Fprintf(t.err, "mailctl: the text index was damaged, and is made anew: %v\n", x.Renewed)
	}
	var ids []string
	err = eachFolder(a, func(f *mailbox.Folder, s *mailbox.Snapshot) error {
		ids = append(ids, f.ID())
		did, err := x.Fill(context.Background(), f, func(time.Duration) error { return nil })
		fmt.Fprintf(t.out, "%s\tmessages %d\tadded %d\tremoved %d\n", printable(f.Name()), s.Messages.Len(), did.Added, did.Removed)
		return err
	})
	if err != nil {
		return err
	}
	return x.Keep(ids)
}
