package mailctl

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/status"
	"peyk/internal/table"
)

func (t *tool) aliasCommand() *cli.Command {
	return &cli.Command{Name: "alias", Usage: "addresses that stand for others", Subcommands: []*cli.Command{
		{Name: "add", Usage: "add an alias, or replace its targets; *@DOMAIN catches all", ArgsUsage: "ALIAS@DOMAIN TARGET ...", Action: t.aliasAdd},
		{Name: "list", Usage: "print the aliases", ArgsUsage: "[DOMAIN ...]", Flags: []cli.Flag{jsonFlag}, Action: t.aliasList},
		{Name: "remove", Usage: "remove an alias", ArgsUsage: "ALIAS@DOMAIN", Action: t.aliasRemove},
		{Name: "resolve", Usage: "print where mail for an address goes", ArgsUsage: "ADDRESS", Flags: []cli.Flag{jsonFlag}, Action: t.aliasResolve},
	}}
}

// aliasArg understands ALIAS@DOMAIN, where ALIAS may be *.
func aliasArg(arg string, domains *table.Domains) (address.Address, error) {
	if domain, ok := strings.CutPrefix(arg, "*@"); ok {
		addr, err := localAddress("catchall@"+domain, domains)
		addr.Local = "*"
		return addr, err
	}
	return localAddress(arg, domains)
}

func (t *tool) aliasAdd(c *cli.Context) error {
	if c.NArg() < 2 {
		return usagef("expected an alias and its targets; see mailctl alias add -help")
	}
	domains, editor, _, err := t.tables(c)
	if err != nil {
		return err
	}
	addr, err := aliasArg(c.Args().First(), domains)
	if err != nil {
		return err
	}
	return editor.SetAlias(addr, c.Args().Tail())
}

func (t *tool) aliasList(c *cli.Context) error {
	domains, _, _, err := t.tables(c)
	if err != nil {
		return err
	}
	list, err := someDomains(c, domains)
	if err != nil {
		return err
	}
	for _, domain := range list {
		aliases, err := domains.Aliases(domain)
		if err != nil {
			return err
		}
		for _, a := range aliases {
			if err := t.printAlias(c, a.Name+"@"+domain, a.Targets); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tool) printAlias(c *cli.Context, name string, targets []string) error {
	if c.Bool("json") {
		return t.object(map[string]any{"alias": name, "targets": targets})
	}
	_, err := fmt.Fprintf(t.out, "%s: %s\n", printable(name), printable(strings.Join(targets, ", ")))
	return err
}

func (t *tool) aliasRemove(c *cli.Context) error {
	arg, err := oneArg(c, "an alias")
	if err != nil {
		return err
	}
	domains, editor, _, err := t.tables(c)
	if err != nil {
		return err
	}
	addr, err := aliasArg(arg, domains)
	if err != nil {
		return err
	}
	found, err := editor.RemoveAlias(addr)
	if err == nil && !found {
		return status.Newf(550, "5.1.1", "no alias %s; mailctl alias list shows them", printable(arg))
	}
	return err
}

// aliasResolve prints what queue-run would make of a recipient: mailboxes
// here, and addresses elsewhere with their next hop.
func (t *tool) aliasResolve(c *cli.Context) error {
	arg, err := oneArg(c, "an address")
	if err != nil {
		return err
	}
	domains, _, config, err := t.tables(c)
	if err != nil {
		return err
	}
	addr, err := address.Parse(arg, true)
	if err != nil {
		return usagef("cannot use %q as an address: %v", printable(arg), err)
	}
	targets := []address.Address{addr}
	if has, err := domains.Has(addr.Domain); err != nil {
		return err
	} else if has {
		if targets, err = domains.Resolve(addr, config.Text(control.Subaddress), nil); err != nil {
			return err
		}
	}
	if len(targets) == 0 {
		return status.Newf(550, "5.1.1", "no such user: %s", printable(arg))
	}
	for _, target := range targets {
		if err := t.printTarget(c, config, domains, target); err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) printTarget(c *cli.Context, config *control.Config, domains *table.Domains, target address.Address) error {
	via := "deliver"
	local, err := domains.Has(target.Domain)
	if err != nil {
		return err
	}
	if !local {
		if via, err = nextHop(config, target.Domain); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return t.object(map[string]string{"address": target.String(), "via": via})
	}
	_, err = fmt.Fprintf(t.out, "%s\t%s\n", printable(target.String()), via)
	return err
}

func nextHop(config *control.Config, domain string) (string, error) {
	routes, err := table.ParseRoutes(config.Lines(control.Routes))
	if err != nil {
		return "", err
	}
	hop := routes.For(domain)
	if hop.MX {
		return "remote: MX of " + hop.Host, nil
	}
	return fmt.Sprintf("remote: %s port %d", hop.Host, hop.Port), nil
}
