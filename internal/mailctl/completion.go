package mailctl

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// The scripts ask mailctl itself, which knows its commands and flags.
const (
	bashCompletion = `_mailctl() {
	local word="${COMP_WORDS[COMP_CWORD]}" words=("${COMP_WORDS[@]:0:COMP_CWORD}")
	[[ $word == -* ]] && words+=("$word")
	COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$word"))
}
complete -o bashdefault -o default -F _mailctl mailctl
`
	zshCompletion = `#compdef mailctl
_mailctl() {
	local -a found words_so_far
	words_so_far=("${words[@]:0:$((CURRENT-1))}")
	[[ ${words[CURRENT]} == -* ]] && words_so_far+=("${words[CURRENT]}")
	found=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 "${words_so_far[@]}" --generate-bash-completion 2>/dev/null)}")
	_describe mailctl found || _files
}
_mailctl "$@"
`
	fishCompletion = `function __mailctl_words
	set -l words (commandline -opc)
	set -l word (commandline -ct)
	string match -q -- '-*' $word; and set -a words $word
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
