package mailctl

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"peyk/internal/control"
	"peyk/internal/mailbox"
)

func (t *tool) mailboxCommand() *cli.Command {
	const args = "USER@DOMAIN|MAILDIR"
	return &cli.Command{Name: "mailbox", Usage: "look into Maildirs and mend them", Subcommands: []*cli.Command{
		{Name: "list", Usage: "print the folders of an account", ArgsUsage: args, Flags: []cli.Flag{jsonFlag}, Action: t.mailboxList},
		{Name: "status", Usage: "print messages, unseen, size, UIDVALIDITY and UIDNEXT of each folder", ArgsUsage: args, Flags: []cli.Flag{jsonFlag}, Action: t.mailboxStatus},
		{Name: "check", Usage: "open every message and compare its size with its name; exit 65 if something is wrong", ArgsUsage: args, Action: t.mailboxCheck},
		{Name: "reindex", Usage: "forget the caches of an account and make them anew; mail, flags and UIDs stay", ArgsUsage: args, Action: t.mailboxReindex},
		{Name: "index", Usage: "bring the text index up to date", ArgsUsage: args, Action: t.mailboxIndex,
			Flags: []cli.Flag{&cli.BoolFlag{Name: "rebuild", Usage: "make it anew"}}},
	}}
}

// openAccount opens a Maildir; done gives it back.
func (t *tool) openAccount(maildir, cacheDir string) (a *mailbox.Account, done func(), err error) {
	host, err := mailbox.NewHost(mailbox.Options{Disk: t.disk, Now: t.now, Rand: t.rand, CacheDir: cacheDir})
	if err != nil {
		return nil, nil, err
	}
	a, err = host.Open(maildir)
	if err != nil {
		host.Close()
		return nil, nil, err
	}
	return a, func() { a.Close(); host.Close() }, nil
}

// maildirArg returns the Maildir that the only argument names, by its path or
// by its owner.
func (t *tool) maildirArg(c *cli.Context) (maildir, cacheDir string, err error) {
	arg, err := oneArg(c, "an address or a Maildir")
	if err != nil {
		return "", "", err
	}
	if strings.Contains(arg, "/") {
		if _, err := os.Stat(filepath.Join(arg, "cur")); err != nil {
			return "", "", fmt.Errorf("%s is not a Maildir: %w", printable(arg), err)
		}
		return arg, "", nil
	}
	domains, _, config, err := t.tables(c)
	if err != nil {
		return "", "", err
	}
	user, err := t.existing(c, domains)
	if err != nil {
		return "", "", err
	}
	maildir = maildirOf(config, user)
	if _, err := os.Stat(maildir); err != nil {
		return "", "", fmt.Errorf("%s has got no mail yet: %w", printable(arg), err)
	}
	return maildir, config.Text(control.CacheDir), nil
}

// account opens the account that the only argument names.
func (t *tool) account(c *cli.Context) (*mailbox.Account, func(), error) {
	maildir, cacheDir, err := t.maildirArg(c)
	if err != nil {
		return nil, nil, err
	}
	return t.openAccount(maildir, cacheDir)
}

func (t *tool) mailboxList(c *cli.Context) error {
	a, done, err := t.account(c)
	if err != nil {
		return err
	}
	defer done()
	folders, err := a.Folders()
	if err != nil {
		return err
	}
	for _, f := range folders {
		if c.Bool("json") {
			err = t.object(map[string]any{"name": f.Name, "selectable": f.Selectable, "special_use": f.SpecialUse})
		} else {
			_, err = fmt.Fprintln(t.out, printable(f.Name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eachFolder calls do for every folder that holds mail, and goes on after
// errors.
func eachFolder(a *mailbox.Account, do func(*mailbox.Folder, *mailbox.Snapshot) error) error {
	folders, err := a.Folders()
	if err != nil {
		return err
	}
	var errs []error
	for _, info := range folders {
		if info.Selectable {
			errs = append(errs, inFolder(a, info.Name, do))
		}
	}
	return errors.Join(errs...)
}

func inFolder(a *mailbox.Account, name string, do func(*mailbox.Folder, *mailbox.Snapshot) error) error {
	f, err := a.Folder(name)
	if err != nil {
		return err
	}
	defer f.Close()
	snapshot, err := f.RefreshReadOnly(context.Background())
	if err != nil {
		return fmt.Errorf("%s: %w", printable(name), err)
	}
	return do(f, snapshot)
}

// folderStatus is one folder as mailbox status prints it.
type folderStatus struct {
	Name        string `json:"name"`
	Messages    int    `json:"messages"`
	Unseen      int    `json:"unseen"`
	Bytes       int64  `json:"bytes"`
	UIDValidity uint32 `json:"uidvalidity"`
	UIDNext     uint32 `json:"uidnext"`
}

func (t *tool) mailboxStatus(c *cli.Context) error {
	a, done, err := t.account(c)
	if err != nil {
		return err
	}
	defer done()
	return eachFolder(a, func(f *mailbox.Folder, s *mailbox.Snapshot) error {
		st := folderStatus{Name: f.Name(), Messages: s.Messages.Len(), UIDValidity: s.UIDValidity, UIDNext: s.UIDNext}
		for _, m := range s.Messages.All() {
			st.Bytes += m.FileSize
			if m.Flags&mailbox.Seen == 0 {
				st.Unseen++
			}
		}
		if c.Bool("json") {
			return t.object(st)
		}
		_, err := fmt.Fprintf(t.out, "%s\tmessages %d\tunseen %d\tbytes %d\tuidvalidity %d\tuidnext %d\n",
			printable(st.Name), st.Messages, st.Unseen, st.Bytes, st.UIDValidity, st.UIDNext)
		return err
	})
}

// A wrongMail is a finding of mailbox check.
type wrongMail struct{ error }

func (t *tool) mailboxCheck(c *cli.Context) error {
	a, done, err := t.account(c)
	if err != nil {
		return err
	}
	defer done()
	checked := 0
	err = eachFolder(a, func(f *mailbox.Folder, s *mailbox.Snapshot) error {
		var errs []error
		for _, m := range s.Messages.All() {
			checked++
			errs = append(errs, checkMessage(f, m))
		}
		return errors.Join(errs...)
	})
	fmt.Fprintf(t.err, "mailctl: checked %d messages\n", checked)
	return err
}

// checkMessage reads a message whole and compares its sizes with what its
// name and the cache say.
func checkMessage(f *mailbox.Folder, m *mailbox.Message) error {
	file, err := f.Open(m.UID)
	if errors.Is(err, mailbox.ErrGone) {
		return nil
	}
	if err != nil {
		return wrongMail{fmt.Errorf("%s uid %d: %w", printable(f.Name()), m.UID, err)}
	}
	defer file.Close()
	size, wire, err := measure(file)
	if err != nil {
		return wrongMail{fmt.Errorf("%s uid %d: %w", printable(f.Name()), m.UID, err)}
	}
	if size != m.FileSize || wire != m.Size {
		return wrongMail{fmt.Errorf("%s uid %d: %s has %d octets (%d on the wire), but its name or cache says %d (%d); mailctl mailbox reindex mends the cache",
			printable(f.Name()), m.UID, printable(m.Base), size, wire, m.FileSize, m.Size)}
	}
	return nil
}

// measure returns the size of a file, and its size with CRLF line ends.
func measure(r io.Reader) (size, wire int64, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var last byte
	for {
		line, err := in.ReadSlice('\n')
		size += int64(len(line))
		wire += int64(len(line))
		if n := len(line); n > 0 {
			before := last
			if n > 1 {
				before = line[n-2]
			}
			if line[n-1] == '\n' && before != '\r' {
				wire++
			}
			last = line[n-1]
		}
		if errors.Is(err, io.EOF) {
			return size, wire, nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return size, wire, err
		}
	}
}

// mailboxReindex removes what can be rebuilt and opens every folder again.
func (t *tool) mailboxReindex(c *cli.Context) error {
	a, done, err := t.account(c)
	if err != nil {
		return err
	}
	defer done()
	if err := a.DropCaches(); err != nil {
		return err
	}
	var report bytes.Buffer
	err = eachFolder(a, func(f *mailbox.Folder, s *mailbox.Snapshot) error {
		fmt.Fprintf(&report, "%s\tmessages %d\n", printable(f.Name()), s.Messages.Len())
		return nil
	})
	t.out.Write(report.Bytes())
	return err
}
