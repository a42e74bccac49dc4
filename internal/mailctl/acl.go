package mailctl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"peyk/internal/control"
	"peyk/internal/mailbox"
	"peyk/internal/table"
)

func (t *tool) aclCommand() *cli.Command {
	const folder = "USER@DOMAIN FOLDER"
	return &cli.Command{Name: "acl", Usage: "who may see and change folders", Subcommands: []*cli.Command{
		{Name: "show", Usage: "print the access control lists of an account", ArgsUsage: "USER@DOMAIN [FOLDER]", Flags: []cli.Flag{jsonFlag}, Action: t.aclShow},
		{Name: "set", Usage: "give an identifier rights on a folder (letters of lrswipkxtea), or none", ArgsUsage: folder + " [-]IDENTIFIER RIGHTS", Action: t.aclSet},
		{Name: "remove", Usage: "take an identifier off the list of a folder", ArgsUsage: folder + " [-]IDENTIFIER", Action: t.aclRemove},
		{Name: "rebuild", Usage: "make the list of who shares folders with whom anew, from all folders", Action: t.aclRebuild},
	}}
}

// aclEntry is one line of acl show.
type aclEntry struct {
	Folder     string `json:"folder"`
	Identifier string `json:"identifier"`
	Rights     string `json:"rights"`
}

func (t *tool) aclShow(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 {
		return usagef("expected an address and perhaps a folder; see %s -help", c.Command.HelpName)
	}
	_, a, done, err := t.aclAccount(c)
	if err != nil {
		return err
	}
	defer done()
	folders, err := a.Folders()
	if err != nil {
		return err
	}
	for _, f := range folders {
		if !f.Selectable || c.NArg() == 2 && f.Name != mailbox.CanonicalName(c.Args().Get(1)) {
			continue
		}
		if err := t.printACL(c, a, f.Name); err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) printACL(c *cli.Context, a *mailbox.Account, folder string) error {
	list, err := a.ACL(folder)
	if err != nil {
		return err
	}
	for _, e := range list.Entries() {
		id := e.ID
		if e.Negative {
			id = "-" + id
		}
		if c.Bool("json") {
			err = t.object(aclEntry{folder, id, e.Rights.String()})
		} else {
			_, err = fmt.Fprintf(t.out, "%s\t%s\t%s\n", printable(folder), printable(id), e.Rights)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// aclAccount opens the account that the first argument names.
func (t *tool) aclAccount(c *cli.Context) (owner string, a *mailbox.Account, done func(), err error) {
	domains, _, config, err := t.tables(c)
	if err != nil {
		return "", nil, nil, err
	}
	addr, err := localAddress(c.Args().First(), domains)
	if err != nil {
		return "", nil, nil, err
	}
	user, err := known(addr, domains)
	if err != nil {
		return "", nil, nil, err
	}
	maildir := maildirOf(config, user)
	if _, err := os.Stat(maildir); err != nil {
		return "", nil, nil, fmt.Errorf("%s has got no mail yet: %w", printable(addr.String()), err)
	}
	a, done, err = t.openAccount(maildir, config.Text(control.CacheDir))
	return user.Addr.String(), a, done, err
}

// aclIdentifier reads an identifier: anyone, authenticated, owner, $GROUP, or
// a user.
func aclIdentifier(arg string) (id string, negative bool, err error) {
	id, negative = strings.CutPrefix(arg, "-")
	switch {
	case id == "anyone", id == "authenticated", id == "owner":
	case len(id) > 1 && id[0] == '$':
		id = "group=" + id[1:]
	case id == "" || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' }):
		return "", false, usagef("cannot use %q as an identifier", printable(arg))
	default:
		id = "user=" + id
	}
	return id, negative, nil
}

func (t *tool) aclSet(c *cli.Context) error {
	if c.NArg() != 4 {
		return usagef("expected an address, a folder, an identifier and rights; see %s -help", c.Command.HelpName)
	}
	rights, ok := mailbox.ParseRights(c.Args().Get(3))
	if !ok {
		return usagef("cannot read the rights %q: they are letters of lrswipkxtea", printable(c.Args().Get(3)))
	}
	return t.aclChange(c, func(l *mailbox.ACL, id string, negative bool) {
		l.Set(mailbox.ACLEntry{ID: id, Negative: negative, Rights: rights})
	})
}

func (t *tool) aclRemove(c *cli.Context) error {
	if c.NArg() != 3 {
		return usagef("expected an address, a folder and an identifier; see %s -help", c.Command.HelpName)
	}
	return t.aclChange(c, (*mailbox.ACL).Remove)
}

func (t *tool) aclChange(c *cli.Context, change func(l *mailbox.ACL, id string, negative bool)) error {
	id, negative, err := aclIdentifier(c.Args().Get(2))
	if err != nil {
		return err
	}
	owner, a, done, err := t.aclAccount(c)
	if err != nil {
		return err
	}
	defer done()
	if err := a.ChangeACL(c.Args().Get(1), func(l *mailbox.ACL) { change(l, id, negative) }); err != nil {
		return err
	}
	list, host, err := t.sharedList(c)
	if err != nil {
		return err
	}
	defer host.Close()
	return list.Update(owner, a)
}

// sharedList opens the list of who shares folders.
func (t *tool) sharedList(c *cli.Context) (*mailbox.SharedList, *mailbox.Host, error) {
	config, err := t.config(c)
	if err != nil {
		return nil, nil, err
	}
	host, err := mailbox.NewHost(mailbox.Options{Disk: t.disk, Now: t.now, Rand: t.rand})
	if err != nil {
		return nil, nil, err
	}
	return host.SharedList(filepath.Join(config.Text(control.MailRoot), mailbox.SharedName)), host, nil
}

func (t *tool) aclRebuild(c *cli.Context) error {
	domains, _, config, err := t.tables(c)
	if err != nil {
		return err
	}
	list, host, err := t.sharedList(c)
	if err != nil {
		return err
	}
	defer host.Close()
	users, err := everybody(c, domains)
	if err != nil {
		return err
	}
	accounts := make(map[string]*mailbox.Account)
	for _, user := range users {
		a, err := host.OpenExisting(maildirOf(config, user))
		if errors.Is(err, mailbox.ErrNoFolder) {
			continue
		}
		if err != nil {
			return err
		}
		defer a.Close()
		accounts[user.Addr.String()] = a
	}
	return list.Rebuild(accounts)
}

// everybody returns the accounts of all domains.
func everybody(c *cli.Context, domains *table.Domains) ([]table.User, error) {
	names, err := someDomains(c, domains)
	if err != nil {
		return nil, err
	}
	var all []table.User
	for _, domain := range names {
		users, err := domains.Users(domain)
		if err != nil {
			return nil, err
		}
		all = append(all, users...)
	}
	return all, nil
}
