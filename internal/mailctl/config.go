package mailctl

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"peyk/internal/control"
	"peyk/internal/table"
)

func (t *tool) configCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.BoolFlag{Name: "n", Usage: "only settings that differ from their default"},
		&cli.BoolFlag{Name: "d", Usage: "the defaults instead of the values in force"},
		&cli.BoolFlag{Name: "value", Usage: "the values only, without name and origin"},
		jsonFlag,
	}
	return &cli.Command{Name: "config", Usage: "show and check the configuration", ArgsUsage: "[NAME ...]", Flags: flags, Action: t.configShow,
		Subcommands: []*cli.Command{
			{Name: "show", Usage: "print each setting, its value and where it comes from", ArgsUsage: "[NAME ...]",
				Flags: flags, Action: t.configShow},
			{Name: "check", Usage: "parse all of the configuration and name everything that is wrong", Action: t.configCheck},
		}}
}

// shown is one setting as config show prints it.
type shown struct {
	Name    string   `json:"name"`
	Value   string   `json:"value"`
	Origin  string   `json:"origin"`
	Default string   `json:"default"`
	Used    []string `json:"used_by"`
}

func (t *tool) configShow(c *cli.Context) error {
	config, err := t.config(c)
	if err != nil {
		return err
	}
	settings, err := named(c.Args().Slice())
	if err != nil {
		return err
	}
	for _, s := range settings {
		if c.Bool("n") && config.Raw(s) == s.Default {
			continue
		}
		if err := t.showSetting(c, config, s); err != nil {
			return err
		}
	}
	return nil
}

func named(names []string) ([]*control.Setting, error) {
	all := control.All()
	if len(names) == 0 {
		return all, nil
	}
	var found []*control.Setting
	for _, name := range names {
		s := find(all, name)
		if s == nil {
			return nil, usagef("no setting is called %q; mailctl config show lists all of them", name)
		}
		found = append(found, s)
	}
	return found, nil
}

func find(all []*control.Setting, name string) *control.Setting {
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func (t *tool) showSetting(c *cli.Context, config *control.Config, s *control.Setting) error {
	value, origin := config.Raw(s), string(config.Origin(s))
	if origin == string(control.FromFile) {
		origin = config.Path(s.Name)
	}
	if c.Bool("d") {
		value, origin = s.Default, "default"
	}
	if c.Bool("json") {
		return t.object(shown{s.Name, value, origin, s.Default, s.Programs})
	}
	if c.Bool("value") {
		_, err := fmt.Fprintln(t.out, value)
		return err
	}
	oneLine := strings.ReplaceAll(value, "\n", `\n`)
	_, err := fmt.Fprintf(t.out, "%s = %s\t# %s; %s\n", s.Name, printable(oneLine), origin, strings.Join(s.Programs, " "))
	return err
}

// configCheck parses everything, so that an admin sees all errors at once.
func (t *tool) configCheck(c *cli.Context) error {
	config, err := t.config(c)
	if config == nil {
		return err
	}
	errs := []error{}
	if err != nil {
		errs = append(errs, split(err)...)
	}
	errs = append(errs, problems(config)...)
	if len(errs) == 0 {
		fmt.Fprintln(t.err, "mailctl: the configuration is sound")
		return nil
	}
	return errors.Join(errs...)
}

// bareByH lets -h stand for -value behind config, as in postconf(1). It is
// replaced in the words because the flag package takes -h for help wherever it
// stands; -help still helps.
func bareByH(args []string) []string {
	i := slices.Index(args, "config")
	if i < 0 || i > 1 && args[i-2] != "-control" && args[i-2] != "--control" {
		return args
	}
	args = slices.Clone(args)
	for j := range args[i:] {
		if args[i+j] == "-h" {
			args[i+j] = "-value"
		}
	}
	return args
}

// unknownFiles names the control files that no program reads: a setting whose
// name is mistyped does nothing, and says nothing. Hidden files and the copies
// that editors leave do not count.
func unknownFiles(config *control.Config) (errs []error) {
	entries, err := os.ReadDir(config.Dir())
	if err != nil {
		return []error{err}
	}
	all := control.All()
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || name == table.AccessFile || find(all, name) != nil {
			continue
		}
		errs = append(errs, &control.FileError{File: config.Path(name), Err: errors.New("no program reads this; mailctl config show lists the names of settings")})
	}
	return errs
}

// problems returns what is wrong in values that only their programs parse, and
// in the tables.
func problems(config *control.Config) (errs []error) {
	if _, err := table.ParseRoutes(config.Lines(control.Routes)); err != nil {
		errs = append(errs, &control.FileError{File: config.Path(control.Routes.Name), Err: err})
	}
	for _, line := range config.Lines(control.Retry) {
		if _, err := control.ParseDuration(line); err != nil {
			errs = append(errs, &control.FileError{File: config.Path(control.Retry.Name), Err: err})
		}
	}
	errs = append(errs, unknownFiles(config)...)
	return append(errs, table.OpenDomains(config.Dir()).Check()...)
}
