package mailctl

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"peyk/internal/control"
)

// The scripts ask mailctl itself, which knows its commands and flags, and what
// the configuration at hand has to offer. They pass the words before the one to
// complete as arguments, and that one in MAILCTL_WORD.
const (
	// bash breaks words at @ too, and replaces only what follows it.
	bashCompletion = `_mailctl() {
	local line="${COMP_LINE:0:COMP_POINT}" word head words
	word="${line##*[[:space:]]}"
	head="${word%"${word##*[@:=]}"}"
	read -ra words <<<"${line%"$word"}"
	mapfile -t COMPREPLY < <(compgen -W "$(MAILCTL_WORD=$word "${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$word")
	COMPREPLY=("${COMPREPLY[@]#"$head"}")
}
complete -o bashdefault -o default -F _mailctl mailctl
`
	zshCompletion = `#compdef mailctl
_mailctl() {
	local -a found
	found=(${(f)"$(MAILCTL_WORD=${words[CURRENT]} "${words[@]:0:$((CURRENT-1))}" --generate-bash-completion 2>/dev/null)"})
	compadd -a found || _files
}
if [[ ${funcstack[1]} == _mailctl ]]; then _mailctl "$@"; else compdef _mailctl mailctl; fi
`
	fishCompletion = `function __mailctl_words
	set -l words (commandline -opc)
	set -lx MAILCTL_WORD (commandline -ct)
	command $words --generate-bash-completion 2>/dev/null
end
complete -c mailctl -a '(__mailctl_words)'
`
)

func (t *tool) completionCommand() *cli.Command {
	return &cli.Command{Name: "completion", Usage: "print the completion script of a shell", ArgsUsage: "bash|zsh|fish",
		Action: func(c *cli.Context) error {
			shell, err := oneArg(c, "bash, zsh or fish")
			if err != nil {
				return err
			}
			return t.completion(shell)
		}}
}

func (t *tool) completion(shell string) error {
	switch shell {
	case "bash":
		fmt.Fprint(t.out, bashCompletion)
	case "zsh":
		fmt.Fprint(t.out, zshCompletion)
	case "fish":
		fmt.Fprint(t.out, fishCompletion)
	default:
		return usagef("no completion for %q; expected bash, zsh or fish", shell)
	}
	return nil
}

// asked prepares the command line of a script. The library takes no question
// behind "--", and would run the command instead.
func asked(args []string) []string {
	n := len(args)
	if n < 2 || args[n-1] != "--generate-bash-completion" {
		return args
	}
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "--" })
}

// complete makes the answer to the scripts for one command: its flags when the
// word begins with a dash, else its commands, else what it can be about.
func (t *tool) complete(flags []cli.Flag, commands []*cli.Command, argsUsage string) cli.BashCompleteFunc {
	return func(c *cli.Context) {
		if dashes := leadingDashes(os.Getenv("MAILCTL_WORD")); dashes != "" {
			printFlags(t.out, dashes, flags)
			return
		}
		for _, command := range commands {
			fmt.Fprintln(t.out, command.Name)
		}
		for _, word := range t.candidates(c, argsUsage) {
			fmt.Fprintln(t.out, printable(word))
		}
	}
}

// leadingDashes returns the one or two dashes that a flag begins with; both
// forms are understood.
func leadingDashes(word string) string {
	switch {
	case strings.HasPrefix(word, "--"):
		return "--"
	case strings.HasPrefix(word, "-"):
		return "-"
	}
	return ""
}

func printFlags(out io.Writer, dashes string, flags []cli.Flag) {
	for _, flag := range flags {
		fmt.Fprintf(out, "%s%s\n", dashes, flag.Names()[0])
	}
}

// candidates returns what may stand for the arguments of a command, by the
// words of its usage line. What cannot be read has none.
func (t *tool) candidates(c *cli.Context, argsUsage string) (words []string) {
	switch {
	case argsUsage == "bash|zsh|fish":
		return strings.Split(argsUsage, "|")
	case strings.Contains(argsUsage, "NAME"):
		for _, s := range control.All() {
			words = append(words, s.Name)
		}
	case strings.HasPrefix(argsUsage, "ID"):
		return t.queueIDs(c)
	case strings.Contains(argsUsage, "DOMAIN"):
		return t.names(c, argsUsage)
	}
	return words
}

func (t *tool) queueIDs(c *cli.Context) (ids []string) {
	q, err := t.queue(c)
	if err != nil {
		return nil
	}
	for entry, err := range q.List() {
		if err == nil {
			ids = append(ids, entry.ID)
		}
	}
	return ids
}

// names returns domains, accounts or aliases, as the usage line wants them.
func (t *tool) names(c *cli.Context, argsUsage string) (names []string) {
	domains, _, _, err := t.tables(c)
	if err != nil {
		return nil
	}
	list, _ := domains.List()
	for _, domain := range list {
		switch {
		case strings.HasPrefix(argsUsage, "USER@"):
			users, _ := domains.Users(domain)
			for _, u := range users {
				names = append(names, u.Addr.String())
			}
		case strings.HasPrefix(argsUsage, "ALIAS@"):
			aliases, _ := domains.Aliases(domain)
			for _, a := range aliases {
				names = append(names, a.Name+"@"+domain)
			}
		default:
			names = append(names, domain)
		}
	}
	return names
}
