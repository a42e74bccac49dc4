package mailctl

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/status"
	"peyk/internal/table"
)

func (t *tool) domainCommand() *cli.Command {
	return &cli.Command{Name: "domain", Usage: "the domains whose mail is delivered here", Subcommands: []*cli.Command{
		{Name: "add", Usage: "make a domain local", ArgsUsage: "DOMAIN", Action: t.domainAdd},
		{Name: "list", Usage: "print the local domains", Flags: []cli.Flag{jsonFlag}, Action: t.domainList},
		{Name: "remove", Usage: "forget a domain with its users and aliases; the mail stays on disk", ArgsUsage: "DOMAIN",
			Flags: []cli.Flag{dryRunFlag}, Action: t.domainRemove},
		t.selfServiceCommand(),
	}}
}

// tables opens the tables for reading and editing.
func (t *tool) tables(c *cli.Context) (*table.Domains, *table.Editor, *control.Config, error) {
	config, err := t.config(c)
	if err != nil {
		return nil, nil, nil, err
	}
	return table.OpenDomains(config.Dir()), table.NewEditor(config.Dir(), t.disk), config, nil
}

func (t *tool) domainAdd(c *cli.Context) error {
	domain, err := oneArg(c, "a domain")
	if err != nil {
		return err
	}
	domains, editor, _, err := t.tables(c)
	if err != nil {
		return err
	}
	domain, err = domainName(domain)
	if err != nil {
		return err
	}
	if has, err := domains.Has(domain); err != nil {
		return err
	} else if has {
		return status.Newf(550, "5.1.0", "%s is a local domain already; mailctl user add adds accounts to it", domain)
	}
	return editor.AddDomain(domain)
}

// domainName returns the one form of a domain name under which it is stored.
func domainName(name string) (string, error) {
	addr, err := address.Parse("x@"+name, true)
	if err != nil || addr.IsLiteral() {
		return "", usagef("cannot use %q as a domain; expected a name such as example.org", printable(name))
	}
	return addr.Domain, nil
}

// someDomains returns the domains that the arguments name, else all of them.
func someDomains(c *cli.Context, domains *table.Domains) ([]string, error) {
	if !c.Args().Present() {
		return domains.List()
	}
	var list []string
	for _, arg := range c.Args().Slice() {
		name, err := domainName(arg)
		if err != nil {
			return nil, err
		}
		if err := mustBeLocal(name, domains); err != nil {
			return nil, err
		}
		list = append(list, name)
	}
	return list, nil
}

func mustBeLocal(domain string, domains *table.Domains) error {
	has, err := domains.Has(domain)
	if err == nil && !has {
		return status.Newf(550, "5.1.2", "%s is not a local domain; mailctl domain list shows them", printable(domain))
	}
	return err
}

func (t *tool) domainList(c *cli.Context) error {
	domains, _, _, err := t.tables(c)
	if err != nil {
		return err
	}
	list, err := domains.List()
	if err != nil {
		return err
	}
	for _, domain := range list {
		if !c.Bool("json") {
			fmt.Fprintln(t.out, printable(domain))
			continue
		}
		users, err := domains.Users(domain)
		if err != nil {
			return err
		}
		aliases, err := domains.Aliases(domain)
		if err != nil {
			return err
		}
		if err := t.object(map[string]any{"domain": domain, "users": len(users), "aliases": len(aliases)}); err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) domainRemove(c *cli.Context) error {
	domain, err := oneArg(c, "a domain")
	if err != nil {
		return err
	}
	domains, editor, _, err := t.tables(c)
	if err != nil {
		return err
	}
	if domain, err = domainName(domain); err != nil {
		return err
	}
	if err := mustBeLocal(domain, domains); err != nil {
		return err
	}
	users, err := domains.Users(domain)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		fmt.Fprintf(t.out, "would remove %s with %d users\n", domain, len(users))
		return nil
	}
	return editor.RemoveDomain(domain)
}
