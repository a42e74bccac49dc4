package mailctl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"peyk/internal/address"
	"peyk/internal/control"
	"peyk/internal/mailbox"
	"peyk/internal/status"
	"peyk/internal/table"
)

func (t *tool) userCommand() *cli.Command {
	generate := &cli.BoolFlag{Name: "generate", Usage: "make a password and print it, instead of reading one from stdin"}
	return &cli.Command{Name: "user", Usage: "the accounts", Subcommands: append([]*cli.Command{
		{Name: "add", Usage: "add an account; reads its password from stdin", ArgsUsage: "USER@DOMAIN",
			Flags: []cli.Flag{generate, &cli.StringFlag{Name: "quota", Usage: "limit the mailbox to `SIZE`, such as 2G"}}, Action: t.userAdd},
		{Name: "list", Usage: "print the accounts", ArgsUsage: "[DOMAIN ...]", Flags: []cli.Flag{jsonFlag}, Action: t.userList},
		{Name: "passwd", Usage: "change a password; reads it from stdin", ArgsUsage: "USER@DOMAIN", Flags: []cli.Flag{generate}, Action: t.userPasswd},
		{Name: "remove", Usage: "remove an account; its mail stays on disk", ArgsUsage: "USER@DOMAIN", Flags: []cli.Flag{dryRunFlag}, Action: t.userRemove},
		{Name: "info", Usage: "print what is known of an account", ArgsUsage: "USER@DOMAIN", Flags: []cli.Flag{jsonFlag}, Action: t.userInfo},
		t.appPasswordCommand(), t.totpCommand(),
	}, t.limitCommands()...)}
}

// addressArg returns the only argument, an address of a local domain.
func (t *tool) addressArg(c *cli.Context, domains *table.Domains) (address.Address, error) {
	arg, err := oneArg(c, "an address USER@DOMAIN")
	if err != nil {
		return address.Address{}, err
	}
	return localAddress(arg, domains)
}

func localAddress(arg string, domains *table.Domains) (address.Address, error) {
	addr, err := address.Parse(arg, true)
	if err != nil {
		return addr, usagef("cannot use %q as an address: %v", printable(arg), err)
	}
	has, err := domains.Has(addr.Domain)
	if err != nil {
		return addr, err
	}
	if !has {
		return addr, status.Newf(550, "5.1.2", "%s is not a local domain; mailctl domain add %s makes it one", addr.Domain, addr.Domain)
	}
	return addr, nil
}

// existing returns the account that the only argument names.
func (t *tool) existing(c *cli.Context, domains *table.Domains) (table.User, error) {
	addr, err := t.addressArg(c, domains)
	if err != nil {
		return table.User{}, err
	}
	return known(addr, domains)
}

// known returns the account of an address.
func known(addr address.Address, domains *table.Domains) (table.User, error) {
	user, found, err := domains.User(addr)
	if err != nil {
		return user, err
	}
	if !found {
		return user, status.Newf(550, "5.1.1", "no account %s; mailctl user list shows them", printable(addr.String()))
	}
	return user, nil
}

func (t *tool) userAdd(c *cli.Context) error {
	domains, editor, config, err := t.tables(c)
	if err != nil {
		return err
	}
	addr, err := t.addressArg(c, domains)
	if err != nil {
		return err
	}
	if _, found, err := domains.User(addr); err != nil {
		return err
	} else if found {
		return status.Newf(550, "5.1.0", "the account %s exists already; mailctl user passwd changes its password", printable(addr.String()))
	}
	fields := map[string]string{}
	if quota := c.String("quota"); quota != "" {
		n, err := control.ParseSize(quota)
		if err != nil {
			return usageError{err}
		}
		fields["userdb_quota_rule"] = fmt.Sprintf("*:bytes=%d", n)
	}
	user := table.User{Addr: addr, UID: -1, GID: -1, Fields: fields}
	if err := t.setPassword(c, config, &user); err != nil {
		return err
	}
	if err := editor.ForgetFactors(addr); err != nil { // left by a removal that was interrupted
		return err
	}
	if err := editor.SetUser(user); err != nil {
		return err
	}
	return shareAgain(config, addr.Domain)
}

// setPassword reads or makes a password and gives it to the account.
func (t *tool) setPassword(c *cli.Context, config *control.Config, user *table.User) error {
	var password string
	if c.Bool("generate") {
		password = t.password()
		fmt.Fprintln(t.out, password)
	} else {
		var err error
		if password, err = t.readPassword(); err != nil {
			return err
		}
	}
	return user.SetPassword(t.rand, password, config.Bool(control.SCRAMKeys))
}

// longestPassword is what authd takes too.
const longestPassword = 1024

// readPassword reads one line: twice and without echo on a terminal.
func (t *tool) readPassword() (string, error) {
	f, ok := t.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(t.in, longestPassword+2)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return goodPassword(strings.TrimRight(line, "\r\n"))
	}
	first, err := t.prompt(f, "Password: ")
	if err != nil {
		return "", err
	}
	again, err := t.prompt(f, "Again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", usagef("the two passwords differ; nothing was changed")
	}
	return goodPassword(first)
}

func (t *tool) prompt(f *os.File, text string) (string, error) {
	fmt.Fprint(t.err, text)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(t.err)
	return string(b), err
}

func goodPassword(p string) (string, error) {
	if p == "" {
		return "", usagef("no password on stdin; type one, or let -generate make one")
	}
	if len(p) > longestPassword {
		return "", usagef("the password is longer than %d bytes", longestPassword)
	}
	return p, nil
}

func (t *tool) userPasswd(c *cli.Context) error {
	domains, editor, config, err := t.tables(c)
	if err != nil {
		return err
	}
	user, err := t.existing(c, domains)
	if err != nil {
		return err
	}
	if err := t.setPassword(c, config, &user); err != nil {
		return err
	}
	return editor.SetUser(user)
}

func (t *tool) userRemove(c *cli.Context) error {
	domains, editor, config, err := t.tables(c)
	if err != nil {
		return err
	}
	user, err := t.existing(c, domains)
	if err != nil {
		return err
	}
	maildir := maildirOf(config, user)
	if c.Bool("dry-run") {
		fmt.Fprintf(t.out, "would remove %s; the mail in %s would stay\n", user.Addr, maildir)
		return nil
	}
	if _, err := editor.RemoveUser(user.Addr); err != nil {
		return err
	}
	fmt.Fprintf(t.err, "mailctl: removed %s; its mail stays in %s\n", printable(user.Addr.String()), maildir)
	return nil
}

// maildirOf returns where the mail of an account lies, as authd answers it.
func maildirOf(config *control.Config, user table.User) string {
	if mail := user.Fields["userdb_mail"]; mail != "" {
		return strings.TrimPrefix(mail, "maildir:")
	}
	home := user.Home
	if home == "" {
		home = filepath.Join(config.Text(control.MailRoot), user.Addr.Domain, user.Addr.Local)
	}
	return filepath.Join(home, "Maildir")
}

func (t *tool) userList(c *cli.Context) error {
	domains, _, config, err := t.tables(c)
	if err != nil {
		return err
	}
	list, err := someDomains(c, domains)
	if err != nil {
		return err
	}
	for _, domain := range list {
		users, err := domains.Users(domain)
		if err != nil {
			return err
		}
		for _, u := range users {
			if err := t.printUser(c, config, u); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tool) printUser(c *cli.Context, config *control.Config, u table.User) error {
	if c.Bool("json") {
		return t.object(map[string]any{"user": u.Addr.String(), "maildir": maildirOf(config, u), "login": u.Password != ""})
	}
	_, err := fmt.Fprintln(t.out, printable(u.Addr.String()))
	return err
}

func (t *tool) userInfo(c *cli.Context) error {
	domains, _, config, err := t.tables(c)
	if err != nil {
		return err
	}
	user, err := t.existing(c, domains)
	if err != nil {
		return err
	}
	maildir := maildirOf(config, user)
	bytes, messages, err := t.usage(maildir)
	if err != nil {
		return err
	}
	scheme, _, _ := strings.Cut(strings.TrimPrefix(user.Password, "{"), "}")
	info := map[string]any{"user": user.Addr.String(), "maildir": maildir, "password_scheme": scheme,
		"bytes": bytes, "messages": messages}
	var keys []string
	for key, value := range user.Fields {
		if strings.HasPrefix(key, "scram_") { // as secret as the hash
			keys = append(keys, key)
			continue
		}
		info[key] = value
	}
	if slices.Sort(keys); len(keys) > 0 {
		info["keys"] = strings.Join(keys, " ")
	}
	if c.Bool("json") {
		return t.object(info)
	}
	for _, key := range slices.Sorted(maps.Keys(info)) {
		fmt.Fprintf(t.out, "%s\t%s\n", key, printable(fmt.Sprint(info[key])))
	}
	return nil
}

// usage returns what a Maildir holds; one that is not there yet holds nothing.
func (t *tool) usage(maildir string) (bytes, messages int64, err error) {
	if _, err := os.Stat(maildir); errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil
	}
	var a *mailbox.Account
	a, done, err := t.openAccount(maildir, "")
	if err != nil {
		return 0, 0, err
	}
	defer done()
	return a.Usage()
}
