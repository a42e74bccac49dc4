package sendmail

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// A mode is what sendmail was called to do.
type mode byte

// The modes, by the letter of option -b.
const (
	deliverMode mode = 'm' // send the message on standard input
	smtpMode    mode = 's' // speak SMTP on standard input and output
	listMode    mode = 'p' // list the queue
	aliasMode   mode = 'i' // check the aliases
	flushMode   mode = 'q' // try the queue now; by option -q
)

// command is an understood command line.
type command struct {
	mode       mode
	control    string // -C
	fullName   string // -F
	sender     string // -f, -r
	senderSet  bool
	fromHeader bool   // -t: recipients are in the header
	ignoreDots bool   // -i, -oi
	verbose    bool   // -v
	body       string // -B
	notify     string // -N
	ret        string // -R
	envID      string // -V
	version    bool   // --version
	recipients []string
}

// Options of sendmail(8) by their shape. An argument may be attached to its
// option or follow it.
const (
	withArgument = "ABCFLNORVXbefhopr"
	mayAttach    = "dq" // an argument only where it is attached
	plainFlags   = "cGiImnstUvx"
)

// parse understands a command line. The name under which the program is
// called decides too, as it always has.
func parse(args []string) (*command, error) {
	c := &command{mode: deliverMode}
	switch filepath.Base(args[0]) {
	case "mailq":
		c.mode = listMode
	case "newaliases":
		c.mode = aliasMode
	}
	rest := args[1:]
	for len(rest) > 0 {
		word := rest[0]
		if word == "--version" {
			c.version = true
			return c, nil
		}
		if len(word) < 2 || word[0] != '-' {
			break
		}
		rest = rest[1:]
		if word == "--" {
			c.recipients = rest
			return c, nil
		}
		var err error
		if rest, err = c.cluster(word[1:], rest); err != nil {
			return nil, err
		}
	}
	for _, word := range rest {
		if strings.HasPrefix(word, "-") {
			return nil, fmt.Errorf("%q is no address; options come first, and addresses that begin with a hyphen after --", word)
		}
	}
	c.recipients = rest
	return c, nil
}

// cluster obeys the letters of one word; the last may take an argument, from
// the word or from rest.
func (c *command) cluster(letters string, rest []string) ([]string, error) {
	for i := 0; i < len(letters); i++ {
		letter, attached := letters[i], letters[i+1:]
		switch {
		case strings.IndexByte(plainFlags, letter) >= 0:
			c.flag(letter)
			continue
		case strings.IndexByte(mayAttach, letter) >= 0:
			return rest, c.option(letter, attached)
		case strings.IndexByte(withArgument, letter) < 0:
			return nil, fmt.Errorf("no option -%c", letter)
		case attached != "":
			return rest, c.option(letter, attached)
		case len(rest) == 0:
			return nil, fmt.Errorf("option -%c needs an argument", letter)
		}
		return rest[1:], c.option(letter, rest[0])
	}
	return rest, nil
}

func (c *command) flag(letter byte) {
	switch letter {
	case 'i':
		c.ignoreDots = true
	case 'I':
		c.mode = aliasMode
	case 't':
		c.fromHeader = true
	case 'v':
		c.verbose = true
	}
	// The others, such as -m (me too) or -n (no aliases), mean nothing here.
}

func (c *command) option(letter byte, arg string) error {
	switch letter {
	case 'b':
		return c.setMode(arg)
	case 'C':
		c.control = arg
	case 'F':
		c.fullName = arg
	case 'f', 'r':
		c.sender, c.senderSet = arg, true
	case 'o':
		c.ignoreDots = c.ignoreDots || arg == "i"
	case 'O':
		c.ignoreDots = c.ignoreDots || strings.EqualFold(arg, "IgnoreDots") || strings.EqualFold(arg, "IgnoreDots=true")
	case 'q':
		return c.flush(arg)
	default:
		return c.dsn(letter, arg)
	}
	return nil
}

// dsn takes the options about delivery reports (RFC 3461) and the body type;
// all others, such as -oem or -h, are for programs of another age.
func (c *command) dsn(letter byte, arg string) error {
	switch letter {
	case 'B':
		c.body = strings.ToUpper(arg)
		if c.body != "7BIT" && c.body != "8BITMIME" {
			return errors.New("option -B must be 7BIT or 8BITMIME")
		}
	case 'N':
		c.notify = strings.ToUpper(arg)
	case 'R':
		c.ret = strings.ToUpper(arg)
		if c.ret != "FULL" && c.ret != "HDRS" {
			return errors.New("option -R must be full or hdrs")
		}
	case 'V':
		c.envID = arg
	}
	return nil
}

func (c *command) setMode(arg string) error {
	switch arg {
	case "m", "s", "p", "i":
		c.mode = mode(arg[0])
	case "d", "D", "l":
		return errors.New("this program is no daemon; start smtpd and queue-run")
	default:
		return fmt.Errorf("no mode -b%s", arg)
	}
	return nil
}

// flush obeys -q, and -qI, -qR, -qS with something to match: everything is
// tried then, which includes what was asked for.
func (c *command) flush(arg string) error {
	if arg != "" && strings.IndexByte("IRS!", arg[0]) < 0 {
		return errors.New("this program is no daemon; the control retry sets how often queue-run tries")
	}
	c.mode = flushMode
	return nil
}
