package mailctl

import (
	"fmt"

	"github.com/urfave/cli/v2"

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
	_, editor, _, err := t.tables(c)
	if err != nil {
		return err
	}
	return editor.AddDomain(domain)
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
	if has, err := domains.Has(domain); err != nil {
		return err
	} else if !has {
		return status.Newf(550, "5.1.2", "%s is not a local domain; mailctl domain list shows them", printable(domain))
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
