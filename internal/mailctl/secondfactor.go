package mailctl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
	"rsc.io/qr"

	"peyk/internal/status"
	"peyk/internal/table"
	"peyk/internal/totp"
)

// recoveryCodes is how many an account gets.
const recoveryCodes = 10

func (t *tool) totpCommand() *cli.Command {
	return &cli.Command{Name: "totp", Usage: "the second factor of an account", Subcommands: []*cli.Command{
		{Name: "enable", Usage: "show a secret as a QR code; one right code, read from stdin, switches it on", ArgsUsage: "USER@DOMAIN", Action: t.totpEnable},
		{Name: "disable", Usage: "remove the second factor", ArgsUsage: "USER@DOMAIN", Action: t.totpDisable},
		{Name: "recovery", Usage: "make new recovery codes and print them, once; the old ones are void", ArgsUsage: "USER@DOMAIN", Action: t.totpRecovery},
	}}
}

func (t *tool) totpEnable(c *cli.Context) error {
	domains, editor, _, err := t.tables(c)
	if err != nil {
		return err
	}
	user, err := t.existing(c, domains)
	if err != nil {
		return err
	}
	if _, has, err := domains.SecondFactor(user.Addr); err != nil {
		return err
	} else if has {
		return status.Newf(550, "5.1.0", "%s has a second factor; mailctl user totp disable removes it", printable(user.Addr.String()))
	}
	f := table.SecondFactor{User: user.Addr, Secret: make([]byte, totp.SecretSize), Created: t.now()}
	if _, err := io.ReadFull(t.rand, f.Secret); err != nil {
		return err
	}
	uri := totp.URI(user.Addr.Domain, user.Addr.String(), f.Secret)
	if err := t.showQR(uri); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s\n%s\n", uri, totp.Base32(f.Secret))
	if err := t.confirm(f); err != nil {
		return err
	}
	return t.setFactor(editor, f)
}

// confirm reads codes until one is right, three at most.
func (t *tool) confirm(f table.SecondFactor) error {
	in := bufio.NewReader(io.LimitReader(t.in, 3*longestPassword))
	for range 3 {
		fmt.Fprint(t.err, "The code that the program shows now: ")
		line, err := in.ReadString('\n')
		if _, ok := totp.Check(f.Secret, strings.TrimSpace(line), t.now(), 0); ok {
			return nil
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(t.err, "mailctl: this is not the code; are both clocks right?")
	}
	return usagef("no right code: nothing was changed")
}

// setFactor gives a second factor new recovery codes, writes it, and prints
// them.
func (t *tool) setFactor(editor *table.Editor, f table.SecondFactor) error {
	var codes []string
	f.Recovery = nil
	for range recoveryCodes {
		code, hash, err := t.newSecret(table.RecoveryGroups)
		if err != nil {
			return err
		}
		codes = append(codes, code)
		f.Recovery = append(f.Recovery, hash)
	}
	if err := editor.SetSecondFactor(f); err != nil {
		return err
	}
	fmt.Fprintln(t.err, "mailctl: recovery codes, each good once; nobody can show them again:")
	_, err := fmt.Fprintln(t.out, strings.Join(codes, "\n"))
	return err
}

// factor returns the second factor of the account that the argument names.
func (t *tool) factor(c *cli.Context) (table.SecondFactor, *table.Editor, error) {
	domains, editor, _, err := t.tables(c)
	if err != nil {
		return table.SecondFactor{}, nil, err
	}
	addr, err := t.addressArg(c, domains)
	if err != nil {
		return table.SecondFactor{}, nil, err
	}
	f, has, err := domains.SecondFactor(addr)
	if err == nil && !has {
		err = status.Newf(550, "5.1.1", "%s has no second factor; mailctl user totp enable gives it one", printable(addr.String()))
	}
	return f, editor, err
}

func (t *tool) totpDisable(c *cli.Context) error {
	f, editor, err := t.factor(c)
	if err != nil {
		return err
	}
	_, err = editor.RemoveSecondFactor(f.User)
	return err
}

func (t *tool) totpRecovery(c *cli.Context) error {
	f, editor, err := t.factor(c)
	if err != nil {
		return err
	}
	return t.setFactor(editor, f)
}

// quiet is the margin of a QR code that readers need, in modules.
const quietZone = 4

// showQR draws a QR code: two modules stand in one character, the light ones
// are drawn. On a terminal both colours are set, so that it is light on dark
// whatever the terminal's are.
func (t *tool) showQR(text string) error {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return fmt.Errorf("cannot draw the QR code: %w", err)
	}
	before, after := "", ""
	if f, ok := t.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		before, after = "\x1b[97;40m", "\x1b[0m"
	}
	blocks := map[[2]bool]string{{false, false}: "█", {false, true}: "▀", {true, false}: "▄", {true, true}: " "}
	for y := -quietZone; y < code.Size+quietZone; y += 2 {
		var line strings.Builder
		for x := -quietZone; x < code.Size+quietZone; x++ {
			line.WriteString(blocks[[2]bool{code.Black(x, y), code.Black(x, y+1)}])
		}
		if _, err := fmt.Fprintln(t.out, before+line.String()+after); err != nil {
			return err
		}
	}
	return nil
}
