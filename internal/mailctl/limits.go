package mailctl

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"peyk/internal/status"
	"peyk/internal/table"
)

// limitCommands are those that write the access table of a domain.
func (t *tool) limitCommands() []*cli.Command {
	refuse := &cli.BoolFlag{Name: "refuse", Usage: "refuse its mail, instead of having it wait"}
	return []*cli.Command{
		{Name: "suspend", Usage: "let nobody log in and let its mail wait; open sessions end", ArgsUsage: "USER@DOMAIN",
			Flags: []cli.Flag{refuse}, Action: t.userSuspend},
		{Name: "resume", Usage: "end a suspension", ArgsUsage: "USER@DOMAIN", Action: t.userResume},
		{Name: "limits", Usage: "print or change what an account may do, see peyk-access(5)", ArgsUsage: "USER@DOMAIN [show | set WORD=VALUE ...]",
			Flags: []cli.Flag{jsonFlag}, Action: t.userLimits},
	}
}

func (t *tool) userSuspend(c *cli.Context) error {
	domains, editor, _, err := t.tables(c)
	if err != nil {
		return err
	}
	user, err := t.existing(c, domains)
	if err != nil {
		return err
	}
	how := "suspended=defer"
	if c.Bool("refuse") {
		how = "suspended=refuse"
	}
	return editor.SetAccess(user.Addr, how)
}

func (t *tool) userResume(c *cli.Context) error {
	domains, editor, _, err := t.tables(c)
	if err != nil {
		return err
	}
	user, err := t.existing(c, domains)
	if err != nil {
		return err
	}
	if err := editor.SetAccess(user.Addr, "suspended="); err != nil {
		return err
	}
	access, err := domains.Access(user.Addr)
	if s, still := access["suspended"]; err == nil && still && !s.Unlimited {
		err = status.Newf(550, "5.1.0", "%s is still suspended by %s", printable(user.Addr.String()), s.Where)
	}
	return err
}

func (t *tool) userLimits(c *cli.Context) error {
	domains, editor, _, err := t.tables(c)
	if err != nil {
		return err
	}
	if !c.Args().Present() {
		return usagef("expected an address USER@DOMAIN; see %s -help", c.Command.HelpName)
	}
	addr, err := localAddress(c.Args().First(), domains)
	if err != nil {
		return err
	}
	user, err := known(addr, domains)
	if err != nil {
		return err
	}
	words := c.Args().Tail()
	switch {
	case len(words) == 0 || len(words) == 1 && words[0] == "show":
		return t.showLimits(c, domains, user)
	case words[0] == "set" && len(words) > 1:
		return setLimits(editor, user, words[1:])
	}
	return usagef("expected show, or set and words such as protocols=imap,smtp; see peyk-access(5)")
}

// setLimits changes words of an account; name= removes one.
func setLimits(editor *table.Editor, user table.User, words []string) error {
	for i, word := range words {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return usagef("cannot use %q: expected WORD=VALUE, or WORD= to remove it", printable(word))
		}
		if name == "reason" {
			words[i] = name + "=" + table.EncodeReason(value)
		}
	}
	if err := editor.SetAccess(user.Addr, words...); err != nil {
		return usageError{err}
	}
	return nil
}

func (t *tool) showLimits(c *cli.Context, domains *table.Domains, user table.User) error {
	access, err := domains.Access(user.Addr)
	if err != nil {
		return err
	}
	for _, word := range slices.Sorted(maps.Keys(access)) {
		clause := access[word]
		if c.Bool("json") {
			err = t.object(map[string]any{"word": word, "value": clause.Text, "reason": clause.Reason, "where": clause.Where})
		} else {
			_, err = fmt.Fprintf(t.out, "%s=%s\t# %s\n", word, printable(clause.Text), clause.Where)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
