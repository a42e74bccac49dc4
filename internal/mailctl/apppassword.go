package mailctl

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"peyk/internal/authstate"
	"peyk/internal/control"
	"peyk/internal/passhash"
	"peyk/internal/status"
	"peyk/internal/table"
)

func (t *tool) appPasswordCommand() *cli.Command {
	return &cli.Command{Name: "app-password", Usage: "passwords for one program each, beside the main one", Subcommands: []*cli.Command{
		{Name: "add", Usage: "make an app password and print it, once", ArgsUsage: "USER@DOMAIN", Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "for what it is, in `WORDS`"},
			&cli.StringFlag{Name: "rights", Usage: "what it may do: `RIGHTS` is full, read-only, append-only or send-only", Value: string(table.Full)},
			&cli.StringFlag{Name: "protocols", Usage: "only for these `PROTOCOLS`, such as imap,smtp"},
			&cli.StringFlag{Name: "networks", Usage: "only from these `NETWORKS`, with commas between them"},
			&cli.StringFlag{Name: "expires", Usage: "not good any more from this `DATE` on"},
			jsonFlag,
		}, Action: t.appPasswordAdd},
		{Name: "list", Usage: "print the app passwords of an account, and when they were last used", ArgsUsage: "USER@DOMAIN",
			Flags: []cli.Flag{jsonFlag}, Action: t.appPasswordList},
		{Name: "revoke", Usage: "remove an app password; its open sessions end", ArgsUsage: "USER@DOMAIN APP-ID", Action: t.appPasswordRevoke},
	}}
}

func (t *tool) appPasswordAdd(c *cli.Context) error {
	domains, editor, _, err := t.tables(c)
	if err != nil {
		return err
	}
	user, err := t.existing(c, domains)
	if err != nil {
		return err
	}
	p, err := appPasswordOf(c)
	if err != nil {
		return usageError{err}
	}
	p.User, p.Created = user.Addr, t.now()
	secret, err := t.secretOf(&p)
	if err != nil {
		return err
	}
	if err := editor.AddAppPassword(p); err != nil {
		return err
	}
	if c.Bool("json") {
		return t.object(map[string]any{"user": p.User.String(), "id": p.ID, "secret": secret})
	}
	fmt.Fprintf(t.err, "mailctl: app password %s of %s; nobody can show it again:\n", p.ID, printable(p.User.String()))
	_, err = fmt.Fprintln(t.out, secret)
	return err
}

// appPasswordOf reads the flags of add.
func appPasswordOf(c *cli.Context) (p table.AppPassword, err error) {
	if p.Name = c.String("name"); p.Name == "" {
		return p, errors.New("say for what the password is, by -name before the address")
	}
	if p.Rights, err = table.ParseRights(c.String("rights")); err != nil {
		return p, err
	}
	if s := c.String("protocols"); s != "" {
		p.Protocols = strings.Split(s, ",") // the editor checks them
	}
	if s := c.String("networks"); s != "" {
		for one := range strings.SplitSeq(s, ",") {
			var network netip.Prefix
			if network, err = control.ParseNetwork(one); err != nil {
				return p, err
			}
			p.Networks = append(p.Networks, network)
		}
	}
	if s := c.String("expires"); s != "" {
		p.Expires, err = table.ParseDate(s)
	}
	return p, err
}

// secretOf makes a secret, its hash and an id.
func (t *tool) secretOf(p *table.AppPassword) (secret string, err error) {
	secret, p.Hash, err = t.newSecret(table.AppPasswordGroups)
	if err != nil {
		return "", err
	}
	id, err := passhash.NewSecret(t.rand, 2)
	p.ID = strings.ReplaceAll(id, "-", "")
	return secret, err
}

// newSecret makes a secret of some groups, and its hash.
func (t *tool) newSecret(groups int) (secret, hash string, err error) {
	if secret, err = passhash.NewSecret(t.rand, groups); err != nil {
		return "", "", err
	}
	plain, _ := passhash.PlainSecret(secret, groups)
	hash, err = passhash.MakeSalted(t.rand, plain)
	return secret, hash, err
}

func (t *tool) appPasswordList(c *cli.Context) error {
	domains, _, config, err := t.tables(c)
	if err != nil {
		return err
	}
	user, err := t.existing(c, domains)
	if err != nil {
		return err
	}
	all, err := domains.AppPasswords(user.Addr)
	if err != nil {
		return err
	}
	state := authstate.New(config.Text(control.AuthState), t.disk)
	for _, p := range all {
		use, _, err := state.LastUse(p.User.String(), p.ID)
		if err != nil {
			return fmt.Errorf("cannot read when they were used: %w", err)
		}
		if err := t.printAppPassword(c, p, use); err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) printAppPassword(c *cli.Context, p table.AppPassword, use authstate.Use) error {
	if c.Bool("json") {
		return t.object(map[string]any{"id": p.ID, "name": p.Name, "rights": string(p.Rights), "protocols": p.Protocols, "networks": p.Networks,
			"created": moment(p.Created), "expires": moment(p.Expires), "used": moment(use.Time), "address": use.Address, "service": use.Service})
	}
	limits := string(p.Rights)
	if len(p.Protocols) > 0 {
		limits += " " + strings.Join(p.Protocols, ",")
	}
	for _, n := range p.Networks {
		limits += " " + n.String()
	}
	used := "never used"
	if !use.Time.IsZero() {
		used = strings.TrimSpace("used " + moment(use.Time) + " " + use.Service + " " + use.Address)
	}
	expires := "does not expire"
	if !p.Expires.IsZero() {
		expires = "expires " + moment(p.Expires)
	}
	_, err := fmt.Fprintf(t.out, "%s\t%s\t%s\tcreated %s\t%s\t%s\n", p.ID, printable(p.Name), limits, moment(p.Created), expires, printable(used))
	return err
}

// moment prints a time, the zero one as nothing.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (t *tool) appPasswordRevoke(c *cli.Context) error {
	domains, editor, _, err := t.tables(c)
	if err != nil {
		return err
	}
	if c.NArg() != 2 {
		return usagef("expected two arguments, an address USER@DOMAIN and an id; mailctl user app-password list shows the ids")
	}
	addr, err := localAddress(c.Args().First(), domains)
	if err != nil {
		return err
	}
	found, err := editor.RemoveAppPassword(addr, c.Args().Get(1))
	if err == nil && !found {
		err = status.Newf(550, "5.1.1", "%s has no app password %s; mailctl user app-password list shows them", printable(addr.String()), printable(c.Args().Get(1)))
	}
	return err
}
